package keying

import (
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"sluice/dataplane/pkt"
)

func TestSource(t *testing.T) {
	of := func(s string) source {
		return sourceOf(&pkt.Path{Remote: pkt.AddrFrom(netip.MustParseAddrPort(s))})
	}
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1:1", "192.0.2.1:2", true},
		{"192.0.2.1:1", "192.0.2.2:1", false},
		{"[2001:db8::1]:1", "[2001:db8::ffff:0:0:1]:2", true},
		{"[2001:db8::1]:1", "[2001:db8:0:1::1]:1", false},
		{"0.0.0.0:1", "[::]:1", false},
	} {
		if got := of(test.a) == of(test.b); got != test.same {
			t.Errorf("%s and %s are one source: %v", test.a, test.b, got)
		}
	}
}

// A source that uses up its share leaves places free, which others take at once
// and ahead of its own sessions that wait.
func TestShares(t *testing.T) {
	turns := newTurns(room{running: 4, waiting: 4}, 50)
	greedy := func() *session { return &session{source: source{1}} }
	other := func() *session { return &session{source: source{2}} }
	var entered []*session
	for _, want := range []place{runs, runs, waits, waits, fullOfIt} {
		s := greedy()
		if got := turns.enter(s); got != want {
			t.Fatalf("place %d, want %d", got, want)
		}
		entered = append(entered, s)
	}
	var others []*session
	for _, want := range []place{runs, runs, waits, waits, full} {
		s := other()
		if got := turns.enter(s); got != want {
			t.Fatalf("the other's place %d, want %d", got, want)
		}
		others = append(others, s)
	}
	if next := turns.leave(others[0]); next != others[2] {
		t.Error("a place that its source gave up went to another that had its share")
	}
	if next := turns.leave(entered[0]); next != entered[2] {
		t.Error("a source did not go on when one of it left")
	}
}

// Whatever happens, nobody has more than allowed, places that could be used are,
// a source's sessions run in the order in which they came, and in the end
// nothing is left.
func TestTurnsHold(t *testing.T) {
	for seed := range uint64(200) {
		dice := rand.New(rand.NewPCG(seed, 0))
		turns := newTurns(room{running: 1 + dice.IntN(6), waiting: 1 + dice.IntN(6)}, 1+dice.IntN(100))
		var running, waiting []*session
		starts := func(s *session) {
			before := slices.IndexFunc(waiting, func(w *session) bool { return w.source == s.source })
			if at := slices.Index(waiting, s); at != before {
				t.Fatalf("seed %d: %d started, of its source %d came before", seed, at, before)
			}
			waiting = slices.DeleteFunc(waiting, func(w *session) bool { return w == s })
			running = append(running, s)
		}
		leave := func() {
			i := dice.IntN(len(running))
			s := running[i]
			running = slices.Delete(running, i, i+1)
			if next := turns.leave(s); next != nil {
				starts(next)
			}
		}
		for range 500 {
			switch roll := dice.IntN(10); {
			case roll < 6:
				s := &session{source: source{byte(dice.IntN(4))}}
				if dice.IntN(8) == 0 {
					s.role = Active
				}
				switch turns.enter(s) {
				case runs:
					running = append(running, s)
				case waits:
					waiting = append(waiting, s)
				default:
					if s.role == Active {
						t.Fatalf("seed %d: an active session was turned away", seed)
					}
				}
			case roll < 9 && len(running) > 0:
				leave()
			case len(waiting) > 0:
				i := dice.IntN(len(waiting))
				turns.withdraw(waiting[i])
				waiting = slices.Delete(waiting, i, i+1)
			}
			checkTurns(t, turns, running, waiting)
		}
		for len(running) > 0 {
			leave()
		}
		if len(waiting) != 0 || len(turns.queue) != 0 || turns.taken != (room{}) || len(turns.sources) != 0 {
			t.Fatalf("seed %d: left %+v", seed, turns)
		}
	}
}

func checkTurns(t *testing.T, turns *turns, running, waiting []*session) {
	t.Helper()
	count := func(all []*session, of source) (n int) {
		for _, s := range all {
			if s.source == of {
				n++
			}
		}
		return n
	}
	passive := len(slices.DeleteFunc(slices.Clone(waiting), func(s *session) bool { return s.role == Active }))
	if turns.taken != (room{len(running), len(waiting)}) || len(running) > turns.all.running || passive > turns.all.waiting {
		t.Fatalf("taken %+v of %+v, %d run and %d wait", turns.taken, turns.all, len(running), len(waiting))
	}
	for _, s := range slices.Concat(running, waiting) {
		if n := count(running, s.source); n > turns.each.running {
			t.Fatalf("%d of a source run, allowed are %d", n, turns.each.running)
		}
	}
	for _, s := range waiting {
		if len(running) < turns.all.running && count(running, s.source) < turns.each.running {
			t.Fatalf("one waits while there is room for it: %+v", turns)
		}
	}
}
