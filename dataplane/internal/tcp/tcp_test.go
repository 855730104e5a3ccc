package tcp

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

const window = 32 << 10

// bench is a socket and its peers, with a clock of the test's.
type bench struct {
	*testing.T
	*Socket
	gate *Gate
	now  clock.Time
	got  map[uint16][]string // frames by the port they came from
}

func newBench(t *testing.T, l Limits) *bench {
	t.Helper()
	b := &bench{T: t, gate: NewGate(l), now: clock.Time(time.Second), got: map[uint16][]string{}}
	b.Socket = b.listen(0)
	return b
}

// listen opens another socket on the same port.
func (b *bench) listen(port uint16) *Socket {
	b.Helper()
	s, err := Listen(netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port), Options{Gate: b.gate, Window: window, Unsent: 16 << 10, Patience: time.Second})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(s.Close)
	return s
}

func roomy() Limits { return Limits{Connections: 100, PerSource: 100} }

func (b *bench) dial() net.Conn {
	b.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", b.Port()))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	return c
}

// turn does what a shard does in one turn; every connection is at home here.
func (b *bench) turn() {
	b.Poll(b.now)
	for c, rx := b.Receive(b.now); c != nil; c, rx = b.Receive(b.now) {
		if !c.Placed() {
			b.Place(c)
		}
		for _, d := range rx {
			b.got[d.Path.Remote.Port] = append(b.got[d.Path.Remote.Port], string(d.Data))
		}
	}
}

// await turns until a condition holds.
func (b *bench) await(what string, holds func() bool) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(); time.Sleep(100 * time.Microsecond) {
		if time.Now().After(end) {
			b.Fatalf("waited in vain: %s", what)
		}
		b.turn()
	}
}

// accept returns the connection of a peer that has just dialled.
func (b *bench) accept(peer net.Conn) (conn *Conn) {
	b.Helper()
	b.await("the connection is there", func() bool { conn = b.of(peer); return conn != nil })
	return conn
}

func (b *bench) of(peer net.Conn) *Conn {
	for _, c := range b.conns {
		if c.path.Remote.Port == port(peer) {
			return c
		}
	}
	return nil
}

func port(peer net.Conn) uint16 { return netip.MustParseAddrPort(peer.LocalAddr().String()).Port() }

func (b *bench) refused(why Refusal) int { return int(b.gate.Counts().Refused[why]) }

func frame(s string) []byte { return append(binary.BigEndian.AppendUint16(nil, uint16(len(s))), s...) }

func write(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// ended holds that the server has closed the connection.
func ended(t *testing.T, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, c); err != nil && !bytes.Contains([]byte(err.Error()), []byte("reset")) {
		t.Fatalf("the connection is open: %v", err)
	}
}

// Frames come out however the bytes come in: one at a time, or all at once.
func TestReceive(t *testing.T) {
	b := newBench(t, roomy())
	want := []string{"one", "two two", string(bytes.Repeat([]byte{3}, 2048))}
	var stream []byte
	for _, s := range want {
		stream = append(stream, frame(s)...)
		stream = append(stream, 0, 0) // a null packet
	}
	slow, fast := b.dial(), b.dial()
	for i := range 20 {
		write(t, slow, stream[i:i+1])
		b.turn()
	}
	write(t, slow, stream[20:])
	write(t, fast, stream)
	b.await("all frames", func() bool { return len(b.got[port(slow)]) == 3 && len(b.got[port(fast)]) == 3 })
	for _, peer := range []net.Conn{slow, fast} {
		if got := b.got[port(peer)]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%.50q", got)
		}
		path := b.of(peer).path
		if path.Remote.AddrPort().String() != peer.LocalAddr().String() || !path.Remote.Stream() || path.Local != netip.MustParseAddr("127.0.0.1").As16() {
			t.Errorf("path %v from %v", path, netip.AddrFrom16(path.Local))
		}
	}
	if b.of(slow).path.Remote.Conn == b.of(fast).path.Remote.Conn {
		t.Error("two connections of one name")
	}
}

// More than one read takes, and the end of the stream behind it.
func TestReceiveMuch(t *testing.T) {
	b := newBench(t, roomy())
	peer := b.dial()
	const n = 200
	go func() {
		for i := range n {
			peer.Write(frame(fmt.Sprintf("%d%1500d", i, i)))
		}
		peer.Close()
	}()
	var gone pkt.Addr
	b.await("the end", func() bool { return b.PollGone(&gone) })
	got := b.got[gone.Port]
	if len(got) != n || got[n-1] != fmt.Sprintf("%d%1500d", n-1, n-1) {
		t.Errorf("%d frames of %d", len(got), n)
	}
	if c := b.gate.Counts(); c.Open != 0 {
		t.Errorf("%d open", c.Open)
	}
}

// The kernel is told what the options say.
func TestOptionsAreInherited(t *testing.T) {
	b := newBench(t, roomy())
	c := b.accept(b.dial())
	for opt, want := range map[int]int{unix.TCP_NODELAY: 1, unix.TCP_NOTSENT_LOWAT: 16 << 10} {
		if got, err := unix.GetsockoptInt(c.fd, unix.IPPROTO_TCP, opt); err != nil || got != want {
			t.Errorf("option %d is %d, %v; want %d", opt, got, err, want)
		}
	}
}

// TCP_NODELAY can be changed: for those that are there, those that come, and
// those that another socket had before.
func TestNoDelayIsLive(t *testing.T) {
	b := newBench(t, roomy())
	noDelay := func(c *Conn) int {
		t.Helper()
		v, err := unix.GetsockoptInt(c.fd, unix.IPPROTO_TCP, unix.TCP_NODELAY)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	there := b.accept(b.dial())
	b.SetNoDelay(false)
	came := b.accept(b.dial())
	if noDelay(there) != 0 || noDelay(came) != 0 {
		t.Errorf("off: TCP_NODELAY is %d and %d", noDelay(there), noDelay(came))
	}
	moved, other := b.Release(came), b.listen(b.Port())
	other.Adopt(b.now, moved)
	if noDelay(moved) == 0 {
		t.Error("a connection does not take the setting of the socket that adopts it")
	}
	b.SetNoDelay(true)
	if noDelay(there) == 0 {
		t.Error("it is not switched on again")
	}
}

// batch returns a batch with packets for a connection.
func batch(c *Conn, packets ...string) *pkt.Batch {
	b := pkt.NewBatch(make([]byte, 1<<20), 1000)
	for _, p := range packets {
		b.Commit(&c.path, copy(b.Reserve(len(p)), p))
	}
	return b
}

// readFrames reads until it has so many.
func readFrames(t *testing.T, c net.Conn, n int) (frames []string) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	for range n {
		var head [2]byte
		if _, err := io.ReadFull(c, head[:]); err != nil {
			t.Fatalf("after %d frames: %v", len(frames), err)
		}
		p := make([]byte, binary.BigEndian.Uint16(head[:]))
		if _, err := io.ReadFull(c, p); err != nil {
			t.Fatal(err)
		}
		frames = append(frames, string(p))
	}
	return frames
}

func TestSend(t *testing.T) {
	b := newBench(t, roomy())
	peer := b.dial()
	c := b.accept(peer)
	var want []string
	for i := range 200 {
		want = append(want, fmt.Sprintf("%d %*d", i, i%7, i))
	}
	if dropped := b.Send(batch(c, want...)); dropped != 0 {
		t.Fatalf("%d dropped", dropped)
	}
	if got := readFrames(t, peer, len(want)); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%.200q", got)
	}
	var a pkt.Addr
	if !b.PollWritable(&a) || a != c.path.Remote || b.PollWritable(&a) {
		t.Errorf("%v takes more", a)
	}
}

// A peer that reads nothing gets no more than the kernel takes and the window;
// frames are lost whole, and what is kept goes out when the peer reads.
func TestBackpressure(t *testing.T) {
	b := newBench(t, roomy())
	peer, other := b.dial(), b.dial()
	c, good := b.accept(peer), b.accept(other)
	packet := string(bytes.Repeat([]byte{7}, 1000))
	var a pkt.Addr
	sent, dropped := 0, 0
	for len(c.out) == 0 { // the kernel takes it
		sent += 10
		dropped += b.Send(batch(c, packet, packet, packet, packet, packet, packet, packet, packet, packet, packet))
		for b.PollWritable(&a) {
		}
	}
	if dropped != 0 {
		t.Fatalf("%d dropped of what a window holds", dropped)
	}
	for range 20 {
		sent += 10
		dropped += b.Send(batch(c, packet, packet, packet, packet, packet, packet, packet, packet, packet, packet))
	}
	if len(c.out) > window+slack || cap(c.out) != window+slack || dropped < 150 {
		t.Fatalf("%d bytes kept, %d packets dropped", len(c.out), dropped)
	}
	if b.PollWritable(&a) {
		t.Errorf("%v is said to take more", a)
	}
	b.Send(batch(good, "still served"))
	if got := readFrames(t, other, 1); got[0] != "still served" {
		t.Errorf("%q", got)
	}
	done := make(chan []string)
	go func() { done <- readFrames(t, peer, sent-dropped) }()
	b.await("all of it goes", func() bool { return b.PollWritable(&a) && a == c.path.Remote })
	for _, p := range <-done {
		if p != packet {
			t.Fatalf("a frame of %d bytes", len(p))
		}
	}
	if len(c.out) != 0 || len(b.tx.spare) != 1 {
		t.Errorf("%d bytes left, %d buffers given back", len(c.out), len(b.tx.spare))
	}
	b.Send(batch(c, "again"))
	if got := readFrames(t, peer, 1); got[0] != "again" {
		t.Errorf("%q", got)
	}
}

// What is for a connection that ended is dropped, whoever has its name later.
func TestSendToGone(t *testing.T) {
	b := newBench(t, roomy())
	peer := b.dial()
	c := b.accept(peer)
	peer.Close()
	var a pkt.Addr
	b.await("it ends", func() bool { return b.PollGone(&a) })
	if n := b.Send(batch(c, "one", "two")); n != 2 || a != c.path.Remote {
		t.Errorf("%d of 2 dropped, %v gone", n, a)
	}
	b.last--
	later := b.accept(b.dial())
	if n := b.Send(batch(c, "one")); n != 1 || later.path.Remote.Conn != c.path.Remote.Conn {
		t.Errorf("%d of 1 dropped", n)
	}
	b.Hangup(c.path.Remote)
	if later.closed {
		t.Error("another connection was hung up")
	}
	b.Hangup(later.path.Remote)
	if !later.closed {
		t.Error("it was not hung up")
	}
}

// A connection that shows nothing, or byte by byte, ends in time; one that a
// session has stays.
func TestSlowLoris(t *testing.T) {
	b := newBench(t, roomy())
	silent, slow, nulls, good := b.dial(), b.dial(), b.dial(), b.dial()
	for _, c := range []net.Conn{silent, slow, nulls, good} {
		b.accept(c)
	}
	b.Claim(b.of(good))
	for range 100 {
		write(t, slow, []byte{4})
		write(t, nulls, make([]byte, 1000))
		b.turn()
	}
	if due := b.Timeout(); due != b.now.Add(time.Second) {
		t.Errorf("due at %v, now is %v", due, b.now)
	}
	b.now = b.now.Add(time.Second)
	b.turn()
	for _, c := range []net.Conn{silent, slow, nulls} {
		ended(t, c)
	}
	if n := b.refused(Late); n != 3 || b.Timeout() != clock.Never || b.gate.Counts().Open != 1 {
		t.Errorf("%d were late, %d are open", n, b.gate.Counts().Open)
	}
	write(t, good, frame("here"))
	b.await("the good one is heard", func() bool { return len(b.got[port(good)]) == 1 })
}

func TestBadFrames(t *testing.T) {
	b := newBench(t, roomy())
	for i, s := range []string{"\xff\xff", "\x08\x01", "GET / HTTP/1.1\r\n\r\n", "\x00\x01a\x08\x01"} {
		peer := b.dial()
		write(t, peer, []byte(s))
		b.await("it is refused", func() bool { return b.refused(BadFrame) == i+1 })
		ended(t, peer)
	}
	if len(b.got) != 0 || len(b.conns) != 0 || b.gate.Counts().Open != 0 {
		t.Errorf("%d senders heard, %d connections", len(b.got), len(b.conns))
	}
}

func TestLimits(t *testing.T) {
	b := newBench(t, Limits{Connections: 5, PerSource: 2})
	first, second := b.dial(), b.dial()
	b.accept(first)
	b.accept(second)
	ended(t, b.turned(b.dial(), Source, 1))
	b.Claim(b.of(first)) // makes room among the unknown
	b.Claim(b.of(second))
	for range 2 {
		peer := b.dial()
		b.accept(peer)
		b.Claim(b.of(peer))
	}
	last := b.dial()
	b.accept(last)
	ended(t, b.turned(b.dial(), Total, 1))
	last.Close()
	b.await("room again", func() bool { return b.gate.Counts().Open == 4 })
	b.accept(b.dial())
	if c := b.gate.Counts(); c.Accepted != 6 || len(b.gate.waiting) != 1 {
		t.Errorf("%+v, %v wait", c, b.gate.waiting)
	}
}

// turned waits until so many were turned away.
func (b *bench) turned(peer net.Conn, why Refusal, n int) net.Conn {
	b.Helper()
	b.await("it is turned away", func() bool { return b.refused(why) == n })
	return peer
}

func TestSources(t *testing.T) {
	of := func(s string) source {
		a := pkt.AddrFrom(netip.AddrPortFrom(netip.MustParseAddr(s), 1))
		return sourceOf(&a)
	}
	if of("192.0.2.1") == of("192.0.2.2") || of("2001:db8:0:1::1") != of("2001:db8:0:1:2::") || of("2001:db8:0:1::1") == of("2001:db8:0:2::1") {
		t.Error("sources are not addresses of IPv4 and halves of IPv6")
	}
}

// A connection goes to another shard with all that was read of it, and what
// comes then is read there.
func TestHandOver(t *testing.T) {
	b := newBench(t, roomy())
	peer := b.dial()
	b.accept(peer)
	write(t, peer, append(frame("first"), frame("second")[:4]...))
	other := &bench{T: t, gate: b.gate, now: b.now, got: map[uint16][]string{}}
	other.Socket = b.listen(0) // a port of its own: the kernel must not choose
	var c *Conn
	b.awaitFirst(func(first *Conn, rx []pkt.Datagram) {
		if string(rx[0].Data) != "first" {
			t.Fatalf("%q", rx[0].Data)
		}
		c = b.Release(first)
	})
	if len(b.conns) != 0 || b.Timeout() != clock.Never {
		t.Errorf("%d connections are left behind", len(b.conns))
	}
	other.Adopt(other.now, c)
	write(t, peer, frame("second")[4:])
	other.await("both frames", func() bool { return len(other.got[port(peer)]) == 2 })
	if got := other.got[port(peer)]; got[0] != "first" || got[1] != "second" {
		t.Errorf("%q", got)
	}
	other.Send(batch(other.of(peer), "answer"))
	if got := readFrames(t, peer, 1); got[0] != "answer" {
		t.Errorf("%q", got)
	}
	b.turn()
	if counts := b.gate.Counts(); counts.Open != 1 || counts.Accepted != 1 {
		t.Errorf("%+v", counts)
	}
}

// awaitFirst turns until frames of a new connection came.
func (b *bench) awaitFirst(take func(*Conn, []pkt.Datagram)) {
	b.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(100 * time.Microsecond) {
		b.Poll(b.now)
		if c, rx := b.Receive(b.now); c != nil {
			take(c, rx)
			return
		}
	}
	b.Fatal("no frame")
}

func TestAbandon(t *testing.T) {
	b := newBench(t, roomy())
	peer := b.dial()
	write(t, peer, frame("first"))
	b.awaitFirst(func(c *Conn, _ []pkt.Datagram) { b.Abandon(b.Release(c)) })
	ended(t, peer)
	if c := b.gate.Counts(); c.Open != 0 || c.Refused[Busy] != 1 || len(b.gate.waiting) != 0 {
		t.Errorf("%+v", c)
	}
}

func TestStreamsAllocateNothing(t *testing.T) {
	b := newBench(t, roomy())
	peer := b.dial()
	c := b.accept(peer)
	tx := batch(c, "one", "two", "three")
	buf := make([]byte, 100)
	in := frame("in")
	fd, err := peer.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	round := func(s uintptr) bool {
		unix.Write(int(s), in)
		unix.Read(int(s), buf)
		return true
	}
	n := 0
	allocs := testing.AllocsPerRun(100, func() {
		b.Send(tx)
		var a pkt.Addr
		for b.PollWritable(&a) {
		}
		fd.Read(round)
		b.Poll(b.now)
		for c, rx := b.Receive(b.now); c != nil; c, rx = b.Receive(b.now) {
			n += len(rx)
			if !c.Placed() {
				b.Place(c)
			}
		}
	})
	if allocs != 0 || n == 0 {
		t.Errorf("%v allocations, %d frames", allocs, n)
	}
}
