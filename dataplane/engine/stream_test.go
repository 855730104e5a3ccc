package engine_test

import (
	"bytes"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/simnet"
	"sluice/dataplane/wire"
)

// pipe is a peer's TCP connection: in order, without loss, and the kernel takes
// only so much of what the peer has not read. It plays the shell's part too.
type pipe struct {
	w       *world
	peer    *peer
	addr    pkt.Addr
	rate    int // bytes a second that the peer reads; 0 for none
	queue   [][]byte
	size    int  // bytes of the queue
	most    int  // that they ever were
	waiting bool // the engine has not been told that all of it was taken
	reading bool
	closed  bool
}

// taken is how many bytes the kernel takes that the peer has not read.
const taken = 8 << 10

// connect gives a peer a connection in place of the address it had.
func (p *peer) connect(rate int) *pipe {
	w := p.w
	addr := w.newAddr(p)
	addr.Conn = uint32(w.addrs)
	w.remotes[addr] = &remoteState{peer: p}
	pipe := &pipe{w: w, peer: p, addr: addr, rate: rate}
	w.pipes[addr] = pipe
	p.host.Rebind(addr)
	p.host.Up = simnet.Link{Delay: p.host.Up.Delay}
	return pipe
}

// reconnect gives a peer another connection; it ends the one before.
func (p *peer) reconnect() *pipe {
	old := p.w.pipes[p.host.Addr()]
	old.close()
	return p.connect(old.rate)
}

func (p *pipe) close() {
	p.closed = true
	p.w.engines[p.peer.id.Shard()].StreamGone(p.w.net.Now(), p.addr)
	p.w.drain(p.peer.id.Shard())
}

// hangUp ends a connection, as the engine wants it.
func (w *world) hangUp(a pkt.Addr) {
	pipe := w.pipes[a]
	if pipe == nil || pipe.closed {
		return
	}
	pipe.closed = true
	w.engines[pipe.peer.id.Shard()].StreamGone(w.net.Now(), a)
}

func (p *pipe) put(b []byte) {
	p.queue = append(p.queue, bytes.Clone(b))
	p.size += wire.FrameHead + len(b)
	p.most = max(p.most, p.size)
	p.waiting = true
	p.read()
}

// read lets the peer read the next packet, in the time that takes.
func (p *pipe) read() {
	if p.reading || p.rate == 0 || len(p.queue) == 0 {
		return
	}
	p.reading = true
	n := wire.FrameHead + len(p.queue[0])
	p.w.net.After(time.Duration(n)*time.Second/time.Duration(p.rate), func() {
		b := p.queue[0]
		p.queue, p.size, p.reading = p.queue[1:], p.size-n, false
		if !p.peer.gone && !p.closed {
			p.peer.receive(b)
		}
		if p.writable() {
			p.w.drain(p.peer.id.Shard())
		}
		p.read()
	})
}

// writable tells the engine that all was taken, once.
func (p *pipe) writable() bool {
	if !p.waiting || p.closed || p.size > taken {
		return false
	}
	p.waiting = false
	return p.w.engines[p.peer.id.Shard()].StreamWritable(p.w.net.Now(), p.addr)
}

// streamed tells an engine which connections took all that it gave.
func (w *world) streamed(shard int) (more bool) {
	for _, p := range w.live() {
		if pipe := w.pipes[p.host.Addr()]; pipe != nil && p.id.Shard() == shard {
			more = pipe.writable() || more
		}
	}
	return more
}

// newStreamStage is a stage with a second viewer, which comes by TCP and reads
// at a rate. Video is about 90 kB a second, with large packets.
func newStreamStage(t *testing.T, rate int) (*stage, *viewer, *pipe) {
	p := livePace
	p.video, p.payload, p.framePackets, p.keyframeEvery = 40*time.Millisecond, 1100, 6, 1000
	w := newWorld(t, 4571, 1, p, "go test ./dataplane/engine -run '"+t.Name()+"$'")
	w.perfect = true
	st := &stage{world: w, s: w.newStream(), e: w.engines[0]}
	st.pub = w.publish(st.s)
	st.pass(time.Second)
	st.v = w.watch(st.s)
	v := w.watch(st.s)
	v.nack = true
	pipe := v.connect(rate)
	st.pass(time.Second)
	st.flows()
	return st, v, pipe
}

// firsts records what a viewer is sent for the first time.
type firsts struct {
	at    clock.Time
	index uint64
	s     *sent
}

func record(v *viewer) *[2][]firsts {
	got := &[2][]firsts{}
	v.onSent = func(d *viewed, s *sent, index uint64) {
		got[d.track.kind] = append(got[d.track.kind], firsts{v.w.net.Now(), index, s})
	}
	return got
}

// gaps counts the places where numbers are missing, and fails where video goes
// on behind one with anything but a keyframe.
func gaps(t *testing.T, kind msg.Kind, got []firsts) (n int) {
	t.Helper()
	for i, f := range got[1:] {
		if f.index == got[i].index+1 {
			continue
		}
		n++
		if kind == msg.Video && !f.s.key {
			t.Fatalf("behind a gap of %d packets comes no keyframe", f.index-got[i].index-1)
		}
	}
	return n
}

// Over a connection that takes all, a viewer gets all, in order.
func TestStream(t *testing.T) {
	st, v, pipe := newStreamStage(t, 10<<20)
	got := record(v)
	st.pass(10 * time.Second)
	for kind, list := range got {
		if len(list) < 100 || gaps(t, msg.Kind(kind), list) != 0 {
			t.Errorf("%v: %d packets, with gaps", msg.Kind(kind), len(list))
		}
	}
	if n := st.e.Counters.Drops[wire.DropStreamBehind]; n != 0 || st.e.Counters.Skipped != 0 {
		t.Errorf("%d dropped", n)
	}
	if path := st.v.host.Addr(); path.Stream() || !pipe.addr.Stream() {
		t.Fatal("the one by TCP is not")
	}
	st.settled()
}

// A connection that is too slow for the video gets whole pieces of it, each from
// a keyframe on, none of it older than the bound and what waits in the
// connection; all sound; and no retransmissions of what was left out. Others
// lose nothing.
func TestSlowStream(t *testing.T) {
	st, v, pipe := newStreamStage(t, 40<<10)
	got, others := record(v), record(st.v)
	before := st.e.Counters
	st.pass(30 * time.Second)
	now := st.e.Counters
	if n := gaps(t, msg.Video, got[msg.Video]); n < 3 || now.Skipped-before.Skipped < 100 {
		t.Errorf("%d gaps, %d frames skipped: was the connection slow?", n, now.Skipped-before.Skipped)
	}
	if n := gaps(t, msg.Audio, got[msg.Audio]); n != 0 || len(got[msg.Audio]) < 400 {
		t.Errorf("%d gaps in %d packets of sound", n, len(got[msg.Audio]))
	}
	if len(got[msg.Video]) < 500 {
		t.Errorf("only %d packets of video", len(got[msg.Video]))
	}
	for _, list := range got {
		for _, f := range list {
			if age := f.at.Sub(f.s.at); age > engine.DefaultSettings().StreamLag {
				t.Fatalf("a packet is sent %v after it came", age)
			}
		}
	}
	for kind, list := range others {
		if gaps(t, msg.Kind(kind), list) != 0 || len(list) <= len(got[kind]) && kind == int(msg.Video) {
			t.Errorf("the viewer by UDP lost %v", msg.Kind(kind))
		}
	}
	if now.NACKMissed == before.NACKMissed || now.Resent != before.Resent {
		t.Errorf("%d asked for and not sent, %d sent again", now.NACKMissed-before.NACKMissed, now.Resent-before.Resent)
	}
	if now.Drops[wire.DropStreamBehind] == before.Drops[wire.DropStreamBehind] {
		t.Error("nothing is counted as dropped")
	}
	if pipe.most > taken+engine.StreamWindow+4<<10 {
		t.Errorf("%d bytes waited in the connection", pipe.most)
	}
}

// However little a connection takes, sound has its share of it.
func TestSoundIsDroppedLast(t *testing.T) {
	st, v, _ := newStreamStage(t, 10<<20)
	st.pipes[v.host.Addr()].rate = 10 << 10
	st.pass(5 * time.Second)
	got := record(v)
	st.pass(30 * time.Second)
	if n := gaps(t, msg.Audio, got[msg.Audio]); n != 0 || len(got[msg.Audio]) < 400 {
		t.Errorf("%d gaps in %d packets of sound", n, len(got[msg.Audio]))
	}
	if n := gaps(t, msg.Video, got[msg.Video]); n < 3 {
		t.Errorf("%d gaps in the video", n)
	}
}

// A peer that reads nothing is given a window and no more, and nobody else
// notices. When it reads again it starts over with a keyframe and young sound.
func TestStalledStream(t *testing.T) {
	st, v, pipe := newStreamStage(t, 10<<20)
	others := record(st.v)
	pipe.rate = 0
	st.pass(10 * time.Second)
	if pipe.most > taken+engine.StreamWindow+4<<10 {
		t.Errorf("%d bytes wait for a peer that reads nothing", pipe.most)
	}
	for kind, list := range others {
		if len(list) < 100 || gaps(t, msg.Kind(kind), list) != 0 {
			t.Errorf("the other viewer has %d %v packets, with gaps", len(list), msg.Kind(kind))
		}
	}
	got := record(v)
	pipe.rate = 10 << 20
	pipe.read()
	st.pass(3 * time.Second)
	if len(got[msg.Video]) < 50 || !got[msg.Video][0].s.key {
		t.Errorf("%d packets of video, the first one is no keyframe", len(got[msg.Video]))
	}
	if len(got[msg.Audio]) < 30 || got[msg.Audio][0].at.Sub(got[msg.Audio][0].s.at) > time.Second {
		t.Errorf("%d packets of sound, the first one is old", len(got[msg.Audio]))
	}
	if gaps(t, msg.Video, got[msg.Video])+gaps(t, msg.Audio, got[msg.Audio]) != 0 {
		t.Error("gaps after it came back")
	}
}

// A peer that connects again goes on with the same session: media moves to the
// new connection, and the old one is closed if it is still there.
func TestStreamReconnects(t *testing.T) {
	for name, ended := range map[string]bool{"the old one ended": true, "the old one hangs": false} {
		t.Run(name, func(t *testing.T) {
			st, v, old := newStreamStage(t, 10<<20)
			if ended {
				old.close()
				st.pass(5 * time.Second)
			} else {
				old.rate = 0
			}
			fresh := v.connect(10 << 20)
			st.pass(5 * time.Second) // to the next check, and the report behind it
			got := record(v)
			st.pass(2 * time.Second)
			if !old.closed || fresh.closed || len(got[msg.Video]) < 30 || len(got[msg.Audio]) < 20 {
				t.Errorf("old closed %v, new closed %v, %d packets of video", old.closed, fresh.closed, len(got[msg.Video]))
			}
			if st.e.Counters.PathChanges == 0 || st.e.Owns(old.addr) || !st.e.Owns(fresh.addr) {
				t.Error("media did not move, or the old connection is known")
			}
		})
	}
}

// Without its connection a session lives until consent expires, and not longer.
func TestStreamEndsWithConsent(t *testing.T) {
	st, v, pipe := newStreamStage(t, 10<<20)
	v.gone = true // it does not check any more
	pipe.close()
	closed := 0
	st.onClosed = func(c msg.SessionClosed) {
		if c.ID == v.id && c.Reason == msg.ClosedNoConsent {
			closed++
		}
	}
	st.pass(25 * time.Second)
	if closed != 0 {
		t.Error("the session ended with its connection")
	}
	st.pass(10 * time.Second)
	if closed != 1 || st.e.Owns(pipe.addr) {
		t.Errorf("closed %d times", closed)
	}
}

// A peer that sends reports, or media, needs no checks.
func TestReportsAreConsent(t *testing.T) {
	st := newStage(t)
	st.v.unchecking, st.pub.unchecking = true, true
	st.pass(70 * time.Second)
	st.flows()
	if st.closed != 0 {
		t.Errorf("%d sessions ended", st.closed)
	}
}

// When a session ends, so do all its connections.
func TestStreamsEndWithSession(t *testing.T) {
	st, v, first := newStreamStage(t, 10<<20)
	second := v.connect(10 << 20)
	st.send(v.host, v.checkPacket())
	if !st.e.Owns(first.addr) || !st.e.Owns(second.addr) {
		t.Fatal("two connections are not known")
	}
	st.remove(v.peer)
	st.pass(time.Second)
	if !first.closed || !second.closed || st.e.Owns(first.addr) || st.e.Owns(second.addr) {
		t.Errorf("closed: %v, %v", first.closed, second.closed)
	}
}

// A connection is with the shard that owns its session: a check on it for
// another shard's goes nowhere.
func TestStreamChecksStayHere(t *testing.T) {
	w := newWorld(t, 1, 2, livePace, t.Name())
	e := w.engines[0]
	addr := w.newAddr(nil)
	addr.Conn = 1
	e.HandleDatagrams(w.net.Now(), []pkt.Datagram{{Path: pkt.Path{Remote: addr, Local: local}, Data: bindingRequest("Bfriend1", "password", 1)}})
	if e.Counters.Drops[wire.DropSTUNUnknownUser] != 1 || e.RelayPending(1) || e.Owns(addr) {
		t.Error("it was relayed")
	}
}

func TestHome(t *testing.T) {
	e := newWorld(t, 1, 3, livePace, t.Name()).engines[1]
	check := bindingRequest("Cfriend1", "password", 1)
	for _, v := range []struct {
		what  string
		frame []byte
		shard int
		ok    bool
	}{
		{"a check", check, 2, true},
		{"a check for us", bindingRequest("Bfriend1", "password", 1), 1, true},
		{"a check for a shard that is not there", bindingRequest("Dfriend1", "password", 1), 0, false},
		{"a ufrag of another kind", bindingRequest("Bob", "password", 1), 0, false},
		{"an answer", fingerprinted(append([]byte{1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)), 0, false},
		{"half a check", check[:40], 0, false},
		{"DTLS", []byte{22, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 0, false},
		{"nothing", nil, 0, false},
	} {
		before := bytes.Clone(v.frame)
		if shard, ok := e.Home(v.frame); ok != v.ok || ok && shard != v.shard || !bytes.Equal(before, v.frame) {
			t.Errorf("%s: shard %d, %v", v.what, shard, ok)
		}
	}
}
