package feedback

import (
	"math/rand/v2"
	"testing"
	"time"

	"sluice/dataplane/clock"
)

func TestThrottle(t *testing.T) {
	const interval = 500 * time.Millisecond
	var th Throttle
	if th.Due(start, interval) || th.Next() != clock.Never {
		t.Fatal("something waits before the first request")
	}
	if !th.Request(after(0), interval) {
		t.Fatal("the first request waits")
	}
	if th.Due(after(600), interval) || th.Next() != clock.Never {
		t.Fatal("a request that was sent waits")
	}
	for _, ms := range []float64{601, 700, 1099} {
		if got := th.Request(after(ms), interval); got != (ms == 601) {
			t.Fatalf("request at %v ms: %v", ms, got)
		}
	}
	if th.Next() != after(1101) {
		t.Fatalf("next at %v, want %v", th.Next(), after(1101))
	}
	if th.Due(after(1100), interval) {
		t.Fatal("due before the interval ended")
	}
	if !th.Due(after(1101), interval) || th.Due(after(1101), interval) {
		t.Fatal("not due exactly once")
	}
	th.Request(after(1200), interval)
	th.Satisfied()
	if th.Next() != clock.Never || th.Due(after(2000), interval) {
		t.Fatal("a request waits that a keyframe satisfied")
	}
}

// TestThrottleRate holds that no two sends are closer than the interval and no
// request waits longer than it, when the timer is obeyed.
func TestThrottleRate(t *testing.T) {
	const interval = 500 * time.Millisecond
	r := rand.New(rand.NewPCG(3, 4))
	var th Throttle
	now, last := start, clock.Time(0)
	var waiting clock.Time // since when a request waits, 0 for none
	send := func() {
		if last != 0 && now.Sub(last) < interval {
			t.Fatalf("two sends %v apart", now.Sub(last))
		}
		last, waiting = now, 0
	}
	for range 10000 {
		next := now.Add(time.Duration(r.ExpFloat64() * float64(200*time.Millisecond)))
		if due := th.Next(); due <= next {
			now = due
			if !th.Due(now, interval) {
				t.Fatal("not due at Next")
			}
			send()
			continue
		}
		now = next
		if waiting != 0 && now.Sub(waiting) > interval {
			t.Fatalf("a request has waited for %v", now.Sub(waiting))
		}
		if th.Request(now, interval) {
			send()
		} else if waiting == 0 {
			waiting = now
		}
	}
}
