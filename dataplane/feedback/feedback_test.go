package feedback

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// start is when the tests begin: not at the origin, so that what forgets to
// look at the clock shows.
const start = clock.Time(5 * time.Second)

// after returns the instant ms milliseconds after start.
func after(ms float64) clock.Time {
	return start.Add(time.Duration(ms * float64(time.Millisecond)))
}

func TestAllocates(t *testing.T) {
	var (
		r        Reception
		n        Nack
		throttle Throttle
		a        Arrivals
		timeline Timeline
		c        SenderClock
		highest  uint64
		seq      uint16
		now      = start
		limits   = DefaultLimits()
		out      = make([]uint16, 0, 64)
		buf      = make([]byte, 0, 1200)
		asked    int
	)
	allocs := testing.AllocsPerRun(2000, func() {
		seq, now = seq+1, now.Add(3*time.Millisecond)
		if seq%10 == 0 {
			return // lost
		}
		ext := Extend(highest, seq)
		highest = max(highest, ext)
		r.Received(ext, uint32(seq)*270, 90000, now)
		n.Received(ext, now, &limits)
		if seq%50 == 9 {
			n.Received(ext-9, now, &limits)
			r.Repaired(ext - 9)
		}
		due, _ := n.Due(now, &limits, out)
		asked += len(due)
		throttle.Request(now, time.Second)
		throttle.Due(now, time.Second)
		a.Received(seq, now)
		if seq%20 == 0 {
			a.AppendFeedback(buf, 1, 2, 1200)
		}
		r.Report(1, now)
		c.Observe(&timeline, &wire.SenderReport{NTP: clock.NTP(now)}, clock.NTP(now))
		c.At(&timeline, clock.NTP(now), 90000)
	})
	if allocs != 0 || asked == 0 {
		t.Errorf("%v allocations with %d requests, want none and some", allocs, asked)
	}
}
