package feedback

import (
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/clock"
)

// due asks for at most 100 sequence numbers.
func due(n *Nack, now clock.Time, l *Limits) []uint16 {
	asked, _ := n.Due(now, l, make([]uint16, 0, 100))
	return asked
}

func TestNackWithoutLoss(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	for i := range uint64(100000) {
		if n.Received(cycle+65000+i, start, &l) {
			t.Fatal("overrun")
		}
	}
	if n.Next() != clock.Never || n.Missing() != 0 || len(due(&n, after(100), &l)) != 0 {
		t.Error("something is missing of a whole stream")
	}
}

func TestNackSchedule(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	n.Received(cycle+65534, start, &l)
	n.Received(cycle+65538, start, &l) // 65535, 0 and 1 are missing

	if n.Next() != after(10) || n.Missing() != 3 {
		t.Fatalf("%d missing, next at %v", n.Missing(), n.Next())
	}
	if got := due(&n, after(9), &l); len(got) != 0 {
		t.Fatalf("asked for %v within the reorder time", got)
	}
	n.Received(cycle+65537, after(9), &l) // 1 was only late
	if got := due(&n, after(10), &l); !slices.Equal(got, []uint16{65535, 0}) {
		t.Fatalf("asked for %v, want 65535 and 0", got)
	}
	n.Received(cycle+65536, after(20), &l) // 0 came

	// Waits grow by one retry time for each try: at 10, 30, 70, 130, 210, …
	var asked []time.Duration
	for now := n.Next(); now != clock.Never; now = n.Next() {
		got := due(&n, now, &l)
		if len(got) > 0 {
			if !slices.Equal(got, []uint16{65535}) {
				t.Fatalf("asked for %v, want 65535", got)
			}
			asked = append(asked, now.Sub(start)/time.Millisecond)
		}
	}
	if want := []time.Duration{30, 70, 130, 210, 310, 430, 570, 730, 910}; !slices.Equal(asked, want) {
		t.Errorf("asked at %d ms, want %d ms: ten tries in all", asked, want)
	}
	if n.Missing() != 0 {
		t.Error("not given up")
	}
	if n.Received(cycle+65535, after(2000), &l); n.Missing() != 0 || n.Next() != clock.Never {
		t.Error("what comes after it was given up upsets the count")
	}
}

func TestNackGivesUpByAge(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	n.Received(cycle, start, &l)
	n.Received(cycle+2, start, &l)
	if got, gaveUp := n.Due(after(1000), &l, make([]uint16, 0, 1)); !gaveUp || len(got) != 0 || n.Missing() != 0 || n.Next() != clock.Never {
		t.Errorf("asked for %v after %v", got, l.GiveUp)
	}
}

// TestNackOfWhoAnswersNone: what is not mere reordering is given up at once.
func TestNackOfWhoAnswersNone(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	l.Tries = 0
	n.Received(cycle, start, &l)
	n.Received(cycle+2, start, &l)
	if n.Received(cycle+1, after(5), &l); n.Missing() != 0 {
		t.Fatal("reordering counts as loss")
	}
	n.Received(cycle+4, after(20), &l)
	if asked, gaveUp := n.Due(n.Next(), &l, make([]uint16, 0, 1)); len(asked) != 0 || !gaveUp || n.Missing() != 0 {
		t.Errorf("asked for %v, gave up: %v, missing %d", asked, gaveUp, n.Missing())
	}
}

func TestNackPerSecond(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	l.PerSecond, l.GiveUp = 30, time.Minute
	n.Received(cycle, start, &l)
	n.Received(cycle+51, start, &l)
	if got := len(due(&n, after(10), &l)); got != 30 {
		t.Fatalf("asked for %d packets, want 30", got)
	}
	if got := len(due(&n, after(900), &l)); got != 0 {
		t.Fatalf("asked for %d packets more in the same second", got)
	}
	if n.Next() > after(1010) {
		t.Fatalf("next at %v, want by %v", n.Next(), after(1010))
	}
	got := due(&n, after(1010), &l)
	if len(got) != 30 || !slices.IsSorted(got) {
		t.Fatalf("asked for %v in the next second, want 30", got)
	}
}

func TestNackFillsOutputOnly(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	n.Received(cycle, start, &l)
	n.Received(cycle+6, start, &l)
	out, _ := n.Due(after(10), &l, make([]uint16, 0, 3))
	if !slices.Equal(out, []uint16{1, 2, 3}) || n.Next() > after(10) {
		t.Fatalf("asked for %v, next at %v: want 1 to 3 and the rest at once", out, n.Next())
	}
	if out, _ = n.Due(after(10), &l, out[:0]); !slices.Equal(out, []uint16{4, 5}) {
		t.Fatalf("asked for %v, want 4 and 5", out)
	}
}

func TestNackOverrun(t *testing.T) {
	var n Nack
	l := DefaultLimits()
	n.Received(cycle, start, &l)
	if n.Received(cycle+maxMissing+1, start, &l) {
		t.Fatalf("%d missing is an overrun", maxMissing)
	}
	if !n.Received(cycle+maxMissing+3, start, &l) {
		t.Fatal("one more is none")
	}
	if n.Missing() != 0 || n.Next() != clock.Never {
		t.Fatalf("%d missing after an overrun", n.Missing())
	}
	if n.Received(cycle+maxMissing+4, start, &l) {
		t.Fatal("the next packet is an overrun too")
	}
	if !n.Received(cycle+30000, start, &l) {
		t.Fatal("a great gap is none")
	}
}

// slowNack keeps a map of what is missing and looks through all of it.
type slowNack struct {
	highest uint64
	missing map[uint64]*missing
}

func (s *slowNack) received(ext uint64, now clock.Time, l *Limits) {
	delete(s.missing, ext)
	for e := s.highest + 1; s.highest != 0 && e < ext; e++ {
		s.missing[e] = &missing{ext: e, found: now, due: now.Add(l.Reorder)}
	}
	s.highest = max(s.highest, ext)
}

func (s *slowNack) due(now clock.Time, l *Limits) (out []uint16) {
	for _, e := range slices.Sorted(maps.Keys(s.missing)) {
		m := s.missing[e]
		if now < m.due && now < m.found.Add(l.GiveUp) {
			continue
		}
		if m.tries == l.Tries || now >= m.found.Add(l.GiveUp) {
			delete(s.missing, e)
			continue
		}
		m.tries++
		m.due = now.Add(time.Duration(m.tries) * l.Retry)
		out = append(out, uint16(e))
	}
	return out
}

// TestNackAgainstSlowTwin asks both at every millisecond of lossy, reordered
// streams, the real one only when it says that something is due.
func TestNackAgainstSlowTwin(t *testing.T) {
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(seed, 6))
		l := DefaultLimits()
		l.PerSecond = 1 << 30
		l.Tries = 1 + r.IntN(5)
		l.GiveUp = time.Duration(50+r.IntN(400)) * time.Millisecond
		var n Nack
		slow := slowNack{missing: map[uint64]*missing{}}
		ext, asked := uint64(cycle+65000), 0
		var late []uint64
		for ms := range 3000 {
			now := after(float64(ms))
			ext++
			switch r.IntN(12) {
			case 0: // lost
			case 1:
				late = append(late, ext)
			default:
				arrivals := []uint64{ext}
				if len(late) > 0 && r.IntN(4) == 0 {
					arrivals = append(arrivals, late[0])
					late = late[1:]
				}
				for _, e := range arrivals {
					if n.Received(e, now, &l) {
						t.Fatalf("seed %d: overrun", seed)
					}
					slow.received(e, now, &l)
				}
			}
			want := slow.due(now, &l)
			var got []uint16
			if n.Next() <= now {
				got = due(&n, now, &l)
			}
			if !slices.Equal(got, want) {
				t.Fatalf("seed %d, %d ms: asked for %v, want %v", seed, ms, got, want)
			}
			asked += len(got)
		}
		if asked == 0 {
			t.Fatalf("seed %d: nothing was asked for", seed)
		}
	}
}
