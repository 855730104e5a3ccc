package feedback

import (
	"time"

	"sluice/dataplane/clock"
)

// Throttle lets at most one keyframe request an interval through to a source,
// however many viewers ask, and forgets none: a request inside the interval
// becomes due at its end.
type Throttle struct {
	closed  clock.Time // until when requests wait, 0 before the first
	waiting bool
}

// Request asks for a keyframe. It is true when the request may be sent at once,
// which the caller then does.
//
//hot:path
func (t *Throttle) Request(now clock.Time, interval time.Duration) bool {
	t.waiting = true
	return t.Due(now, interval)
}

// Due is true when a request has waited long enough and is to be sent now.
func (t *Throttle) Due(now clock.Time, interval time.Duration) bool {
	if !t.waiting || t.closed != 0 && now < t.closed {
		return false
	}
	t.waiting, t.closed = false, now.Add(interval)
	return true
}

// Satisfied takes note of the start of a keyframe: what waits has its answer.
//
//hot:path
func (t *Throttle) Satisfied() { t.waiting = false }

// Next returns when Due may next be true, clock.Never when nothing waits.
func (t *Throttle) Next() clock.Time {
	if !t.waiting {
		return clock.Never
	}
	return t.closed
}
