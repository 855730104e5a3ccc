package rewrite

import (
	"math/rand/v2"
	"testing"
	"time"

	"sluice/dataplane/clock"
)

const rate = 90000

func at(d time.Duration) clock.Time { return clock.Time(5 * time.Second).Add(d) }

// mapped maps a packet that must have a number.
func mapped(t *testing.T, s *Splice, seq uint64, ts uint32, now clock.Time) (uint64, uint32) {
	t.Helper()
	outSeq, outTS, ok := s.Map(seq, ts, now, rate)
	if !ok {
		t.Fatalf("packet %d has no number", seq)
	}
	return outSeq, outTS
}

func TestSpliceFirstSource(t *testing.T) {
	var s Splice
	if !s.Source(7) || s.Source(7) {
		t.Error("the first packet of a source, and only that, is a splice point")
	}
	if _, ok := s.TS(5); ok {
		t.Error("a timestamp is mapped before the first packet")
	}
	first, ts := mapped(t, &s, 70000, 1234, at(0))
	if ts != 1234 || s.Highest() != first {
		t.Errorf("timestamp %d, highest %d of %d", ts, s.Highest(), first)
	}
	// What was on its way before the first packet still has a number below.
	if before, _ := mapped(t, &s, 69990, 1000, at(1)); before != first-10 {
		t.Errorf("ten before %d is %d", first, before)
	}
	if next, _ := mapped(t, &s, 70001, 1240, at(2)); next != first+1 {
		t.Errorf("one after %d is %d", first, next)
	}
}

func TestSpliceJoins(t *testing.T) {
	for _, v := range []struct {
		name  string
		seq   uint64
		ts    uint32
		gap   time.Duration
		ticks uint32
	}{
		{"half a second later", 1 << 16, 5, 500 * time.Millisecond, 45000},
		{"at once: time still goes on", 1<<16 + 65535, 0xffffffff, 0, 1},
		{"after a day, which RTP time cannot hold", 3 << 20, 9, 24 * time.Hour, uint32(24 * 3600 * rate % (1 << 32))},
	} {
		var s Splice
		s.Source(1)
		mapped(t, &s, 90000, 0xffffff00, at(0))
		last, lastTS := mapped(t, &s, 90001, 0x00000010, at(time.Second))
		s.Source(2)
		seq, ts := mapped(t, &s, v.seq, v.ts, at(time.Second+v.gap))
		if seq != last+1 || ts-lastTS != v.ticks {
			t.Errorf("%s: sequence %d after %d, timestamp %d later, want %d", v.name, seq, last, ts-lastTS, v.ticks)
		}
		if mapped, ok := s.TS(v.ts + 90); !ok || mapped != ts+90 {
			t.Errorf("%s: reports are mapped to %d, %v", v.name, mapped, ok)
		}
	}
}

// TestSpliceGivesNoNumberTwice: a packet of the new source that was sent before
// the splice point and arrives after it would take the number of a packet of
// the old source; with AES-GCM that gives plaintext away.
func TestSpliceGivesNoNumberTwice(t *testing.T) {
	var s Splice
	s.Source(1)
	mapped(t, &s, 70000, 0, at(0))
	s.Source(2)
	first, _ := mapped(t, &s, 80000, 0, at(1))
	for _, late := range []uint64{79999, 79000, 80000 - 1<<15} {
		if seq, _, ok := s.Map(late, 0, at(2), rate); ok {
			t.Errorf("packet %d from before the splice point got number %d; the point is %d", late, seq, first)
		}
	}
}

// TestSpliceAgainstSlowTwin: over random sources no two packets get one number,
// order is kept, and each source starts one above all before it.
func TestSpliceAgainstSlowTwin(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 4))
	var s Splice
	taken := map[uint64][2]uint64{} // route sequence number to source and its number
	var now time.Duration
	for source := uint64(1); source < 60; source++ {
		s.Source(source)
		highestBefore := s.Highest()
		seq := uint64(1<<16 + r.IntN(1<<16))
		delta, started := uint64(0), false
		for range 1 + r.IntN(200) {
			seq++
			now += time.Millisecond
			sent := seq - uint64(r.IntN(5))
			got, _, ok := s.Map(sent, uint32(now), at(now), rate)
			if !started {
				if !ok || highestBefore != 0 && got != highestBefore+1 {
					t.Fatalf("source %d starts at %d (%v) after %d", source, got, ok, highestBefore)
				}
				started, delta = true, got-sent
			}
			if want := sent + delta; ok != (source == 1 || want > highestBefore) || ok && got != want {
				t.Fatalf("source %d packet %d: %d, %v, want %d", source, sent, got, ok, want)
			}
			if !ok {
				continue
			}
			if who, again := taken[got]; again && who != [2]uint64{source, sent} {
				t.Fatalf("number %d means %v and %v", got, who, [2]uint64{source, sent})
			}
			taken[got] = [2]uint64{source, sent}
		}
	}
}
