package shard

import (
	"time"

	"sluice/dataplane/engine"
)

// spinner decides whether to ask for work before sleeping. It asks while that
// has paid: a sleep that ended within the limit says that spinning would have
// met the next work awake, a spin that met none that sleeping was right.
type spinner struct {
	limit time.Duration // of one spin; 0 for none
	pays  bool
}

// slept learns from a sleep.
func (s *spinner) slept(d time.Duration) { s.pays = d <= s.limit }

// spun asks for work for as long as that pays; it reports whether there is some.
func (s *Shard) spun() (work bool) {
	if !s.spin.pays || s.spin.limit == 0 {
		return false
	}
	began, due := s.lapped, s.due()
	for now := began; !work && now.Sub(began) < s.spin.limit; now = s.now() {
		work = s.poller.Ready() || !s.idle() || now >= due
	}
	s.spin.pays = work
	s.lap(engine.StageSpin)
	return work
}
