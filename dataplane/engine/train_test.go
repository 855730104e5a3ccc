package engine_test

import (
	"encoding/binary"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// configure changes the settings of all engines.
func (b *burst) configure(change func(*engine.Settings)) {
	set := engine.DefaultSettings()
	change(&set)
	for _, e := range b.engines {
		e.Configure(set)
	}
}

// TestFrameIsOneTrain: a frame whose parts differ by a byte leaves as one
// message for each viewer, and as one for each size where padding is off.
func TestFrameIsOneTrain(t *testing.T) {
	const viewers = 5
	for _, c := range []struct {
		name       string
		pad, train int
		trains     int
	}{
		{"padded", 16, 44, 1},
		{"as it is", 0, 44, 2},
		{"trains of four", 16, 4, 3},
		{"no trains", 16, 1, packetsInFrame},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBurst(t, 1, viewers)
			b.configure(func(s *engine.Settings) { s.PadMax, s.TrainMax = c.pad, c.train })
			b.shorter = []int{1, 1, 1, 1}
			b.handle(0, b.frame(true))
			b.packets, b.runs = 0, 0
			b.handle(0, b.frame(false))
			if b.packets != viewers*packetsInFrame || b.runs != viewers*c.trains {
				t.Errorf("%d packets in %d trains to %d viewers, want %d trains each", b.packets, b.runs, viewers, c.trains)
			}
		})
	}
}

// TestHold: with a hold, packets wait for the end of their frame, but no longer
// than the hold; without, not at all.
func TestHold(t *testing.T) {
	const hold = 2 * time.Millisecond
	b := newBurst(t, 1, 1)
	b.handle(0, b.frame(true))
	e := b.engines[0]
	b.timers()
	forwarded := func(f func()) uint64 {
		before := e.Counters.Forwarded
		f()
		return e.Counters.Forwarded - before
	}
	frame := b.frame(false)
	if n := forwarded(func() { b.handle(0, frame[:3]) }); n != 3 {
		t.Errorf("without a hold, %d of 3 packets leave at once", n)
	}
	b.configure(func(s *engine.Settings) { s.TrainHold = hold })
	quiet := e.PollTimeout()
	if n := forwarded(func() { b.handle(0, frame[3:8]) }); n != 0 {
		t.Errorf("%d packets leave before the end of the frame", n)
	}
	if due := e.PollTimeout(); due != b.now.Add(hold) {
		t.Errorf("due at %v, want %v", due, b.now.Add(hold))
	}
	if n := forwarded(func() { b.handle(0, frame[8:]) }); n != 6 {
		t.Errorf("%d packets leave with the end of the frame, want 6", n)
	}
	if due := e.PollTimeout(); due != quiet {
		t.Errorf("due at %v when nothing waits, want %v", due, quiet)
	}

	frame = b.frame(false)
	b.handle(0, frame[:2])
	b.now = b.now.Add(hold - 1)
	if n := forwarded(func() { b.handle(0, frame[2:4]); b.timers() }); n != 0 {
		t.Errorf("%d packets leave before the hold is over", n)
	}
	b.now = b.now.Add(1)
	if n := forwarded(b.timers); n != 4 {
		t.Errorf("%d packets leave after the hold, want 4", n)
	}
	// The next frame does not ride on the marker of this one.
	next := b.frame(false)
	if n := forwarded(func() { b.handle(0, append(frame[4:], next[:3]...)) }); n != packetsInFrame-4 {
		t.Errorf("%d packets leave, want the %d to the end of the frame", n, packetsInFrame-4)
	}
	b.now = b.now.Add(hold)
	if n := forwarded(b.timers); n != 3 {
		t.Errorf("%d packets of the next frame leave after the hold, want 3", n)
	}
}

// TestHoldOnEachShard: another shard gets packets at once and holds them for its
// own viewers: the wait is not paid twice.
func TestHoldOnEachShard(t *testing.T) {
	const hold = 2 * time.Millisecond
	b := newBurst(t, 2, 2)
	b.handle(0, b.frame(true))
	b.configure(func(s *engine.Settings) { s.TrainHold = hold })
	b.packets = 0
	b.handle(0, b.frame(false)[:5])
	if b.packets != 0 || b.engines[0].Counters.Relayed != packetsInFrame+5 {
		t.Errorf("%d packets sent, %d relayed", b.packets, b.engines[0].Counters.Relayed)
	}
	b.now = b.now.Add(hold)
	if b.timers(); b.packets < 10 {
		t.Errorf("%d packets sent after the hold, want 5 to each viewer", b.packets)
	}
}

// TestNobodyWaitsAlone: a route without viewers, and audio, hold nothing.
func TestNobodyWaitsAlone(t *testing.T) {
	e := engine.New(engine.Config{Shards: 1, NTPOrigin: ntpOrigin}, engine.DefaultSettings())
	set := engine.DefaultSettings()
	set.TrainHold = time.Second
	e.Configure(set)
	for route, kind := range []msg.Kind{msg.Audio, msg.Video} {
		e.HandleCommand(1, msg.AddRoute{Route: msg.RouteID(route), Kind: kind, Codec: codec.VP8, ClockRate: 90000})
		e.HandleCommand(1, msg.Inject{Route: msg.RouteID(route), Packet: []byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0x10, 0, 0}})
	}
	if due := e.PollTimeout(); due != clock.Never {
		t.Errorf("due at %v", due)
	}
}

// TestSameNumberSameBytes: what a viewer without a retransmission stream gets
// again is what it got, padding included, whatever the settings became since.
func TestSameNumberSameBytes(t *testing.T) {
	b := newBurst(t, 1, 0)
	v := b.join(0, 1, msg.AddSession{Send: []msg.Send{{
		Route: burstRoute, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: 9, Feedback: msg.Feedback{NACK: true},
	}}})
	sent, again := map[uint16]string{}, 0
	b.seen = func(run *pkt.Run) {
		for data := b.tx.Bytes(run); run.Path == v.path && len(data) > 0; {
			packet := string(data[:min(int(run.Segment), len(data))])
			data = data[len(packet):]
			seq := uint16(packet[2])<<8 | uint16(packet[3])
			if before, had := sent[seq]; had {
				again++
				if before != packet {
					t.Fatalf("number %d has other bytes", seq)
				}
			}
			sent[seq] = packet
		}
	}
	b.shorter = []int{1, 3, 0, 2, 1, 1, 0, 1}
	b.handle(0, b.frame(true))
	sizes := map[int]bool{}
	var lost []uint16
	for seq, packet := range sent {
		sizes[len(packet)] = true
		lost = append(lost, seq)
	}
	if len(sent) != packetsInFrame || len(sizes) != 1 {
		t.Fatalf("%d packets of %d sizes, want %d padded to one", len(sent), len(sizes), packetsInFrame)
	}
	slices.Sort(lost)
	b.configure(func(s *engine.Settings) { s.PadMax, s.TrainMax, s.MTU = 0, 1, 1900 })
	b.handle(0, []pkt.Datagram{v.nack(9, lost...)})
	if again != packetsInFrame {
		t.Errorf("%d packets sent again, want %d", again, packetsInFrame)
	}
}

// TestFrameJoins: what comes while a frame is being sent goes to those whose turn has
// not come in one train with what was there, and to the others in one of its own.
func TestFrameJoins(t *testing.T) {
	const viewers, early = 100, 2 // packets
	b := newBurst(t, 1, viewers)
	b.handle(0, b.frame(true))
	b.packets, b.runs = 0, 0
	frame := b.frame(false)
	e := b.engines[0]
	e.HandleDatagrams(b.now, frame[:early])
	if !e.PollTransmit(b.tx) {
		t.Fatal("all viewers were served at once")
	}
	served := len(b.tx.Runs())
	if served == 0 || served >= viewers {
		t.Fatalf("%d viewers of %d were served", served, viewers)
	}
	b.tx.Reset()
	b.handle(0, frame[early:])
	if want := viewers*packetsInFrame - served*early; b.packets != want || b.runs != viewers {
		t.Errorf("then %d packets in %d trains, want %d in %d", b.packets, b.runs, want, viewers)
	}
}

// A publisher's sender report is no reason to send: viewers get it as the last
// packet of their next train, once.
func TestReportJoins(t *testing.T) {
	const viewers = 10
	b := newBurst(t, 1, viewers)
	b.handle(0, b.frame(true))
	for _, reports := range []int{1, 0} {
		b.packets, b.runs = 0, 0
		if reports > 0 {
			b.handle(0, []pkt.Datagram{b.publisher.rtcp(burstSSRC, wire.AppendSenderReport(nil, &wire.SenderReport{SSRC: burstSSRC, NTP: ntpOrigin}))})
		}
		if b.packets != 0 {
			t.Errorf("a report alone had %d packets sent", b.packets)
		}
		b.handle(0, b.frame(false))
		if want := viewers * (packetsInFrame + reports); b.packets != want || b.runs != viewers {
			t.Errorf("%d packets in %d trains, want %d in %d", b.packets, b.runs, want, viewers)
		}
	}
}

// TestAudioFirst: audio leaves before video of the same turn, and in the midst of
// a fan-out of video that takes several batches.
func TestAudioFirst(t *testing.T) {
	const audioRoute, audioSSRC = burstRoute + 1, 5000
	b := newPublished(t, 1, 2, msg.Feedback{PLI: true})
	e := b.engines[0]
	e.HandleCommand(b.now, msg.AddRoute{Route: audioRoute, Kind: msg.Audio, Codec: codec.Opus, ClockRate: 48000, Shards: 1})
	v := b.join(0, 1, msg.AddSession{Send: []msg.Send{
		{Route: burstRoute, Kind: msg.Video, ClockRate: 90000, PT: burstViewerPT, SSRC: 1},
		{Route: audioRoute, Kind: msg.Audio, ClockRate: 48000, PT: 111, SSRC: audioSSRC},
	}})
	sound := func(seq byte) {
		e.HandleCommand(b.now, msg.Inject{Route: audioRoute, Packet: []byte{0x80, 111, 0, seq, 0, 0, 0, seq, 0, 0, 0, 1, 7, 7}})
	}
	b.handle(0, b.frame(true))
	sound(1)
	b.drain()

	var order []uint32 // SSRCs
	b.seen = func(run *pkt.Run) {
		if data := b.tx.Bytes(run); run.Path == v.path && wire.Classify(data) == wire.ProtoRTP {
			order = append(order, binary.BigEndian.Uint32(data[8:]))
		}
	}
	b.tx = pkt.NewBatch(make([]byte, 4096), 8) // for less than half a frame
	sound(2)
	e.HandleDatagrams(b.now, b.frame(false))
	b.drain()
	if len(order) < 3 || order[0] != audioSSRC {
		t.Errorf("sent %v, want audio first", order)
	}
	order = nil
	e.HandleDatagrams(b.now, b.frame(false))
	if !e.PollTransmit(b.tx) {
		t.Fatal("the batch is too large for this test")
	}
	b.tx.Reset()
	sound(3)
	b.drain()
	if len(order) < 2 || order[0] != audioSSRC {
		t.Errorf("sent %v, want audio in the midst", order)
	}
}

// A train that does not fit into what is left of a batch waits for the next one, be
// it a viewer's first or not.
func TestTrainsAreWhole(t *testing.T) {
	b := newBurst(t, 1, 3)
	b.seq = 11 * packetsInFrame
	b.handle(0, b.frame(true))
	const train = packetsInFrame / 2
	b.configure(func(s *engine.Settings) { s.TrainMax = train })
	b.tx = pkt.NewBatch(make([]byte, 3*train/2*engine.DefaultSettings().MTU), 64) // for one and a half
	b.runs = 0
	b.seen = func(run *pkt.Run) {
		if n := run.Packets(); n != train && n != packetsInFrame%train {
			t.Errorf("a message of %d packets", n)
		}
	}
	b.handle(0, b.frame(false))
	if want := len(b.viewers) * ((packetsInFrame + train - 1) / train); b.runs != want {
		t.Errorf("%d messages, want %d", b.runs, want)
	}
}
