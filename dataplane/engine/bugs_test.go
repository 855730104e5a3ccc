package engine_test

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/history"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// TestReplacedPublisherFeedsNothing: when a session took a route over, what the
// former one still sends must not turn the stream back and forth.
func TestReplacedPublisherFeedsNothing(t *testing.T) {
	st := newStage(t)
	former := st.pub
	st.pub = st.world.publish(st.s)
	st.pass(2 * time.Second)
	unexpected := st.dropped(wire.DropUnexpected, func() { st.pass(2 * time.Second) })
	if unexpected < 30 || !former.keyed || !st.pub.keyed {
		t.Errorf("%d packets of the former publisher were dropped", unexpected)
	}
	st.remove(former.peer)
	st.pass(time.Second)
	st.settled()
	if st.counts.splices != 2 {
		t.Errorf("%d splices, want one for each kind", st.counts.splices)
	}
}

// TestRetransmissionOfALeftSource: a retransmission that comes late, when the
// encoder sends with another SSRC already, is no packet of the new source.
func TestRetransmissionOfALeftSource(t *testing.T) {
	b := newBurst(t, 1, 1)
	b.handle(0, b.frame(true))
	lost := b.seq
	b.handle(0, append(b.frame(false)[1:], b.resend(lost-1, 40))) // so that the stream of retransmissions is known
	b.ssrc += 1000
	b.handle(0, b.frame(true))
	e := b.engines[0]
	forwarded, unexpected := e.Counters.Forwarded, e.Counters.Drops[wire.DropUnexpected]
	b.handle(0, []pkt.Datagram{b.resend(lost, 41)})
	if e.Counters.Forwarded != forwarded || e.Counters.Drops[wire.DropUnexpected] != unexpected+1 {
		t.Errorf("%d packets forwarded, %d dropped as unexpected", e.Counters.Forwarded-forwarded, e.Counters.Drops[wire.DropUnexpected]-unexpected)
	}
}

// relayedRoute is one that another shard than the viewers' is home to.
const relayedRoute = msg.RouteID(5)

func follower(home int) *engine.Engine {
	e := engine.New(engine.Config{Shard: 2, Shards: 3, Sessions: 4, Streams: 4, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
	e.HandleCommand(1, addRoute(home))
	return e
}

func addRoute(home int) msg.AddRoute {
	return msg.AddRoute{Route: relayedRoute, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, Home: home, Shards: 7}
}

func relayMedia(space, seq uint64, payload ...byte) *engine.Relay {
	return &engine.Relay{Kind: engine.RelayMedia, Route: relayedRoute, Space: space, Packet: history.Packet{Seq: seq}, Data: payload}
}

// TestOnlyTheHomeFeedsARoute: what a former home still had on its way is no
// longer the stream.
func TestOnlyTheHomeFeedsARoute(t *testing.T) {
	e := follower(0)
	e.HandleRelay(2, 0, relayMedia(10, 1<<17, 1))
	e.HandleCommand(3, addRoute(1))
	e.HandleRelay(4, 0, relayMedia(10, 1<<17+1, 2))
	if e.Counters.Drops[wire.Kept] != 1 || e.Counters.Drops[wire.DropLate] != 1 {
		t.Errorf("kept %d, late %d", e.Counters.Drops[wire.Kept], e.Counters.Drops[wire.DropLate])
	}
}

// TestRelayedTwiceIsKeptOnce: a shard that is followed anew may be told what it
// knows.
func TestRelayedTwiceIsKeptOnce(t *testing.T) {
	e := follower(0)
	for range 2 {
		e.HandleRelay(2, 0, relayMedia(10, 1<<17, 1))
		e.HandleRelay(2, 0, relayMedia(10, 1<<17+1, 2))
	}
	if e.Counters.Drops[wire.Kept] != 2 || e.Counters.Drops[wire.DropDuplicate] != 2 {
		t.Errorf("kept %d, duplicate %d", e.Counters.Drops[wire.Kept], e.Counters.Drops[wire.DropDuplicate])
	}
}

// relays takes what an engine has for a shard.
func relays(e *engine.Engine, to int) (kinds []engine.RelayKind, seqs []uint64) {
	var m engine.Relay
	for e.PollRelay(to, &m) {
		kinds = append(kinds, m.Kind)
		if m.Kind == engine.RelayMedia {
			seqs = append(seqs, m.Packet.Seq)
		}
	}
	return kinds, seqs
}

func inject(seq byte) msg.Inject {
	return msg.Inject{Route: relayedRoute, Packet: []byte{0x80, 111, 0, seq, 0, 0, 0, seq, 0, 0, 0, 1, 7, 7}}
}

// TestFollowersKeepTheirPlace: another shard joins, and those who follow already
// are not told again what they know.
func TestFollowersKeepTheirPlace(t *testing.T) {
	e := engine.New(engine.Config{Shard: 2, Shards: 3, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
	r := addRoute(2)
	r.Shards = 1 << 1
	e.HandleCommand(1, r)
	e.HandleCommand(2, inject(1))
	if _, seqs := relays(e, 1); len(seqs) != 1 {
		t.Fatalf("%d packets relayed, want 1", len(seqs))
	}
	r.Shards = 1<<0 | 1<<1
	e.HandleCommand(3, r)
	if _, seqs := relays(e, 1); len(seqs) != 0 {
		t.Errorf("%d packets relayed again", len(seqs))
	}
	if _, seqs := relays(e, 0); len(seqs) != 1 {
		t.Errorf("%d packets relayed to the new shard, want the keyframe on", len(seqs))
	}
}

// TestInjectedSourceReports: a source without RTCP of its own is given a clock,
// from its first packet on, on each shard that follows it.
func TestInjectedSourceReports(t *testing.T) {
	e := engine.New(engine.Config{Shard: 2, Shards: 3, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
	e.HandleCommand(clock.Time(time.Second), addRoute(2))
	reports := 0
	for i := range byte(50) {
		e.HandleCommand(clock.Time(time.Second).Add(time.Duration(i)*100*time.Millisecond), inject(i))
		kinds, _ := relays(e, 1)
		for _, k := range kinds {
			if k == engine.RelayReport {
				reports++
			}
		}
	}
	if reports != 3 {
		t.Errorf("%d reports in 5 s, want one at once and one each 2 s", reports)
	}
}

// TestLowerResendLimitHolds: the limit may fall below what was sent again in
// this second.
func TestLowerResendLimitHolds(t *testing.T) {
	b := newBurst(t, 1, 1)
	b.handle(0, b.frame(true))
	v, e := &b.viewers[0], b.engines[0]
	ask := func() uint64 {
		before := e.Counters.Resent
		lost := []uint16{v.first, v.first + 1, v.first + 2, v.first + 3}
		nack := v.nack(1, lost...)
		b.handle(0, append(b.frame(false), nack))
		return e.Counters.Resent - before
	}
	if n := ask(); n != 4 {
		t.Fatalf("%d of 4 sent again", n)
	}
	set := engine.DefaultSettings()
	set.ResendPerSecond = 2
	e.Configure(set)
	if n := ask(); n != 0 {
		t.Errorf("%d sent again beyond the limit of 2 a second", n)
	}
	b.now = b.now.Add(time.Second)
	b.timers()
	if n := ask(); n != 2 {
		t.Errorf("%d sent again in the next second, want 2", n)
	}
}

// TestStartOnTheKeyframeThatComes: with a start age of 0 a viewer waits for a
// keyframe, and starts on it though it was held for the rest of its frame; one
// who comes later does not.
func TestStartOnTheKeyframeThatComes(t *testing.T) {
	b := newBurst(t, 1, 1)
	b.configure(func(s *engine.Settings) { s.StartAge, s.TrainHold = 0, 20*time.Millisecond })
	frame := b.frame(true)
	b.handle(0, frame[:3])
	b.now = b.now.Add(time.Millisecond)
	if b.handle(0, frame[3:]); b.engines[0].Counters.Forwarded != packetsInFrame {
		t.Errorf("%d packets forwarded of a keyframe of %d", b.engines[0].Counters.Forwarded, packetsInFrame)
	}
	b.now = b.now.Add(time.Millisecond)
	late := b.join(0, 2, msg.AddSession{Send: []msg.Send{{Route: burstRoute, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: 99}}})
	before := b.engines[0].Counters.Forwarded
	b.handle(0, []pkt.Datagram{late.check(2)})
	if b.handle(0, b.frame(false)); b.engines[0].Counters.Forwarded-before != packetsInFrame {
		t.Errorf("%d packets forwarded: the late viewer starts on a keyframe of before", b.engines[0].Counters.Forwarded-before)
	}
}

// TestBehind: a socket that takes nothing for longer than the history is long
// costs viewers, and shards that follow, the oldest packets and nothing else.
func TestBehind(t *testing.T) {
	b := newBurst(t, 2, 2)
	b.handle(0, b.frame(true))
	e := b.engines[0]
	forwarded, before := e.Counters.Forwarded, e.Counters.Relayed
	const frames = 200
	for range frames {
		e.HandleDatagrams(b.now, b.frame(false))
	}
	b.drain()
	viewer, relayed := e.Counters.Forwarded-forwarded, e.Counters.Relayed-before
	lost, unrelayed := e.Counters.Drops[wire.DropViewerBehind], e.Counters.Drops[wire.DropRelayFull]
	if lost == 0 || viewer+lost != frames*packetsInFrame || unrelayed == 0 || relayed+unrelayed != frames*packetsInFrame {
		t.Errorf("%d sent and %d lost, %d relayed and %d not, of %d", viewer, lost, relayed, unrelayed, frames*packetsInFrame)
	}
	kept := e.Counters.Forwarded
	if b.handle(0, b.frame(false)); e.Counters.Forwarded-kept != packetsInFrame {
		t.Error("the viewer does not go on")
	}
}

// TestPeersThatCheckNoMore: peers whose datagrams land at other shards than their
// own stay connected by what they send, though they check no more.
func TestPeersThatCheckNoMore(t *testing.T) {
	w := newWorld(t, 3, 2, livePace, "go test ./dataplane/engine -run TestPeersThatCheckNoMore")
	w.perfect = true
	s := w.newStream()
	w.publish(s)
	for range 6 {
		w.watch(s)
	}
	w.net.Run(w.net.Now().Add(2 * time.Second))
	peers := w.live()
	for _, p := range peers {
		if !p.keyed {
			t.Fatalf("%v has no keys", p.id)
		}
		p.unchecking = true
	}
	w.onClosed = func(c msg.SessionClosed) { t.Errorf("%v was closed: %v", c.ID, c.Reason) }
	w.net.Run(w.net.Now().Add(5 * time.Minute))
	if n := w.engines[0].Counters.Misplaced + w.engines[1].Counters.Misplaced; n == 0 {
		t.Error("nothing lands at another shard")
	}
	w.settled()
}
