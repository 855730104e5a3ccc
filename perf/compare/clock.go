package main

import (
	"time"

	"sluice/perf/load"
	"sluice/perf/scenario"
)

// clock says how long it will take: by the plan at first, then by how far off the plan was.
type clock struct {
	left, planned, taken time.Duration
}

func newClock(o options) *clock {
	c := &clock{}
	for _, s := range o.scenarios {
		c.left += time.Duration(o.runsOf(s)) * o.guess(s)
	}
	return c
}

// runsOf is how many runs a scenario has when none is disturbed.
func (o options) runsOf(s scenario.Scenario) int {
	switch s.Mode {
	case scenario.Largest:
		return len(s.Arms) * 7
	case scenario.Overload:
		return len(s.Arms) * (5 + 2*o.runs)
	}
	return len(s.Arms) * o.runs
}

// wait is the time from the last join to the reading of memory. Memory is the same in both set-ups: it is read in one.
func (o options) wait(s scenario.Scenario) time.Duration {
	if s.Setup == scenario.Transmit || s.Mode != scenario.Measure {
		return 0
	}
	return o.rssWait
}

// guess is how long a run takes.
func (o options) guess(s scenario.Scenario) time.Duration {
	const joinTime = 6 * time.Millisecond
	windows := 1
	if s.Setup == scenario.Transmit {
		windows = 2
	}
	rssWait := o.wait(s)
	joins := time.Duration(s.Plan.Viewers+max(s.Plan.Streams, 1)) * joinTime
	return load.Settle(rssWait) + joins + max(rssWait, warmUp) + time.Duration(windows)*(o.window+time.Second)
}

// done takes a run off.
func (c *clock) done(guess, took time.Duration) {
	c.left -= guess
	c.planned += guess
	c.taken += took
}

// more adds a run, because one was disturbed.
func (c *clock) more(guess time.Duration) { c.left += guess }

// remaining is the time to go.
func (c *clock) remaining() time.Duration {
	if c.planned == 0 {
		return c.left
	}
	return max(time.Duration(float64(c.left)*float64(c.taken)/float64(c.planned)), 0)
}
