package dataplane

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"golang.org/x/sys/unix"

	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
	"sluice/netopt/attr"
)

// newTree returns the attributes of a small plane with the given changes. There is no
// control plane that could follow a publisher.
func newTree(t *testing.T, changes ...string) *attr.Tree {
	t.Helper()
	tree := attr.NewTree(&Attrs)
	for _, change := range append([]string{"limits/sessions=16", "limits/streams=16", "dataplane/shed_ms=0", "dataplane/follow_publishers=0"}, changes...) {
		path, value, _ := strings.Cut(change, "=")
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

var anyPort = netip.MustParseAddrPort("127.0.0.1:0")

func start(t *testing.T, tree *attr.Tree, handle func(msg.Event)) *Plane {
	t.Helper()
	p, err := Start(anyPort, tree, handle)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func ignore(msg.Event) {}

// await returns when a condition holds.
func await(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// sendTo sends a datagram that is no protocol of ours to a plane.
func sendTo(t *testing.T, p *Plane) {
	t.Helper()
	c, err := net.Dial("udp", fmt.Sprintf("127.0.0.1:%d", p.Port()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write([]byte{0xff, 1, 2, 3}); err != nil {
		t.Fatal(err)
	}
}

// unknown counts such datagrams.
func unknown(p *Plane) (n uint64) {
	for _, st := range p.Inspect() {
		if st != nil {
			n += st.Drops[wire.DropUnknownProto]
		}
	}
	return n
}

// held is what a plane takes from the process.
type held struct{ goroutines, descriptors int }

func holds(t *testing.T) held {
	t.Helper()
	return held{runtime.NumGoroutine(), len(descriptors(t))}
}

// descriptors returns the open ones, without the one that lists them.
func descriptors(t *testing.T) (open []int) {
	t.Helper()
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range names {
		n, err := strconv.Atoi(e.Name())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.FcntlInt(uintptr(n), unix.F_GETFD, 0); err == nil {
			open = append(open, n)
		}
	}
	slices.Sort(open)
	return open
}

// awaitHeld returns when the process holds no more than it did. Goroutines that
// have said that they are done may still be on their last steps.
func awaitHeld(t *testing.T, before held) {
	t.Helper()
	await(t, fmt.Sprintf("everything given back, %+v", before), func() bool {
		now := holds(t)
		return now.goroutines <= before.goroutines && now.descriptors <= before.descriptors
	})
}

func TestStartAndClose(t *testing.T) {
	for _, shards := range []int{1, 2, 3} {
		t.Run(strconv.Itoa(shards), func(t *testing.T) {
			before := holds(t)
			p := start(t, newTree(t, fmt.Sprintf("dataplane/shards=%d", shards)), ignore)
			if p.Shards() != shards || p.Port() == 0 {
				t.Fatalf("%d shards on port %d", p.Shards(), p.Port())
			}
			for i, st := range p.Inspect() {
				if st == nil {
					t.Errorf("shard %d does not answer", i)
				}
			}
			const n = 16 // the kernel spreads them
			for range n {
				sendTo(t, p)
			}
			await(t, "datagrams are counted", func() bool { return unknown(p) == n })
			p.Close()
			awaitHeld(t, before)
			// Without SO_REUSEPORT this fails while anyone has the port.
			c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(p.Port())})
			if err != nil {
				t.Fatalf("the port is not free: %v", err)
			}
			c.Close()
		})
	}
}

// By default there is a shard for each CPU that the process may use.
func TestShardsByDefault(t *testing.T) {
	p := start(t, newTree(t), ignore)
	if p.Shards() != len(allowedCPUs()) || p.Shards() != runtime.NumCPU() {
		t.Errorf("%d shards, %d CPUs", p.Shards(), runtime.NumCPU())
	}
}

func TestTwoPlanes(t *testing.T) {
	first, second := start(t, newTree(t), ignore), start(t, newTree(t), ignore)
	if first.Port() == second.Port() {
		t.Fatal("two planes share a port")
	}
	sendTo(t, first)
	sendTo(t, first)
	sendTo(t, second)
	await(t, "each counts its own", func() bool { return unknown(first) == 2 && unknown(second) == 1 })
	first.Close()
	sendTo(t, second)
	await(t, "the other goes on", func() bool { return unknown(second) == 2 })
}

func TestStartFails(t *testing.T) {
	before := holds(t)
	_, err := Start(netip.MustParseAddrPort("192.0.2.1:0"), newTree(t, "dataplane/shards=2"), ignore)
	if err == nil || !strings.Contains(err.Error(), "media 192.0.2.1:0") {
		t.Errorf("an address that is not ours: %v", err)
	}
	awaitHeld(t, before)

	// Two that shared a port would each get half of the other's datagrams.
	running := start(t, newTree(t), ignore)
	taken := netip.AddrPortFrom(anyPort.Addr(), running.Port())
	if _, err := Start(taken, newTree(t, "dataplane/tcp=0"), ignore); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the port of another plane: %v", err)
	}
}

// Wherever descriptors run out, Start ends with an error and keeps nothing.
func TestStartWithoutDescriptors(t *testing.T) {
	const shards, each = 2, 6 // a socket for each transport, two epoll sets, an eventfd, a timer
	before := holds(t)
	for free := range shards*each + 1 {
		restore := limitDescriptors(t, free)
		p, err := Start(anyPort, newTree(t, fmt.Sprintf("dataplane/shards=%d", shards)), ignore)
		restore()
		if (err == nil) != (free == shards*each) {
			t.Errorf("%d descriptors: %v", free, err)
		}
		if p != nil {
			p.Close()
		}
		awaitHeld(t, before)
	}
}

// limitDescriptors lets the process open so many more descriptors until restore.
func limitDescriptors(t *testing.T, more int) (restore func()) {
	t.Helper()
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	open := descriptors(t)
	limit := 0 // the lowest number with so many free ones below
	for free := 0; free < more || slices.Contains(open, limit); limit++ {
		if !slices.Contains(open, limit) {
			free++
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(limit), Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
			t.Fatal(err)
		}
	}
}

// Commands go down and events come up; the metrics of the tree are the plane's.
func TestCommandsEventsMetrics(t *testing.T) {
	tree := newTree(t, "dataplane/shards=2", "dataplane/setup_timeout_ms=1000")
	events := make(chan msg.Event, 16)
	p := start(t, tree, func(ev msg.Event) { events <- ev })
	gauge := func(path string) string {
		value, err := tree.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		return value
	}
	kept, removed := msg.NewSessionID(1, 7), msg.NewSessionID(0, 8)
	for i, id := range []msg.SessionID{kept, removed} {
		p.Send(id.Shard(), msg.AddSession{ID: id, Ufrag: fmt.Sprintf("%duser", i), Pwd: "a password of 22 bytes"})
	}
	await(t, "both sessions exist", func() bool { return gauge("sessions") == "2" })
	p.Send(removed.Shard(), msg.RemoveSession{ID: removed})

	// Nobody checks: the engine's timer ends the one that is left.
	select {
	case ev := <-events:
		if ev != (msg.SessionClosed{ID: kept, Reason: msg.ClosedNoCheck}) {
			t.Errorf("%T %v", ev, ev)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the session that nobody checks does not end")
	}
	await(t, "both sessions are gone", func() bool { return gauge("sessions") == "0" })
	if n := gauge("expired_sessions"); n != "1" {
		t.Errorf("%s sessions expired, want 1", n)
	}
	p.Close()
	if len(events) > 0 {
		t.Errorf("another event: %v", <-events)
	}
}

// A closed plane takes calls from those who do not know yet.
// The first check after AddSession is answered, and the first DTLS datagram after
// that answer is punted, wherever they land: nobody is woken for what makes a
// session known, and nobody misses it.
func TestNothingOfTheFirstIsMissed(t *testing.T) {
	punts := make(chan msg.SessionID, 1000)
	p := start(t, newTree(t, "dataplane/shards=3"), func(ev msg.Event) {
		if punt, ok := ev.(msg.Punt); ok {
			punts <- punt.ID
		}
	})
	server := &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(p.Port())}
	b := make([]byte, 1500)
	// Where an answer waits until some shard wakes by itself, all of them take minutes.
	end := time.Now().Add(30 * time.Second)
	for i := range 200 {
		id := msg.NewSessionID(i%3, uint64(i))
		var random [ice.RandomLen]byte
		random[0] = byte(i)
		ufrag, pwd := ice.NewUfrag(id.Shard(), &random)
		check, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(ufrag+":peer"), stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
		if err != nil {
			t.Fatal(err)
		}
		c, err := net.DialUDP("udp4", nil, server)
		if err != nil {
			t.Fatal(err)
		}
		c.SetReadDeadline(end)
		p.Send(id.Shard(), msg.AddSession{ID: id, Ufrag: ufrag, Pwd: pwd})
		if _, err := c.Write(check.Raw); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(b); err != nil || !stun.IsMessage(b[:n]) {
			t.Fatalf("session %d: the check got %x, %v", i, b[:n], err)
		}
		if _, err := c.Write([]byte{22, 0xfe, 0xfd, 1}); err != nil {
			t.Fatal(err)
		}
		select {
		case got := <-punts:
			if got != id {
				t.Fatalf("session %d: a datagram of %v was punted", i, got)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("session %d: its datagram was not punted", i)
		}
		c.Close()
		p.Send(id.Shard(), msg.RemoveSession{ID: id})
	}
}

func TestClosed(t *testing.T) {
	tree := newTree(t, "dataplane/shards=1")
	p := start(t, tree, ignore)
	p.Close()
	p.Close()
	for range 1000 { // more than a mailbox holds
		p.Send(0, msg.RemoveSession{})
	}
	for _, st := range p.Inspect() {
		if st != nil {
			t.Error("a closed shard answers")
		}
	}
	if err := tree.Set("dataplane/mtu_bytes", "1200"); err != nil {
		t.Error(err)
	}
	if _, err := tree.Get("rx_packets"); err != nil {
		t.Error(err)
	}
}
