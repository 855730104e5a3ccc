package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/perf/load"
)

// scenario is one workload that all servers get.
type scenario struct {
	viewers int
	paced   bool
	full    int
}

// pacing is the time over which a paced frame's packets leave.
const pacing = 25 * time.Millisecond

func (s scenario) String() string {
	pace, full := "burst", strconv.Itoa(s.full)
	if s.paced {
		pace = "paced"
	}
	if s.all() {
		full = "all"
	}
	return fmt.Sprintf("n%d-%s-full-%s", s.viewers, pace, full)
}

// all says that every viewer decrypts. Each of their packets wakes the generator then, in the server's time, so the latency of such
// a run speaks for all viewers and its CPU figure is too high.
func (s scenario) all() bool { return s.full == s.viewers }

func (s scenario) plan(window, rssWait time.Duration) load.Plan {
	media := load.Media{FPS: 30, PPF: 9, Size: 1150}
	if s.paced {
		media.Spread = pacing
	}
	return load.Plan{
		Media: media, Viewers: s.viewers, Full: s.full, Serial: 10, Warm: 2 * time.Second, Window: window, RSSWait: rssWait,
	}
}

// scenarios combines the three lists, each separated by commas.
func scenarios(viewers, paces, fulls string) (list []scenario, err error) {
	for _, full := range strings.Split(fulls, ",") {
		for _, pace := range strings.Split(paces, ",") {
			for _, n := range strings.Split(viewers, ",") {
				s, err := parseScenario(n, pace, full)
				if err != nil {
					return nil, err
				}
				list = append(list, s)
			}
		}
	}
	return list, nil
}

func parseScenario(n, pace, full string) (s scenario, err error) {
	if s.viewers, err = strconv.Atoi(n); err != nil || s.viewers < 1 {
		return s, fmt.Errorf("-n %q: want numbers of viewers from 1", n)
	}
	if pace != "burst" && pace != "paced" {
		return s, fmt.Errorf("-load %q: want burst or paced", pace)
	}
	s.paced = pace == "paced"
	if full == "all" {
		s.full = s.viewers
		return s, nil
	}
	if s.full, err = strconv.Atoi(full); err != nil || s.full < 1 {
		return s, fmt.Errorf("-full %q: want numbers from 1, or all", full)
	}
	s.full = min(s.full, s.viewers)
	return s, nil
}
