package engine_test

import (
	"testing"

	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// Media to viewers has the mark of its kind, the first time and again, from the
// moment it is set, or its stream's own class; answers to checks have none.
func TestMarks(t *testing.T) {
	const video = 34 << 2
	b := newBurst(t, 1, 2)
	seen := map[pkt.Mark]int{}
	b.seen = func(run *pkt.Run) { seen[run.Mark] += run.Packets() }
	count := func(what string, want map[pkt.Mark]int) {
		t.Helper()
		for mark, n := range want {
			if seen[mark] != n {
				t.Errorf("%s: %d packets of %+v, want %d", what, seen[mark], mark, n)
			}
		}
		if len(seen) != len(want) {
			t.Errorf("%s: %v, want %v", what, seen, want)
		}
		clear(seen)
	}
	none, marked := pkt.Mark{}, pkt.Mark{Class: video, Priority: 5}
	b.handle(0, b.frame(true))
	count("without a mark", map[pkt.Mark]int{none: 2 * packetsInFrame})
	b.configure(func(s *engine.Settings) {
		s.Marks[msg.Video], s.Marks[msg.Audio] = marked, pkt.Mark{Class: 46 << 2, Priority: 6}
	})
	b.handle(0, b.frame(false))
	count("marked", map[pkt.Mark]int{marked: 2 * packetsInFrame})
	b.handle(0, []pkt.Datagram{b.viewers[0].check(7)})
	count("a check", map[pkt.Mark]int{none: 1})
	b.handle(0, []pkt.Datagram{b.viewers[1].nack(2, b.viewers[1].first+3)})
	count("again", map[pkt.Mark]int{marked: 1})

	own := func(t msg.Tuning) { b.engines[0].HandleCommand(b.now, msg.TuneRoute{Route: burstRoute, Tuning: t}) }
	own(msg.Tuning{Marked: true, Class: 10 << 2})
	b.handle(0, b.frame(false))
	count("the stream's own", map[pkt.Mark]int{{Class: 10 << 2, Priority: 5}: 2 * packetsInFrame})
	own(msg.Tuning{Marked: true})
	b.handle(0, b.frame(false))
	count("none of the stream's own", map[pkt.Mark]int{{Priority: 5}: 2 * packetsInFrame})
	own(msg.Tuning{})
	b.handle(0, b.frame(false))
	count("its kind's again", map[pkt.Mark]int{marked: 2 * packetsInFrame})
}
