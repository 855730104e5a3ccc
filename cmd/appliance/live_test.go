package main

import (
	"context"
	"net"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
	"sluice/perf/load"
)

// Every attribute of the running process that can be changed is changed to its
// ends and back while media flows to viewers by UDP and by TCP: what is written is
// read again, and no packet is lost.
func TestChangesUnderLoadLoseNothing(t *testing.T) {
	p := launch(t, "--set", "dataplane/shards=2", "--set", "dataplane/shed_ms=0") // a busy machine is no reason to leave frames out
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	defer cancel()
	tree := attrsock.New(p.socket)
	defer tree.Close()
	if err := tree.Mkdir(ctx, "streams/udp"); err != nil {
		t.Fatal(err)
	}
	type side struct {
		bench   *load.Bench
		viewers []*load.Viewer
		window  *load.Window
	}
	var sides []*side
	for _, name := range []string{"udp", "tcp"} {
		target := load.Target{WHIP: p.http + "/whip/" + name, WHEP: p.http + "/whep/" + name, PID: p.cmd.Process.Pid, TCP: name == "tcp"}
		b, err := load.Open(ctx, target, load.Media{FPS: 50, PPF: 5, Size: 1100})
		if err != nil {
			t.Fatal(err)
		}
		defer b.Close(context.WithoutCancel(ctx))
		s := &side{bench: b}
		if s.viewers, err = b.JoinAll(ctx, 3, 3); err != nil {
			t.Fatal(err)
		}
		defer b.LeaveAll(ctx, s.viewers)
		sides = append(sides, s)
	}
	for _, s := range sides {
		var err error
		if s.window, err = s.bench.Begin(s.viewers); err != nil {
			t.Fatal(err)
		}
	}
	changes := 0
	for _, e := range writable(t, ctx, tree) {
		for _, value := range e.values {
			if err := tree.Set(ctx, e.path, value); err != nil {
				t.Fatal(err)
			}
			if got, err := tree.Get(ctx, e.path); err != nil || got != value {
				t.Errorf("%s: %q was written, %q is read, %v", e.path, value, got, err)
			}
			changes++
			time.Sleep(frameTime) // so that each value has packets
		}
	}
	if changes < 150 {
		t.Errorf("%d changes: is this still the whole table?", changes)
	}
	for _, s := range sides {
		c, err := s.window.End()
		if err != nil {
			t.Fatal(err)
		}
		if c.Lost != 0 || c.Corrupt != 0 || c.Duplicates != 0 || c.Sent < uint64(5*changes/2) {
			t.Errorf("%d changes: of %d packets sent, %d were due, %d lost, %d corrupt, %d came twice", changes, c.Sent, c.Due, c.Lost, c.Corrupt, c.Duplicates)
		}
		if ended := s.bench.Ended(s.viewers); len(ended) > 0 {
			t.Errorf("sessions ended: %v", ended)
		}
	}
}

// frameTime is that of the load.
const frameTime = 20 * time.Millisecond

// change is what to write to an attribute, its own value last.
type change struct {
	path   string
	values []string
}

// lossy are attributes with values that lose packets, which is what they are for:
// the least value that does not, or "" for those that are left out.
var lossy = map[string]string{
	"dataplane/mtu_bytes":            "1200",    // what is longer is dropped
	"dataplane/receive_buffer_bytes": "1048576", // what waits while the machine does something else
	"auth/mode":                      "",        // ends who was let in without a token
}

func writable(t *testing.T, ctx context.Context, tree *attrsock.Client) (all []change) {
	t.Helper()
	entries, err := tree.Entries(ctx, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		least, special := lossy[e.Path]
		if e.Mode != "0644" || e.Boot || special && least == "" {
			continue
		}
		c := change{e.Path, slices.Clone(e.Values)}
		switch {
		case e.Kind == "boolean":
			c.values = []string{"0", "1"}
		case e.Kind == "integer" && special:
			c.values = []string{least, strconv.FormatInt(*e.Max, 10)}
		case e.Kind == "integer":
			c.values = []string{strconv.FormatInt(*e.Min, 10), strconv.FormatInt(*e.Max, 10)}
		}
		c.values = append(c.values, *e.Value) // what a text or list may be is its Check's to know
		all = append(all, c)
	}
	return all
}

// TCP_NODELAY of connections that come is as the attribute says.
func TestHTTPNoDelay(t *testing.T) {
	a := &appliance{tree: attr.NewTree(tables()...)}
	l, err := a.listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, value := range []string{"1", "0"} {
		if err := a.tree.Set("http/tcp_nodelay", value); err != nil {
			t.Fatal(err)
		}
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(syscall.Conn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || strconv.Itoa(min(got, 1)) != value {
				t.Errorf("http/tcp_nodelay is %s, TCP_NODELAY %d, %v", value, got, err)
			}
		})
	}
}
