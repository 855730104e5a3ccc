package dataplane

import (
	"fmt"
	"os"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/netopt/attr"
)

// seen is what one turn of a shard's loop shows of its settings.
type seen struct {
	*testing.T
	fd    int // of its socket
	set   engine.Settings
	stats *engine.Stats
}

// option asks the kernel for an option of the shard's socket.
func (s *seen) option(name int) int {
	s.Helper()
	v, err := unix.GetsockoptInt(s.fd, unix.SOL_SOCKET, name)
	if err != nil {
		s.Fatal(err)
	}
	return v
}

// shows says where the effect of each attribute of the data plane shows that can
// be changed while it runs. What the kernel is told of, it is asked.
var shows = map[string]func(*seen) any{
	"dataplane/receive_buffer_bytes": func(s *seen) any { return s.option(unix.SO_RCVBUF) },
	"dataplane/send_buffer_bytes":    func(s *seen) any { return s.option(unix.SO_SNDBUF) },
	"dataplane/busy_poll_us":         func(s *seen) any { return s.option(unix.SO_BUSY_POLL) },
	"dataplane/busy_poll_prefer":     func(s *seen) any { return s.option(unix.SO_PREFER_BUSY_POLL) },
	"dataplane/gso":                  func(s *seen) any { return s.stats.Loop.Socket.Uses.GSO },
	"dataplane/gro":                  func(s *seen) any { return s.stats.Loop.Socket.Uses.GRO },
	"dataplane/timestamps":           func(s *seen) any { return s.option(unix.SO_TIMESTAMPNS) },

	"dataplane/mtu_bytes":            func(s *seen) any { return s.set.MTU },
	"dataplane/history_packets":      func(s *seen) any { return s.set.HistoryPackets },
	"dataplane/history_bytes":        func(s *seen) any { return s.set.HistoryBytes },
	"dataplane/train_max":            func(s *seen) any { return s.set.TrainMax },
	"dataplane/train_hold_us":        func(s *seen) any { return s.set.TrainHold },
	"dataplane/pad_max_bytes":        func(s *seen) any { return s.set.PadMax },
	"dataplane/audio_dscp":           func(s *seen) any { return s.set.Marks[msg.Audio].Class },
	"dataplane/video_dscp":           func(s *seen) any { return s.set.Marks[msg.Video].Class },
	"dataplane/audio_priority":       func(s *seen) any { return s.set.Marks[msg.Audio].Priority },
	"dataplane/video_priority":       func(s *seen) any { return s.set.Marks[msg.Video].Priority },
	"dataplane/follow_publishers":    func(s *seen) any { return s.set.Follow },
	"dataplane/vector_aes":           func(s *seen) any { return s.set.Vectors },
	"dataplane/gop_bytes":            func(s *seen) any { return s.set.GOPBytes },
	"dataplane/keyframe_interval_ms": func(s *seen) any { return s.set.KeyframeEvery },
	"dataplane/start_age_ms":         func(s *seen) any { return s.set.StartAge },
	"dataplane/setup_timeout_ms":     func(s *seen) any { return s.set.SetupTimeout },
	"dataplane/feedback_interval_ms": func(s *seen) any { return s.set.FeedbackEvery },
	"dataplane/resend_per_second":    func(s *seen) any { return s.set.ResendPerSecond },
	"dataplane/forged_per_second":    func(s *seen) any { return s.set.ForgedPerSecond },
	"dataplane/budget_us":            func(s *seen) any { return s.set.Deadlines.Budget },
	"dataplane/shed_ms":              func(s *seen) any { return s.set.Shed },
	"dataplane/late_drop_us":         func(s *seen) any { return s.set.Deadlines.LateDrop },
	"dataplane/transmit_stamp_every": func(s *seen) any { return s.set.StampEvery },
	"dataplane/tcp_lag_ms":           func(s *seen) any { return s.set.StreamLag },
}

// elsewhere are those whose effect other tests show, because it takes more than a
// look at a shard.
var elsewhere = map[string]string{
	"dataplane/spin_us":          "TestMediaWhileSpinning",
	"dataplane/busy_poll_budget": "internal/udp and internal/poll, TestBusyPoll: the kernel tells no socket's",
	"dataplane/tcp_nodelay":      "TestTCPNoDelay",
	"steer/mode":                 "controlplane, steer_test.go",
}

// privileged are those that the kernel lets root change only.
var privileged = map[string]bool{"dataplane/busy_poll_prefer": true}

// What is written to an attribute is what the shards go by in the turn of their
// loops that follows: a look at them, asked for when the write is done, shows it.
// The test walks the whole table, so that a new attribute must say where it shows.
func TestEachAttributeIsLive(t *testing.T) {
	tree := newTree(t, "dataplane/shards=2")
	p := start(t, tree, ignore)
	look := func(show func(*seen) any) (all []any) {
		for _, shard := range p.shards {
			s := &seen{T: t, fd: shard.FD()}
			// On a busy machine an answer may take longer than a shard is given for it.
			await(t, "a shard's answer", func() bool { s.stats = shard.Inspect(); return s.stats != nil })
			await(t, "a shard's answer", func() bool { return shard.Look(func(e *engine.Engine) { s.set = e.Settings() }) })
			all = append(all, show(s))
		}
		return all
	}
	walked := map[string]bool{}
	tree.Walk("", func(d *attr.Decl, value string) {
		if d.Kind.Metric() || d.Mode != attr.RW {
			return
		}
		walked[d.Path] = true
		show, here := shows[d.Path]
		if _, there := elsewhere[d.Path]; here == there {
			t.Errorf("%s: say in one of shows and elsewhere where its effect shows", d.Path)
		}
		if !here || privileged[d.Path] && os.Geteuid() != 0 {
			return
		}
		values := map[string]string{} // what each value that is written shows as
		for _, v := range ends(t, d) {
			if err := tree.Set(d.Path, v); err != nil {
				t.Fatal(err)
			}
			shown := look(show)
			if shown[0] != shown[1] {
				t.Errorf("%s is %s: one shard has %v, the other %v", d.Path, v, shown[0], shown[1])
			}
			text := fmt.Sprint(shown[0])
			if other, taken := values[text]; taken {
				t.Errorf("%s: %s and %s show alike, as %s", d.Path, other, v, text)
			}
			values[text] = v
		}
		if err := tree.Set(d.Path, value); err != nil {
			t.Fatal(err)
		}
	})
	for _, list := range []map[string]bool{keys(shows), keys(elsewhere)} {
		for path := range list {
			if !walked[path] {
				t.Errorf("%s: no such attribute can be changed while running", path)
			}
		}
	}
}

// ends are the least and the greatest value of a number, and both of a switch.
func ends(t *testing.T, d *attr.Decl) []string {
	t.Helper()
	switch d.Kind {
	case attr.KindInt:
		return []string{strconv.FormatInt(d.Min, 10), strconv.FormatInt(d.Max, 10)}
	case attr.KindBool:
		return []string{"0", "1"}
	}
	t.Fatalf("%s: the test knows no values of its kind", d.Path)
	return nil
}

func keys[V any](m map[string]V) map[string]bool {
	set := map[string]bool{}
	for k := range m {
		set[k] = true
	}
	return set
}

// What the kernel grants is shown: buffers of twice the size that is asked for, and
// whether the sockets busy poll.
func TestWhatTheKernelGrants(t *testing.T) {
	tree := newTree(t, "dataplane/shards=2", "dataplane/receive_buffer_bytes=100000", "dataplane/send_buffer_bytes=150000", "dataplane/busy_poll_us=20")
	start(t, tree, ignore)
	holds := func(path, want string) {
		t.Helper()
		if got, err := tree.Get(path); err != nil || got != want {
			t.Errorf("%s is %s, %v; want %s", path, got, err, want)
		}
	}
	holds("receive_queue_max_bytes", "400000")
	holds("send_queue_max_bytes", "600000")
	holds("busy_poll_shards", "2")
	for path, value := range map[string]string{"dataplane/receive_buffer_bytes": "200000", "dataplane/busy_poll_us": "0"} {
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	holds("receive_queue_max_bytes", "800000")
	holds("send_queue_max_bytes", "600000")
	holds("busy_poll_shards", "0")
}

// TCP_NODELAY of connections that are there follows the attribute.
func TestTCPNoDelay(t *testing.T) {
	tree := newTree(t, "dataplane/shards=1")
	p := start(t, tree, ignore)
	dialTCP(t, p)
	await(t, "the connection is taken", func() bool { n, _ := tree.Get("tcp_connections"); return n == "1" })
	for _, value := range []string{"0", "1"} {
		if err := tree.Set("dataplane/tcp_nodelay", value); err != nil {
			t.Fatal(err)
		}
		p.Inspect()
		got := map[int]int{} // sockets at the media port by TCP_NODELAY
		for fd := range 1024 {
			name, err := unix.Getsockname(fd)
			if in6, ok := name.(*unix.SockaddrInet6); err != nil || !ok || uint16(in6.Port) != p.Port() {
				continue
			}
			if v, err := unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY); err == nil {
				got[min(v, 1)]++
			}
		}
		if want, _ := strconv.Atoi(value); got[want] != 2 || len(got) != 1 { // the one that listens, and the connection
			t.Errorf("dataplane/tcp_nodelay is %s: sockets by TCP_NODELAY: %v", value, got)
		}
	}
}
