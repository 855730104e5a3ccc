package engine_test

import (
	"testing"
	"time"

	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// A shard that is behind leaves out video by whole frames; sound and keyframes only
// when they are much later.
func TestShed(t *testing.T) {
	const audioRoute = burstRoute + 1
	b := newPublished(t, 1, 2, msg.Feedback{PLI: true})
	e := b.engines[0]
	e.HandleCommand(b.now, msg.AddRoute{Route: audioRoute, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, Shards: 1})
	b.join(0, 1, msg.AddSession{Send: []msg.Send{
		{Route: burstRoute, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: 1},
		{Route: audioRoute, Kind: msg.Audio, ClockRate: 48000, PT: 111, SSRC: 2},
	}})
	limit := engine.DefaultSettings().Shed
	b.seq = 11 * packetsInFrame // timestamps follow from it
	b.handle(0, b.frame(true))
	sound := byte(0)
	// late has something come that was received so long ago, and returns how many
	// packets were sent and left out.
	late := func(by time.Duration, rx []pkt.Datagram) (sent, left uint64) {
		b.now = b.now.Add(time.Minute)
		for i := range rx {
			rx[i].Arrived = b.now.Add(-by)
		}
		forwarded, shed := e.Counters.Forwarded, e.Counters.Drops[wire.DropShed]
		e.HandleDatagrams(b.now, rx)
		if rx == nil { // sound, which waits for the socket instead
			sound++
			e.HandleCommand(b.now, msg.Inject{Route: audioRoute, Packet: []byte{0x80, 111, 0, sound, 0, 0, 0, sound, 0, 0, 0, 1, 7, 7}})
			b.now = b.now.Add(by)
			e.HandleDatagrams(b.now, nil)
		}
		b.drain()
		return e.Counters.Forwarded - forwarded, e.Counters.Drops[wire.DropShed] - shed
	}
	late(0, nil) // the first packet of a viewer is never late
	relieved := limit - limit/8
	frame, next := b.frame(false), b.frame(false)
	for _, step := range []struct {
		what       string
		by         time.Duration
		rx         []pkt.Datagram
		sent, left uint64
	}{
		{"a frame in time", limit, b.frame(false), packetsInFrame, 0},
		{"a late frame", limit + 1, b.frame(false), 0, packetsInFrame},
		{"a frame in time while others are left out", relieved + 1, b.frame(false), 0, packetsInFrame},
		{"the first half of a frame in good time", relieved, frame[:3], 3, 0},
		{"the other half too late", limit + 1, frame[3:], packetsInFrame - 3, 0},
		{"the first half of a late frame", limit + 1, next[:3], 0, 3},
		{"the other half in time", 0, next[3:], 0, packetsInFrame - 3},
		{"a late keyframe", 4 * relieved, b.frame(true), packetsInFrame, 0},
		{"a very late keyframe", 4*limit + 1, b.frame(true), 0, packetsInFrame},
		{"late sound", 4 * limit, nil, 1, 0},
		{"very late sound", 4*limit + 1, nil, 0, 1},
		{"a frame in time again", 0, b.frame(false), packetsInFrame, 0},
	} {
		if sent, left := late(step.by, step.rx); sent != step.sent || left != step.left {
			t.Errorf("%s: %d sent, %d left out; want %d and %d", step.what, sent, left, step.sent, step.left)
		}
	}
	b.configure(func(s *engine.Settings) { s.Shed = 0 })
	if sent, left := late(time.Minute, b.frame(false)); sent != packetsInFrame || left != 0 {
		t.Errorf("with no limit: %d sent, %d left out", sent, left)
	}
}

// The shard where a stream comes in leaves out first what all are behind with: else
// the others, which get it later, would leave out more and have nothing to do.
func TestShedLeavesOthersTime(t *testing.T) {
	b := newBurst(t, 2, 2)
	b.seq = 11 * packetsInFrame
	b.handle(0, b.frame(true))
	limit := engine.DefaultSettings().Shed
	for _, step := range []struct {
		by          time.Duration
		home, other uint64
	}{
		{limit - limit/8, packetsInFrame, packetsInFrame},
		{limit - limit/8 + 1, 0, packetsInFrame},
		{limit, 0, packetsInFrame},
		{limit + 1, 0, 0},
	} {
		b.now = b.now.Add(time.Minute)
		rx := b.frame(false)
		for i := range rx {
			rx[i].Arrived = b.now.Add(-step.by)
		}
		home, other := b.engines[0].Counters.Forwarded, b.engines[1].Counters.Forwarded
		b.engines[0].HandleDatagrams(b.now, rx)
		b.drain()
		home, other = b.engines[0].Counters.Forwarded-home, b.engines[1].Counters.Forwarded-other
		if home != step.home || other != step.other {
			t.Errorf("late by %v: %d and %d sent, want %d and %d", step.by, home, other, step.home, step.other)
		}
	}
}

// Frames get late while others are sent, too.
func TestShedSeesTimePass(t *testing.T) {
	b := newBurst(t, 1, 2)
	b.seq = 11 * packetsInFrame
	b.handle(0, b.frame(true))
	b.now = b.now.Add(time.Minute)
	e, rx := b.engines[0], b.frame(false)
	for i := range rx {
		rx[i].Arrived = b.now
	}
	e.HandleDatagrams(b.now, rx)
	b.tx = pkt.NewBatch(make([]byte, packetsInFrame*engine.DefaultSettings().MTU), 8) // for one viewer
	before := e.Counters.Forwarded
	if !e.PollTransmit(b.tx) {
		t.Fatal("the batch is too large for this test")
	}
	b.tx.Reset()
	e.HandleSent(b.now.Add(engine.DefaultSettings().Shed + 1))
	b.transmit(e)
	if sent, left := e.Counters.Forwarded-before, e.Counters.Drops[wire.DropShed]; sent != packetsInFrame || left != packetsInFrame {
		t.Errorf("%d sent, %d left out, want %d each", sent, left, packetsInFrame)
	}
}

// What was left out does not come back because a viewer misses it.
func TestShedIsNotSentAgain(t *testing.T) {
	b := newBurst(t, 1, 1)
	b.seq = 11 * packetsInFrame
	b.handle(0, b.frame(true))
	e, v := b.engines[0], &b.viewers[0]
	missing := v.first + packetsInFrame
	frame := b.frame(false)
	b.now = b.now.Add(time.Second)
	e.HandleDatagrams(b.now, frame)
	b.drain()
	if n := e.Counters.Drops[wire.DropShed]; n != packetsInFrame {
		t.Fatalf("%d packets left out, want %d", n, packetsInFrame)
	}
	b.handle(0, b.frame(false))
	nack := func(seq uint16) uint64 {
		before := e.Counters.Resent
		b.handle(0, []pkt.Datagram{v.nack(1, seq)})
		return e.Counters.Resent - before
	}
	if n := nack(missing); n != 0 {
		t.Error("what was left out was sent again")
	}
	for _, sent := range []uint16{missing - 1, missing + packetsInFrame} {
		if n := nack(sent); n != 1 {
			t.Errorf("what was sent was not sent again: %d", sent)
		}
	}
}
