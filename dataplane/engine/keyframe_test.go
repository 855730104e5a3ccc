package engine_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// got collects the media packets of each viewer, in whatever order they come.
func (b *burst) got() map[pkt.Addr][][]byte {
	packets := map[pkt.Addr][][]byte{}
	b.seen = func(run *pkt.Run) {
		for data := range slices.Chunk(b.tx.Bytes(run), int(run.Segment)) {
			if to := run.Path.Remote; to != b.publisher.path.Remote && wire.Classify(data) == wire.ProtoRTP {
				packets[to] = append(packets[to], slices.Clone(data))
			}
		}
	}
	return packets
}

// firstLate is a keyframe whose first packet comes after the others, as it does when
// it was lost and sent again.
func (b *burst) firstLate() []pkt.Datagram {
	frame := b.frame(true)
	return append(slices.Clone(frame[1:]), frame[0])
}

// TestKeyframeWhoseFirstPacketIsLate: a viewer that joins gets what is behind its first packet, and may ask for what was before; a
// shard that begins to follow gets all of it, and so do its viewers.
func TestKeyframeWhoseFirstPacketIsLate(t *testing.T) {
	b := newPublished(t, 2, 3, msg.Feedback{NACK: true, PLI: true})
	follow := func(shards uint64) {
		b.engines[0].HandleCommand(b.now, msg.AddRoute{Route: burstRoute, Kind: msg.Video, Codec: codec.VP8, ClockRate: 90000, Home: 0, Shards: shards})
		b.drain()
	}
	follow(1)
	b.handle(0, b.frame(true))
	b.handle(0, b.frame(false))
	b.handle(0, b.firstLate())
	b.handle(0, b.frame(false))
	packets := b.got()
	follow(3)
	b.watch(0)
	b.watch(1)
	v := &b.viewers[0]
	first := binary.BigEndian.Uint16(packets[v.path.Remote][0][2:])
	var lost []uint16
	for i := range uint16(packetsInFrame - 1) {
		lost = append(lost, first+1+i)
	}
	b.handle(0, []pkt.Datagram{v.nack(1, lost...)})
	for i, v := range b.viewers {
		if n := len(packets[v.path.Remote]); n != 2*packetsInFrame {
			t.Errorf("the viewer on shard %d got %d packets, want the keyframe and the frame after it: %d", i, n, 2*packetsInFrame)
		}
	}
}

// TestParameterSetsAreLate: the parameter sets of a keyframe come after the picture. Who joins begins with them, and may ask for the
// picture.
func TestParameterSetsAreLate(t *testing.T) {
	const route = burstRoute + 1
	b := newPublished(t, 1, 2, msg.Feedback{PLI: true})
	e := b.engines[0]
	e.HandleCommand(b.now, msg.AddRoute{Route: route, Kind: msg.Video, Codec: codec.H264, ClockRate: 90000, Shards: 1})
	inject := func(seq, ts byte, payload ...byte) {
		packet := append([]byte{0x80, 96, 0, seq, 0, 0, 0, ts, 0, 0, 0, 1}, payload...)
		e.HandleCommand(b.now, msg.Inject{Route: route, Packet: packet})
		b.drain()
	}
	const sps, idr = 0x67, 0x65
	inject(9, 1, idr, 0x88)
	inject(11, 2, idr, 0x88)
	set := []byte{sps, 0x42, 0, 31, 1, 2, 3}
	inject(10, 2, set...)
	packets := b.got()
	v := b.join(0, 1, msg.AddSession{Send: []msg.Send{{Route: route, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: 1}}})
	const overhead = 12 + 16 // header and tag
	if got := packets[v.path.Remote]; len(got) == 0 || len(got[0]) != overhead+len(set) {
		t.Errorf("the viewer got %d packets, want the parameter sets first", len(got))
	}
}

// TestKeyframeBeforeItsFirstPacket: of a new source, what comes before the first packet of a keyframe is dropped; where that was the
// keyframe's own, another one is asked for.
func TestKeyframeBeforeItsFirstPacket(t *testing.T) {
	b := newBurst(t, 1, 1)
	e := b.engines[0]
	asked := func() uint64 {
		before := e.Counters.PLIOut
		b.now = b.now.Add(2 * time.Second)
		b.timers()
		return e.Counters.PLIOut - before
	}
	asked()
	b.handle(0, b.firstLate())
	if asked() == 0 {
		t.Error("no keyframe is asked for, though all viewers have a hole in this one")
	}
	b.handle(0, b.frame(true))
	if n := asked(); n != 0 {
		t.Errorf("%d keyframes are asked for after a whole one", n)
	}
}

// TestFollowersRequestIsNotForgotten: a viewer on another shard asks within the interval in which the source was asked already.
func TestFollowersRequestIsNotForgotten(t *testing.T) {
	b := newBurst(t, 2, 2)
	home, v := b.engines[0], &b.viewers[1]
	b.handle(0, b.frame(true))
	ask := func() {
		b.handle(1, []pkt.Datagram{v.rtcp(77, wire.AppendPLI(wire.AppendReceiverReport(nil, 77, nil), 77, 2))})
	}
	b.now = b.now.Add(10 * time.Second)
	before := home.Counters.PLIOut
	ask()
	if n := home.Counters.PLIOut - before; n != 1 {
		t.Fatalf("the publisher was asked %d times, want once", n)
	}
	b.handle(0, b.frame(true))
	b.now = b.now.Add(engine.DefaultSettings().KeyframeEvery / 2)
	ask()
	b.now = b.now.Add(engine.DefaultSettings().KeyframeEvery)
	b.timers()
	if n := home.Counters.PLIOut - before; n != 2 {
		t.Errorf("the publisher was asked %d times, want twice", n)
	}
}

// TestHistoryFitsItsSource: a source that cannot be asked for keyframes takes over from one that can. Who joins begins with the
// keyframe before, however long ago that was.
func TestHistoryFitsItsSource(t *testing.T) {
	b := newPublished(t, 1, 3, msg.Feedback{PLI: true})
	b.handle(0, b.frame(true))
	b.play(time.Second)
	e := b.engines[0]
	e.HandleCommand(b.now, msg.RemoveSession{ID: b.publisher.id})
	b.ssrc += 10
	b.publisher = b.join(0, 9, msg.AddSession{Receive: []msg.Receive{{Route: burstRoute, Kind: msg.Video, Codec: codec.VP8, ClockRate: 90000, PT: videoPT}}})
	began := b.seq
	b.handle(0, b.frame(true))
	b.play(6 * time.Second)
	counts := b.follow()
	b.watch(0)
	b.play(2 * time.Second)
	if n := counts[b.viewers[0].path.Remote]; n != int(b.seq-began) {
		t.Errorf("the viewer has %d packets, want all %d since the keyframe", n, b.seq-began)
	}
}
