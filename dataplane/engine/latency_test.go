package engine_test

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/histogram"
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

// Each packet counts once for each viewer on each shard, from when the kernel had
// it, whichever way it took; what a viewer is given to begin with does not.
func TestLatencyIsFromTheKernelsTimestamp(t *testing.T) {
	const viewers = 3 // two on shard 0, one on shard 1
	b := newBurst(t, 2, viewers)
	b.handle(0, b.frame(true))
	for i, e := range b.engines {
		if n := e.Stats().Latency; n.Count() != 0 {
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
		st := b.engines[i].Stats()
		counted{10 * time.Millisecond: viewers, 5 * time.Millisecond: viewers * (packetsInFrame - 1)}.check(t, "shard", &st.Latency)
		counted{10 * time.Millisecond: viewers, 5 * time.Millisecond: viewers * (packetsInFrame - 1)}.check(t, "route", b.engines[i].Latency(burstRoute))
	}
	if b.engines[0].Latency(burstRoute+1) != nil {
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
	st := e.Stats()
	counted{200 * time.Millisecond: packetsInFrame}.check(t, "stalled", &st.Latency)
	e.HandleSent(began.Add(time.Second))
	if again := e.Stats(); again.Latency.Count() != packetsInFrame {
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
	st := b.engines[0].Stats()
	counted{time.Millisecond: packetsInFrame}.check(t, "in the future", &st.Latency)
}
