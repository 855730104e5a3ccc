package engine_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/simnet"
	"sluice/dataplane/wire"
)

// stage is a small world in which attacks take place: one shard, one stream with
// a publisher and a viewer, links without delay.
type stage struct {
	*world
	s   *stream
	pub *publisher
	v   *viewer
	e   *engine.Engine
}

func newStage(t *testing.T) *stage {
	w := newWorld(t, 42, 1, livePace, "go test ./dataplane/engine -run '"+t.Name()+"$'")
	w.perfect = true
	st := &stage{world: w, s: w.newStream(), e: w.engines[0]}
	st.pub = w.publish(st.s)
	st.pass(time.Second)
	st.v = w.watch(st.s)
	st.v.nack = true
	st.pass(time.Second)
	st.flows()
	return st
}

func (st *stage) pass(d time.Duration) { st.net.Run(st.net.Now().Add(d)) }

// flows holds that the viewer gets video now.
func (st *stage) flows() {
	st.t.Helper()
	before := st.counts.received
	st.pass(300 * time.Millisecond)
	if st.counts.received == before {
		st.t.Fatal("the viewer gets nothing")
	}
}

// dropped returns how often a reason was counted while f ran.
func (st *stage) dropped(d wire.Drop, f func()) int {
	before := st.e.Counters.Drops[d]
	f()
	return int(st.e.Counters.Drops[d] - before)
}

// attacker is a host that no session knows.
type attacker struct {
	host    *simnet.Host
	replies [][]byte
}

func (st *stage) attacker() *attacker {
	a := &attacker{}
	a.host = st.net.NewHost(st.newAddr(nil), func(b []byte) { a.replies = append(a.replies, b) })
	return a
}

// send sends and waits for what it causes.
func (st *stage) send(h *simnet.Host, datagrams ...[]byte) {
	for _, b := range datagrams {
		h.Send(b)
	}
	st.net.Run(st.net.Now())
}

func TestAttack01FloodWithoutUfrag(t *testing.T) {
	st := newStage(t)
	remotes := st.e.Remotes()
	n := st.dropped(wire.DropSTUNUnknownUser, func() {
		for i := range 5000 {
			a := st.attacker()
			st.send(a.host, bindingRequest("Anobody1", "password", uint64(i)))
			if len(a.replies) != 0 {
				t.Fatal("an answer to an unknown ufrag")
			}
		}
	})
	if n != 5000 || st.e.Remotes() != remotes {
		t.Errorf("%d of 5000 counted, %d addresses known, before %d", n, st.e.Remotes(), remotes)
	}
	st.flows()
}

// TestAttack01AnswersAreSmallAndFew: who knows a ufrag but no password gets an
// error that is no larger than the request, some times a second.
func TestAttack01AnswersAreSmallAndFew(t *testing.T) {
	st := newStage(t)
	st.pass(time.Second)
	a := st.attacker()
	short := fingerprinted(attribute(append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...), 6, []byte(st.v.ufrag+":")))
	bare := slices.Clone(short[:len(short)-8])
	bare[3] -= 8
	now := st.net.Now()
	budget := st.dropped(wire.DropSTUNBudget, func() {
		for range 100 {
			for _, b := range [][]byte{short, bare, bindingRequest(st.v.ufrag, "wrong", 1)} {
				before := len(a.replies)
				st.send(a.host, b)
				if len(a.replies) > before && len(a.replies[before]) > len(b) {
					t.Fatalf("%d bytes answer %d", len(a.replies[before]), len(b))
				}
			}
		}
	})
	if st.net.Now() != now || len(a.replies) == 0 || len(a.replies) > 50 || budget == 0 {
		t.Errorf("%d answers to 300 bad checks at one instant, %d over the budget", len(a.replies), budget)
	}
	answered := len(a.replies)
	st.pass(time.Second)
	if st.send(a.host, short); len(a.replies) != answered+1 {
		t.Error("no answer in the next second")
	}
}

func TestAttack02WrongIntegrityFromNewAddress(t *testing.T) {
	st := newStage(t)
	for _, p := range []*peer{st.v.peer, st.pub.peer} {
		a := st.attacker()
		bad := bindingRequest(p.ufrag, "not the password", 1)
		changed := p.checkPacket()
		changed[30] ^= 1
		changed = fingerprinted(changed[:len(changed)-8])
		changes, remotes := st.e.Counters.PathChanges, st.e.Remotes()
		n := st.dropped(wire.DropSTUNIntegrity, func() { st.send(a.host, bad, bad, bad) })
		if n != 3 || len(a.replies) != 3 {
			t.Errorf("%d of 3 counted, %d answers", n, len(a.replies))
		}
		for _, b := range a.replies {
			if len(b) > len(bad) || binary.BigEndian.Uint16(b) != 0x0111 {
				t.Errorf("answer % x", b)
			}
		}
		st.send(a.host, changed)
		st.pass(5 * time.Second)
		if st.e.Counters.PathChanges != changes || st.e.Remotes() != remotes {
			t.Error("a check without our password changed a path")
		}
		for _, b := range a.replies {
			if wire.Classify(b) != wire.ProtoSTUN {
				t.Fatal("media to an address that never passed a check")
			}
		}
	}
	st.flows()
}

// TestAttack12FloodAtTheWrongShard: what one shard has for another waits, in order
// and whole, while the other's thread is away for as long as a flood fills a socket;
// then what comes is dropped, and counted.
func TestAttack12FloodAtTheWrongShard(t *testing.T) {
	e := engine.New(engine.Config{Shard: 0, Shards: 2, Sessions: 1, Streams: 1, Seed: 1, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
	now := clock.Time(time.Second)
	peer := pkt.Path{Remote: pkt.Addr{Port: 1}, Local: local}
	e.HandleRelay(now, 1, &engine.Relay{Kind: engine.RelayOwner, Path: peer})
	send := func(n int) {
		for i := range n {
			packet := append([]byte{0x80, 96}, make([]byte, 1000)...)
			binary.BigEndian.PutUint32(packet[2:], uint32(i))
			e.HandleDatagrams(now, []pkt.Datagram{{Path: peer, Arrived: now, Data: packet}})
		}
	}
	for range 2 { // room that was given back is there again
		const wait = 3000
		send(wait)
		taken := 0
		for m := (engine.Relay{}); e.PollRelay(1, &m); taken++ {
			if len(m.Data) != 1002 || binary.BigEndian.Uint32(m.Data[2:]) != uint32(taken) {
				t.Fatalf("message %d is number %d of %d bytes", taken, binary.BigEndian.Uint32(m.Data[2:]), len(m.Data))
			}
		}
		if dropped := e.Counters.Drops[wire.DropRelayFull]; taken != wait || dropped != 0 {
			t.Fatalf("%d taken and %d dropped of %d", taken, dropped, wait)
		}
		now = now.Add(time.Second)
		e.HandleTimeout(now)
	}
	send(10_000)
	taken := uint64(0)
	for m := (engine.Relay{}); e.PollRelay(1, &m); taken++ {
	}
	if dropped := e.Counters.Drops[wire.DropRelayFull]; dropped == 0 || taken+dropped != 10_000 {
		t.Errorf("%d taken and %d dropped of 10000", taken, dropped)
	}
}

// TestAttack02ChecksAtTheWrongShard: checks that one shard has for another leave
// room for the media that does.
func TestAttack02ChecksAtTheWrongShard(t *testing.T) {
	e := engine.New(engine.Config{Shard: 0, Shards: 2, Sessions: 1, Streams: 1, Seed: 1, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
	now := clock.Time(time.Second)
	peer := pkt.Path{Remote: pkt.Addr{Port: 1}, Local: local}
	e.HandleRelay(now, 1, &engine.Relay{Kind: engine.RelayOwner, Path: peer})
	for e.PollTransmit(pkt.NewBatch(make([]byte, 8<<10), 8)) {
	}
	for i := range 5000 {
		from := pkt.Path{Remote: pkt.Addr{Port: uint16(1000 + i)}, Local: local}
		e.HandleDatagrams(now, []pkt.Datagram{{Path: from, Arrived: now, Data: bindingRequest("Bufrag-1", "wrong", uint64(i))}})
	}
	if e.Counters.Drops[wire.DropRelayFull] == 0 {
		t.Fatal("all checks found room: this is no flood")
	}
	for range 50 {
		e.HandleDatagrams(now, []pkt.Datagram{{Path: peer, Arrived: now, Data: append([]byte{0x80, 96}, make([]byte, 1200)...)}})
	}
	media := 0
	for m := (engine.Relay{}); e.PollRelay(1, &m); {
		if m.Path.Remote == peer.Remote && wire.Classify(m.Data) == wire.ProtoRTP {
			media++
		}
	}
	if media != 50 {
		t.Errorf("%d of 50 packets of media were passed on", media)
	}
}

// TestAttack03ReplayFromElsewhere: a check, a SRTCP compound and media that were
// overheard and sent again from another address move nothing.
func TestAttack03ReplayFromElsewhere(t *testing.T) {
	st := newStage(t)
	a := st.attacker()
	check := st.v.checkPacket()
	report, _ := rtcp.Marshal([]rtcp.Packet{&rtcp.ReceiverReport{SSRC: st.v.ssrc}})
	report, err := st.v.peer.send.EncryptRTCP(nil, report, nil)
	if err != nil {
		t.Fatal(err)
	}
	st.send(st.v.host, check, report)
	// From now on the address is one that passed a check, even if a replayed one.
	st.remotes[a.host.Addr()].peer = st.v.peer
	changes := st.e.Counters.PathChanges
	for range 40 {
		replays := st.dropped(wire.DropReplay, func() { st.send(a.host, check, report) })
		if replays != 1 {
			t.Fatalf("a replayed compound was counted %d times", replays)
		}
		st.pass(time.Second)
	}
	if st.e.Counters.PathChanges != changes {
		t.Error("media moved")
	}
	for _, b := range a.replies {
		if wire.Classify(b) != wire.ProtoSTUN {
			t.Fatal("media went to where a check was replayed")
		}
	}
	st.flows()
	// The peer's own consent ends with its own checks, whatever is replayed.
	st.v.gone = true
	for range 31 {
		st.send(a.host, check)
		st.pass(time.Second)
	}
	if st.closed != 1 {
		t.Error("replayed checks keep a session alive")
	}
}

func TestAttack04MalformedSTUN(t *testing.T) {
	st := newStage(t)
	a := st.attacker()
	good := st.v.checkPacket()
	edit := func(f func(b []byte) []byte) []byte { return f(bytes.Clone(good)) }
	resize := func(b []byte) []byte { binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20)); return b }
	bad := [][]byte{
		edit(func(b []byte) []byte { return b[:19] }),
		edit(func(b []byte) []byte { b[3]--; return b }),
		edit(func(b []byte) []byte { b[3] += 4; return b }),
		edit(func(b []byte) []byte { b[4] = 0; return b }),
		edit(func(b []byte) []byte { binary.BigEndian.PutUint16(b[22:], 0xffff); return b }),
		edit(func(b []byte) []byte { b[len(b)-1] ^= 1; return b }),
		edit(func(b []byte) []byte { return resize(attribute(b, 0x0024, make([]byte, 4))) }), // FINGERPRINT not last
		edit(func(b []byte) []byte { return resize(append(b[:20], make([]byte, 4*2000)...)) }),
		resize(append(bytes.Clone(good[:20]), bytes.Repeat([]byte{0, 0x20, 0, 0}, 2000)...)),
	}
	remotes := st.e.Remotes()
	if n := st.dropped(wire.DropSTUNMalformed, func() { st.send(a.host, bad...) }); n != len(bad) {
		t.Errorf("%d of %d counted as malformed", n, len(bad))
	}
	// Well-formed, with XOR addresses of no length: what is unknown is refused.
	for _, typ := range []uint16{0x0020, 0x0012, 0x0016} {
		st.send(a.host, fingerprinted(attribute(bytes.Clone(good[:20]), typ, nil)))
	}
	// Responses are nobody's business here.
	if n := st.dropped(wire.DropSTUNClass, func() {
		for _, typ := range []uint16{0x0101, 0x0111, 0x0011, 0x0003} {
			b := bytes.Clone(good[:20])
			binary.BigEndian.PutUint16(b, typ)
			st.send(a.host, fingerprinted(b))
		}
	}); n != 4 {
		t.Errorf("%d of 4 counted as no request", n)
	}
	if len(a.replies) != 0 || st.e.Remotes() != remotes {
		t.Errorf("%d answers, %d addresses known, before %d", len(a.replies), st.e.Remotes(), remotes)
	}
	allocs := testing.AllocsPerRun(100, func() {
		for _, b := range bad {
			st.e.HandleDatagrams(st.net.Now(), []pkt.Datagram{{Path: pkt.Path{Remote: a.host.Addr(), Local: local}, Data: b}})
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for malformed messages", allocs)
	}
	st.flows()
}

// TestUnknownAndRole: an authenticated check that we cannot go along with is
// answered with the reason.
func TestUnknownAndRole(t *testing.T) {
	st := newStage(t)
	var replies [][]byte
	h := st.net.NewHost(st.newAddr(st.v.peer), func(b []byte) { replies = append(replies, b) })
	start := func() []byte {
		return attribute(append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...), 6, []byte(st.v.ufrag+":x"))
	}
	remotes := st.e.Remotes()
	unknown := st.dropped(wire.DropSTUNAttribute, func() { st.send(h, signed(attribute(start(), 0x4abc, []byte{1}), st.v.pwd)) })
	role := st.dropped(wire.DropSTUNRole, func() { st.send(h, signed(attribute(start(), 0x8029, make([]byte, 8)), st.v.pwd)) })
	if unknown != 1 || role != 1 || len(replies) != 2 || st.e.Remotes() != remotes {
		t.Fatalf("%d, %d counted, %d answers", unknown, role, len(replies))
	}
	for i, code := range []string{"\x00\x00\x04\x14", "\x00\x00\x04\x57"} { // 420, 487
		if !bytes.Contains(replies[i], []byte("\x00\x09\x00\x04"+code)) {
			t.Errorf("answer %d: % x", i, replies[i])
		}
	}
}

func TestAttack06ClientHelloFromUncheckedTuple(t *testing.T) {
	st := newStage(t)
	hello := append([]byte{22, 0xfe, 0xfd}, make([]byte, 200)...)
	a := st.attacker()
	punts := st.e.Counters.Punts
	if n := st.dropped(wire.DropDTLSUnchecked, func() { st.send(a.host, hello, hello) }); n != 2 {
		t.Errorf("%d of 2 counted", n)
	}
	// During the handshake of the real peer: its own passes, the other's does not.
	v := st.watch(st.s)
	st.net.Run(st.net.Now())
	for !v.keyed {
		st.send(a.host, hello)
		st.pass(5 * time.Millisecond)
	}
	if len(a.replies) != 0 || st.e.Counters.Punts-punts > 3 {
		t.Errorf("%d answers, %d passed up", len(a.replies), st.e.Counters.Punts-punts)
	}
	st.flows()
}

// TestPuntsAreLimited: even a peer gets only so much DTLS looked at.
func TestPuntsAreLimited(t *testing.T) {
	st := newStage(t)
	st.pass(time.Second)
	before := st.e.Counters.Punts
	n := st.dropped(wire.DropDTLSBudget, func() {
		for range 500 {
			st.send(st.v.host, []byte{23, 0xfe, 0xfd, 1})
		}
	})
	if passed := st.e.Counters.Punts - before; passed == 0 || passed > 64 || n+int(passed) != 500 {
		t.Errorf("%d passed up, %d over the budget, of 500", passed, n)
	}
	st.flows()
}

// fromPublisher protects a packet of the publisher's video source.
func (st *stage) fromPublisher(p *rtp.Packet) []byte {
	b, err := p.Marshal()
	if err != nil {
		st.t.Fatal(err)
	}
	return st.protect(b)
}

func (st *stage) protect(b []byte) []byte {
	b, err := st.pub.peer.send.EncryptRTP(nil, b, nil)
	if err != nil {
		st.t.Fatal(err)
	}
	return b
}

// videoPacket is one that fits into the publisher's stream at a distance from
// its next packet.
func (st *stage) videoPacket(ahead int) *rtp.Packet {
	src := st.pub.sources[msg.Video]
	return &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: videoPT, SequenceNumber: uint16(int(src.seq) + ahead), Timestamp: src.tsAt(st.net.Now()), SSRC: src.ssrc}}
}

// TestAttack11Replay: SRTP and SRTCP that came before, that is older than the
// window, or whose sequence number was turned by half the space.
func TestAttack11Replay(t *testing.T) {
	st := newStage(t)
	src := st.pub.sources[msg.Video]
	last := st.wireBytes(st.pub.peer, src.ssrc, uint16(src.seq-1))
	report, err := rtcp.Marshal([]rtcp.Packet{src.report()})
	if err != nil {
		t.Fatal(err)
	}
	if report, err = st.pub.peer.send.EncryptRTCP(nil, report, nil); err != nil {
		t.Fatal(err)
	}
	st.send(st.pub.host, report)
	forwarded, rollover := st.e.Counters.Forwarded, st.e.Rollover(st.pub.id)
	if n := st.dropped(wire.DropReplay, func() { st.send(st.pub.host, last, report, last, report) }); n != 4 {
		t.Errorf("%d of 4 replays counted", n)
	}
	jump := bytes.Clone(last)
	for _, delta := range []uint16{1 << 15, 1<<15 - 1, 1<<15 + 1, 1 << 14} {
		binary.BigEndian.PutUint16(jump[2:], binary.BigEndian.Uint16(last[2:])+delta)
		forged := bytes.Clone(jump)
		auth := st.dropped(wire.DropAuth, func() { st.send(st.pub.host, forged) })
		old := st.dropped(wire.DropReplay, func() { st.send(st.pub.host, bytes.Clone(jump)) })
		if auth+old != 1 {
			t.Errorf("a jump by %d was counted %d times as forged, %d as old", delta, auth, old)
		}
	}
	changed := bytes.Clone(report)
	changed[len(changed)-20] ^= 1
	binary.BigEndian.PutUint32(changed[4:], src.ssrc+1) // another sender: not seen before
	if n := st.dropped(wire.DropAuth, func() { st.send(st.pub.host, changed) }); n != 1 {
		t.Error("a forged compound is not counted")
	}
	if st.e.Counters.Forwarded != forwarded || !slices.Equal(st.e.Rollover(st.pub.id), rollover) {
		t.Errorf("replays and forgeries moved %v to %v, or were forwarded", rollover, st.e.Rollover(st.pub.id))
	}
	st.pass(time.Minute)
	if src.seq < rollover[1]+1024 {
		t.Fatalf("from %d to %d are too few packets to leave the window", rollover[1], src.seq)
	}
	if n := st.dropped(wire.DropReplay, func() { st.send(st.pub.host, last) }); n != 1 {
		t.Error("a packet older than the window is not dropped")
	}
	st.flows()
}

// TestAttack11FormerSource: after an encoder took a new SSRC, packets of the old
// one are overheard ones that come again: its replay list is gone.
func TestAttack11FormerSource(t *testing.T) {
	st := newStage(t)
	old := st.pub.sources[msg.Video]
	var overheard [][]byte
	for seq := old.seq - 10; seq < old.seq; seq++ {
		overheard = append(overheard, st.wireBytes(st.pub.peer, old.ssrc, uint16(seq)))
	}
	st.pub.encoderRestart()
	st.pass(time.Second)
	st.flows()
	forwarded := st.e.Counters.Forwarded
	if n := st.dropped(wire.DropUnexpected, func() { st.send(st.pub.host, overheard...) }); n != len(overheard) {
		t.Errorf("%d of %d counted", n, len(overheard))
	}
	if st.e.Counters.Forwarded != forwarded {
		t.Error("a replay was forwarded")
	}
	st.flows()
}

func TestAttack12FloodOfBadTags(t *testing.T) {
	st := newStage(t)
	other := st.newStream()
	st.publish(other)
	st.pass(time.Second)
	st.watch(other)
	st.pass(time.Second)
	rollover := st.e.Rollover(st.pub.id)
	const flood = 2000
	n := st.dropped(wire.DropAuth, func() {
		for i := range flood {
			b := st.fromPublisher(st.videoPacket(1 + i%100))
			b[len(b)-1] ^= 1
			st.send(st.pub.host, b)
		}
	})
	if n != flood || !slices.Equal(st.e.Rollover(st.pub.id), rollover) {
		t.Errorf("%d of %d counted, %v became %v", n, flood, rollover, st.e.Rollover(st.pub.id))
	}
	st.settled() // nobody lacks anything, on this stream and the other
}

// TestAttack12GuessedSSRCs: who floods from a peer's address without seeing its
// stream has a thousand packets a second looked at; the streams that are there
// lose nothing, and in the next second a new one is taken on again.
func TestAttack12GuessedSSRCs(t *testing.T) {
	st := newStage(t)
	const flood = 5000
	rtp := func(ssrc uint32) []byte {
		b := st.fromPublisher(st.videoPacket(1))
		binary.BigEndian.PutUint32(b[8:], ssrc)
		return b
	}
	rtcp := func(ssrc uint32) []byte {
		return binary.BigEndian.AppendUint32([]byte{0x80, 201, 0, 1}, ssrc)[:8:8]
	}
	for _, v := range []struct {
		name string
		make func(ssrc uint32) []byte
	}{
		{"SRTP", rtp},
		{"SRTCP", func(ssrc uint32) []byte { return append(rtcp(ssrc), make([]byte, 32)...) }},
	} {
		st.pass(time.Second) // a new budget
		now := st.net.Now()
		unread := 0
		tried := st.dropped(wire.DropAuth, func() {
			unread = st.dropped(wire.DropAuthBudget, func() {
				for i := range flood {
					st.send(st.pub.host, v.make(0x51000000+uint32(i)))
				}
			})
		})
		if st.net.Now() != now || tried != 1000 || unread != flood-1000 {
			t.Errorf("%s: of %d at one instant %d tried, %d not", v.name, flood, tried, unread)
		}
		st.settled() // and nobody lacks anything
	}
	st.pass(time.Second)
	next := st.videoPacket(0)
	next.SSRC, next.Payload = 0x40000000, []byte{0x00, 0x01, 2, 3} // no keyframe
	if n := st.dropped(wire.DropBeforeKey, func() { st.send(st.pub.host, st.fromPublisher(next)) }); n != 1 {
		t.Error("the encoder's next SSRC is not taken on")
	}
}

// TestAttack13MalformedRTP: each packet is authentic, apart from those whose
// header does not even parse.
func TestAttack13MalformedRTP(t *testing.T) {
	st := newStage(t)
	ahead := 0
	raw := func(first byte, rest ...byte) []byte {
		h := st.videoPacket(ahead).Header
		ahead++
		b := []byte{first, h.PayloadType, byte(h.SequenceNumber >> 8), byte(h.SequenceNumber)}
		b = binary.BigEndian.AppendUint32(b, h.Timestamp)
		return append(binary.BigEndian.AppendUint32(b, h.SSRC), rest...)
	}
	tag := make([]byte, 20)
	for _, v := range []struct {
		name string
		b    []byte
		want wire.Drop
	}{
		{"eleven bytes", raw(0x80)[:11], wire.DropMalformed},
		{"CSRC count past the end", raw(0x8f, 1, 2, 3), wire.DropMalformed},
		{"extension length past the end", raw(0x90, 0xbe, 0xde, 0xff, 0xff), wire.DropMalformed},
		{"no room for a tag", raw(0x80), wire.DropAuth},
		{"a tag of zeros", raw(0x80, tag...), wire.DropAuth},
		{"padding 0", st.protect(raw(0xa0, 0x00, 0x01, 7, 0)), wire.DropMalformed},
		{"padding longer than the payload", st.protect(raw(0xa0, 0x00, 0x01, 7, 5)), wire.DropMalformed},
		{"padding bit on nothing", st.protect(raw(0xa0)), wire.DropMalformed},
		{"another payload type", st.protect(func() []byte { b := raw(0x80, 0, 1, 2); b[1] = 55; return b }()), wire.DropUnexpected},
	} {
		forwarded := st.e.Counters.Forwarded
		if n := st.dropped(v.want, func() { st.send(st.pub.host, v.b) }); n != 1 {
			t.Errorf("%s: not counted as %v", v.name, v.want)
		}
		if st.e.Counters.Forwarded != forwarded {
			t.Errorf("%s: forwarded", v.name)
		}
	}
}

// TestOddRTPPasses: what is unusual and legal is forwarded as it is.
func TestOddRTPPasses(t *testing.T) {
	st := newStage(t)
	st.muted = true
	ext := func(profile uint16, body ...byte) []byte {
		return append([]byte{byte(profile >> 8), byte(profile), 0, byte(len(body) / 4)}, body...)
	}
	for i, v := range []struct {
		name   string
		first  byte
		ext    []byte
		mtu    bool
		suffix []byte
	}{
		{"id 15 ends the extensions", 0x90, ext(0xbede, 0xf0, 1, 0x10, 2), false, nil},
		{"two-byte extensions", 0x90, ext(0x1000, 20, 5, 1, 2, 3, 4, 5, 0), false, nil},
		{"an unknown profile", 0x90, ext(0x4242, 1, 2, 3, 4), false, nil},
		{"padding", 0xa0, nil, false, []byte{0, 0, 3}},
		{"larger than the mtu", 0x80, nil, true, make([]byte, 1452)},
	} {
		src := st.pub.sources[msg.Video]
		s := &sent{src: src, seq: src.seq, ts: src.tsAt(st.net.Now())}
		src.seq++
		b := []byte{v.first, videoPT, byte(s.seq >> 8), byte(s.seq)}
		b = binary.BigEndian.AppendUint32(b, s.ts)
		b = append(binary.BigEndian.AppendUint32(b, src.ssrc), v.ext...)
		payload := binary.BigEndian.AppendUint32([]byte{0x00, 0x01}, src.id)
		s.payload = binary.BigEndian.AppendUint64(payload, s.seq)
		if v.mtu {
			s.payload = append(s.payload, v.suffix...)
			v.suffix = nil
		}
		src.packets[s.seq] = s
		forwarded := st.e.Counters.Forwarded
		mtu := st.dropped(wire.DropMTU, func() { st.send(st.pub.host, st.protect(append(append(b, s.payload...), v.suffix...))) })
		if sent := int(st.e.Counters.Forwarded - forwarded); v.mtu && (mtu != 1 || sent != 0) || !v.mtu && sent != 1 {
			t.Errorf("%d, %s: forwarded %d times, %d over the mtu", i, v.name, sent, mtu)
		}
	}
}

// TestAttack14SSRCChangesEachPacket: a session gets so many SSRCs and no more.
func TestAttack14SSRCChangesEachPacket(t *testing.T) {
	st := newStage(t)
	n := st.dropped(wire.DropUnexpected, func() {
		for i := range 200 {
			p := st.videoPacket(0)
			p.SSRC = 0x40000000 + uint32(i)
			p.Payload = []byte{0x00, 0x01, 2, 3} // no keyframe: nothing to forward
			st.send(st.pub.host, st.fromPublisher(p))
		}
	})
	if n < 200-16 || n == 200 {
		t.Errorf("%d of 200 SSRCs were refused, want all but at most 16", n)
	}
	remotes := st.e.Remotes()
	st.pass(2 * time.Second)
	if st.e.Remotes() != remotes {
		t.Error("addresses changed")
	}
}

// TestAttack14SameSSRCTwice: two publishers with one SSRC do not meet, since
// viewers get numbers and SSRCs of their own.
func TestAttack14SameSSRCTwice(t *testing.T) {
	st := newStage(t)
	other := st.newStream()
	pub := st.world.publish(other)
	pub.sources[msg.Video].ssrc = st.pub.sources[msg.Video].ssrc
	pub.sources[msg.Audio].ssrc = st.v.streams[msg.Audio].ssrc // one that a viewer is sent
	st.pass(time.Second)
	st.watch(other)
	st.pass(2 * time.Second)
	st.settled()
}

// TestAttack15ForeignFeedback: what a viewer and a publisher report about streams
// that are not theirs, or invent about their own, moves nothing of anybody's.
func TestAttack15ForeignFeedback(t *testing.T) {
	st := newStage(t)
	mallory := st.watch(st.s)
	other := st.newStream()
	mallet := st.world.publish(other)
	st.pass(time.Second)
	victim, source := st.v.streams[msg.Video].ssrc, st.pub.sources[msg.Video].ssrc
	before := st.e.Stats().Counters
	for _, ssrc := range []uint32{victim, source, 0, 0xffffffff} {
		for _, from := range []*peer{mallory.peer, mallet.peer} {
			me := mallory.ssrc
			from.sendRTCP(&rtcp.Goodbye{Sources: []uint32{ssrc}})
			from.sendRTCP(&rtcp.ReceiverReport{SSRC: me, Reports: []rtcp.ReceptionReport{{SSRC: ssrc, FractionLost: 255, TotalLost: 1<<24 - 1}}})
			from.sendRTCP(&rtcp.SenderReport{SSRC: ssrc, NTPTime: 1 << 63, RTPTime: 1})
			from.sendRTCP(&rtcp.PictureLossIndication{SenderSSRC: me, MediaSSRC: ssrc})
			from.sendRTCP(&rtcp.FullIntraRequest{SenderSSRC: me, FIR: []rtcp.FIREntry{{SSRC: ssrc, SequenceNumber: 1}}})
			from.sendRTCP(&rtcp.TransportLayerNack{SenderSSRC: me, MediaSSRC: ssrc, Nacks: []rtcp.NackPair{{PacketID: 1, LostPackets: 0xffff}}})
			from.sendRTCP(&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: me, Bitrate: 1e10, SSRCs: []uint32{ssrc}})
			from.sendRTCP(&rtcp.ReceiverEstimatedMaximumBitrate{SenderSSRC: me, Bitrate: 0, SSRCs: []uint32{ssrc}})
		}
	}
	st.net.Run(st.net.Now())
	after := st.e.Stats().Counters
	if after.PLIOut != before.PLIOut || after.Resent != before.Resent || st.closed != 0 {
		t.Errorf("%d keyframes asked for, %d packets sent again, %d sessions closed", after.PLIOut-before.PLIOut, after.Resent-before.Resent, st.closed)
	}
	st.settled()
}

// TestAttack17KeyframeStorm: many viewers ask for keyframes all the time; the
// publisher hears of it twice a second at most.
func TestAttack17KeyframeStorm(t *testing.T) {
	st := newStage(t)
	viewers := []*viewer{st.v}
	for range 40 {
		viewers = append(viewers, st.watch(st.s))
	}
	st.pass(2 * time.Second)
	before := st.e.Stats().Counters
	const seconds = 5
	for range seconds * 20 {
		for _, v := range viewers {
			v.sendRTCP(&rtcp.PictureLossIndication{SenderSSRC: v.ssrc, MediaSSRC: v.streams[msg.Video].ssrc})
		}
		st.pass(time.Second / 20)
	}
	after := st.e.Stats().Counters
	asked, passed := after.PLIIn-before.PLIIn, after.PLIOut-before.PLIOut
	if asked < seconds*20*40 || passed == 0 || passed > 2*seconds+1 {
		t.Errorf("%d requests became %d in %d seconds", asked, passed, seconds)
	}
	st.settled()
}

func TestAttack29SessionsWithoutChecks(t *testing.T) {
	st := newStage(t)
	live := st.e.Stats()
	for range 50 {
		v := st.watch(st.s)
		v.gone = true // never sends anything
	}
	st.pass(time.Second)
	if st.e.Stats().Sessions != live.Sessions+50 {
		t.Fatalf("%d sessions", st.e.Stats().Sessions)
	}
	st.pass(29 * time.Second)
	expired := st.e.Counters.Expired
	st.pass(2 * time.Second)
	got := st.e.Stats()
	if got.Sessions != live.Sessions || got.Egresses != live.Egresses || st.closed != 50 || expired != 0 || st.e.Counters.Expired != 50 {
		t.Errorf("%d sessions, %d egresses, %d closed, %d expired (%d early)", got.Sessions, got.Egresses, st.closed, st.e.Counters.Expired, expired)
	}
	st.flows()
	for _, p := range st.live() {
		st.remove(p)
	}
	st.pass(time.Second)
	st.empty()
}

// TestHandshakeThatNeverEnds: checks alone do not keep a session.
func TestHandshakeThatNeverEnds(t *testing.T) {
	st := newStage(t)
	v := st.watch(st.s)
	st.world.keyed[v.id] = true // the control plane never installs keys
	v.peer.keyed = true         // and the peer waits in silence, checking
	v.gone = false
	var reason []msg.SessionClosed
	st.onClosed = func(c msg.SessionClosed) { reason = append(reason, c); v.gone = true }
	st.pass(32 * time.Second)
	if len(reason) != 1 || reason[0].Reason != msg.ClosedNoKeys || reason[0].ID != v.id {
		t.Errorf("closed: %v", reason)
	}
}

func TestNoKeysNoMedia(t *testing.T) {
	st := newStage(t)
	v := st.watch(st.s)
	v.peer.keyed = true // never says hello
	st.pass(time.Second)
	if n := st.dropped(wire.DropNoKeys, func() { st.send(v.host, append([]byte{0x80, 96}, make([]byte, 50)...)) }); n != 1 {
		t.Error("SRTP before the keys is not counted")
	}
}
