package engine_test

import (
	"testing"

	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// Media to viewers has the traffic class of its kind, the first time and again,
// from the moment it is set; answers to checks have none.
func TestClasses(t *testing.T) {
	const video = 34 << 2
	b := newBurst(t, 1, 2)
	seen := map[uint8]int{}
	b.seen = func(run *pkt.Run) { seen[run.Class] += run.Packets() }
	count := func(what string, want map[uint8]int) {
		t.Helper()
		for class, n := range want {
			if seen[class] != n {
				t.Errorf("%s: %d packets of class %d, want %d", what, seen[class], class, n)
			}
		}
		if len(seen) != len(want) {
			t.Errorf("%s: %v, want %v", what, seen, want)
		}
		clear(seen)
	}
	b.handle(0, b.frame(true))
	count("without a mark", map[uint8]int{0: 2 * packetsInFrame})
	b.configure(func(s *engine.Settings) { s.Classes[msg.Video], s.Classes[msg.Audio] = video, 46<<2 })
	b.handle(0, b.frame(false))
	count("marked", map[uint8]int{video: 2 * packetsInFrame})
	b.handle(0, []pkt.Datagram{b.viewers[0].check(7)})
	count("a check", map[uint8]int{0: 1})
	again := wire.AppendNACK(wire.AppendReceiverReport(nil, 77, nil), 77, 2, []uint16{b.viewers[1].first + 3})
	b.handle(0, []pkt.Datagram{b.viewers[1].rtcp(77, again)})
	count("again", map[uint8]int{video: 1})
}
