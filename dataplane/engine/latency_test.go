package engine_test

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/histogram"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// counted is what a histogram should hold: how many durations, by their length.
type counted map[time.Duration]uint64

func (want counted) check(t *testing.T, what string, h *histogram.Histogram) {
	t.Helper()
	got := counted{}
	h.Each(func(d time.Duration, n uint64) {
		for exact := range want {
			if d >= exact*98/100 && d <= exact*102/100 {
				d = exact
			}
		}
		got[d] += n
	})
	if len(got) != len(want) {
		t.Errorf("%s: counted %v, want %v", what, got, want)
		return
	}
	for d, n := range want {
		if got[d] != n {
			t.Errorf("%s: counted %v, want %v", what, got, want)
		}
	}
}

func latency(e *engine.Engine, id msg.RouteID) *histogram.Histogram {
	var l engine.Latency
	e.AddLatency(id, &l)
	return &l.Sent
}

// Each packet counts once for each viewer on each shard, from when the kernel had
// it, whichever way it took; what a viewer is given to begin with does not.
func TestLatencyIsFromTheKernelsTimestamp(t *testing.T) {
	const viewers = 3 // two on shard 0, one on shard 1
	b := newBurst(t, 2, viewers)
	b.handle(0, b.frame(true))
	for i, e := range b.engines {
		if n := e.Times.Latency; n.Count() != 0 {
			t.Errorf("shard %d: %d packets of viewers that begin were measured", i, n.Count())
		}
	}
	b.now = b.now.Add(33 * time.Millisecond)
	frame := b.frame(false)
	for i := range frame {
		frame[i].Arrived = b.now.Add(-4 * time.Millisecond)
	}
	frame[0].Arrived = b.now.Add(-9 * time.Millisecond)
	b.engines[0].HandleDatagrams(b.now, frame)
	b.drain() // sends at now and a millisecond
	for i, viewers := range []uint64{2, 1} {
		counted{10 * time.Millisecond: viewers, 5 * time.Millisecond: viewers * (packetsInFrame - 1)}.check(t, "shard", &b.engines[i].Times.Latency)
		counted{10 * time.Millisecond: viewers, 5 * time.Millisecond: viewers * (packetsInFrame - 1)}.check(t, "route", latency(b.engines[i], burstRoute))
	}
	if n := latency(b.engines[0], burstRoute+1).Count(); n != 0 {
		t.Error("there is a latency of a route that does not exist")
	}
}

// A batch that the kernel takes late is late, also when its packets have left the
// history meanwhile: a stall must not hide itself.
func TestLatencyOfAStall(t *testing.T) {
	b := newBurst(t, 1, 1)
	set := engine.DefaultSettings()
	set.HistoryPackets = 64
	b.engines[0].Configure(set)
	b.handle(0, b.frame(true))
	e := b.engines[0]
	arrive := func(at clock.Time) {
		frame := b.frame(false)
		for i := range frame {
			frame[i].Arrived = at
		}
		e.HandleDatagrams(at, frame)
	}
	began := b.now.Add(time.Second)
	arrive(began)
	if e.PollTransmit(b.tx) || b.tx.Empty() {
		t.Fatal("the frame is not in the batch")
	}
	for i := range 10 {
		arrive(began.Add(time.Duration(i) * 10 * time.Millisecond))
	}
	e.HandleSent(began.Add(200 * time.Millisecond))
	counted{200 * time.Millisecond: packetsInFrame}.check(t, "stalled", &e.Times.Latency)
	e.HandleSent(began.Add(time.Second))
	if e.Times.Latency.Count() != packetsInFrame {
		t.Error("a batch was measured twice")
	}
}

// When somebody sets the wall clock back, what arrived just before seems to have
// arrived in the future. It is not held until then, nor older than it is.
func TestArrivalInTheFutureIsNow(t *testing.T) {
	b := newBurst(t, 1, 1)
	b.handle(0, b.frame(true))
	frame := b.frame(false)
	for i := range frame {
		frame[i].Arrived = b.now.Add(time.Hour)
	}
	b.engines[0].HandleDatagrams(b.now, frame)
	b.drain()
	counted{time.Millisecond: packetsInFrame}.check(t, "in the future", &b.engines[0].Times.Latency)
}

// lateBy brings a frame that the kernel had so long ago, and sends it a
// millisecond later.
func (b *burst) lateBy(d time.Duration) {
	b.now = b.now.Add(33 * time.Millisecond)
	frame := b.frame(false)
	for i := range frame {
		frame[i].Arrived = b.now.Add(-d)
	}
	b.engines[0].HandleDatagrams(b.now, frame)
	b.drain()
}

// A stream's own budget goes before that of the settings; what exceeds it counts.
func TestBudget(t *testing.T) {
	const viewers = 2
	b := newBurst(t, 1, viewers)
	b.handle(0, b.frame(true))
	e := b.engines[0]
	for _, c := range []struct {
		settings, own time.Duration
		late          bool
	}{
		{0, 0, false},
		{5 * time.Millisecond, 0, false},
		{3 * time.Millisecond, 0, true},
		{3 * time.Millisecond, 5 * time.Millisecond, false},
		{0, 3 * time.Millisecond, true},
	} {
		set := engine.DefaultSettings()
		set.Deadlines.Budget = c.settings
		e.Configure(set)
		e.HandleCommand(b.now, msg.TuneRoute{Route: burstRoute, Tuning: msg.Tuning{Deadlines: msg.Deadlines{Budget: c.own}}})
		before := e.Stats()
		b.lateBy(3 * time.Millisecond)
		after := e.Stats()
		want := uint64(0)
		if c.late {
			want = viewers * packetsInFrame
		}
		route, was := after.Routes[0], before.Routes[0]
		if route.Late-was.Late != want || after.Counters.Late-before.Counters.Late != want || route.Sent-was.Sent != viewers*packetsInFrame {
			t.Errorf("budgets %v and %v: %d of %d late, want %d", c.settings, c.own, route.Late-was.Late, route.Sent-was.Sent, want)
		}
	}
	e.HandleCommand(b.now, msg.TuneRoute{Route: burstRoute + 1}) // one that is gone
}

// What is later than asked for is left out by whole frames: a frame that began in
// time is sent to its end, one that did not is not begun.
func TestLateFramesAreLeftOut(t *testing.T) {
	b := newBurst(t, 1, 1)
	b.seq = 11 * packetsInFrame // timestamps follow from it
	b.handle(0, b.frame(true))
	e := b.engines[0]
	e.HandleCommand(b.now, msg.TuneRoute{Route: burstRoute, Tuning: msg.Tuning{Deadlines: msg.Deadlines{LateDrop: 20 * time.Millisecond}}})
	arrived := b.now
	frame, next := b.frame(false), b.frame(false)
	for _, step := range []struct {
		packets []pkt.Datagram
		after   time.Duration
		overdue uint64
	}{
		{frame[:3], 10 * time.Millisecond, 0},
		{frame[3:], 30 * time.Millisecond, 0}, // its beginning is on the way
		{next[:1], 30 * time.Millisecond, 1},
		{next[1:], 10 * time.Millisecond, packetsInFrame},
		{b.frame(false), 20 * time.Millisecond, packetsInFrame},
	} {
		for i := range step.packets {
			step.packets[i].Arrived = arrived
		}
		b.now = arrived.Add(step.after)
		before := b.packets
		was := e.Counters.Drops[wire.DropOverdue]
		e.HandleDatagrams(b.now, step.packets)
		b.drain()
		left := e.Counters.Drops[wire.DropOverdue] - was
		if sent := b.packets - before; uint64(sent)+left != uint64(len(step.packets)) || was+left != step.overdue {
			t.Errorf("after %v: %d of %d packets sent, %d overdue so far, want %d", step.after, sent, len(step.packets), was+left, step.overdue)
		}
	}
	if n := e.Times.Latency.Count(); n != 2*packetsInFrame {
		t.Errorf("%d packets were measured, of two frames that were sent", n)
	}
	// What is too old to be sent is too old to be sent again.
	v := &b.viewers[0]
	b.now = arrived.Add(time.Second)
	before := b.packets
	b.handle(0, []pkt.Datagram{v.nack(1, v.first+packetsInFrame)})
	if e.Counters.NACKMissed != 1 || e.Counters.Resent != 0 || b.packets != before {
		t.Errorf("%d of %d packets asked for were missed, %d sent again", e.Counters.NACKMissed, e.Counters.NACKIn, e.Counters.Resent)
	}
}

// One run in so many asks for its departure, and no second one before the answer
// came or was given up.
func TestStamps(t *testing.T) {
	b := newBurst(t, 1, 4)
	set := engine.DefaultSettings()
	set.StampEvery = 2
	e := b.engines[0]
	e.Configure(set)
	b.handle(0, b.frame(true))
	frame := func() (stamps int) {
		b.now = b.now.Add(33 * time.Millisecond)
		frame := b.frame(false)
		for i := range frame {
			frame[i].Arrived = b.now
		}
		e.HandleDatagrams(b.now, frame)
		for more := true; more; b.tx.Reset() {
			more = e.PollTransmit(b.tx)
			for _, run := range b.tx.Runs() {
				if run.Stamp {
					stamps++
				}
			}
		}
		return stamps
	}
	if n := frame(); n != 1 || !e.AwaitsStamp() {
		t.Fatalf("%d runs are stamped", n)
	}
	if n := frame(); n != 0 {
		t.Errorf("%d more before the answer", n)
	}
	e.HandleStamp(b.now.Add(-time.Minute)) // of something else
	if !e.AwaitsStamp() {
		t.Error("took an answer from before the question")
	}
	e.HandleStamp(b.now.Add(7 * time.Millisecond))
	counted{40 * time.Millisecond: 1}.check(t, "stamped", &e.Times.Stamped)
	var own engine.Latency
	e.AddLatency(burstRoute, &own)
	counted{40 * time.Millisecond: 1}.check(t, "stamped of the route", &own.Stamped)
	e.AddLatency(burstRoute+1, &own) // one that is gone
	counted{40 * time.Millisecond: 1}.check(t, "stamped, with another route's", &own.Stamped)
	if frame() != 1 {
		t.Error("no stamp after the answer")
	}
	b.now = b.now.Add(time.Second)
	if frame() != 1 {
		t.Error("no stamp after an answer that did not come")
	}
	set.StampEvery = 0
	e.Configure(set)
	e.HandleStamp(b.now.Add(time.Second))
	if frame() != 0 || e.AwaitsStamp() {
		t.Error("a stamp though there are to be none")
	}
}
