package udp

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
)

// A run that asks for it has its instant of departure, alone or as a train, and
// what follows is received and sent as ever.
func TestSent(t *testing.T) {
	s, peer := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	origin := time.Now().Add(-time.Hour)
	for _, packets := range []int{1, 4} {
		b := newBatch()
		to := path("127.0.0.1", peer.Port(), "127.0.0.1")
		for i := range packets {
			commit(t, b, to, packet(i, 500))
		}
		if !b.Stamp(&to) {
			t.Fatal("nothing to stamp")
		}
		commit(t, b, to, packet(9, 600))
		if _, ok := s.Sent(origin); ok {
			t.Error("a timestamp of what was not sent")
		}
		before := clock.Time(time.Since(origin))
		if done, dropped := s.Send(b); !done || dropped != 0 {
			t.Fatalf("done %v, %d dropped", done, dropped)
		}
		after := clock.Time(time.Since(origin))
		at, ok := s.Sent(origin)
		if !ok || at < before-clock.Time(time.Millisecond) || at > after+clock.Time(time.Millisecond) {
			t.Errorf("%d packets: sent at %v (%v), between %v and %v", packets, at, ok, before, after)
		}
		if _, again := s.Sent(origin); again {
			t.Error("two timestamps of one run")
		}
		if got := receive(t, peer, packets+1); len(got) != packets+1 {
			t.Errorf("%d packets arrived", len(got))
		}
	}
}
