package srtp

import (
	"math/rand/v2"
	"testing"
)

// TestStreamAgainstSlowTwin sends random walks over several rollovers past a
// Stream and a set of all indexes committed.
func TestStreamAgainstSlowTwin(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 3711))
		var s Stream
		twin := map[uint64]bool{}
		highest, current := uint64(0), uint64(r.IntN(1<<15))
		if seed%3 == 0 {
			current = 1<<16 - 1 - uint64(r.IntN(50))
		}
		for step := range 4000 {
			index := current
			switch r.IntN(8) {
			case 0: // late or a replay, around the edge of the list too
				back := uint64(r.IntN(40))
				if r.IntN(2) == 0 {
					back = windowBits - 20 + uint64(r.IntN(40))
				}
				if back > index {
					continue
				}
				index -= back
			case 1:
				current += uint64(r.IntN(3000)) // a long gap
			case 2:
				current += uint64(r.IntN(30000)) // up to half the space
			default:
				current++
			}
			if len(twin) > 0 {
				// Who is further away than half the space has a wrong index by design.
				if d := int64(index) - int64(highest); d >= 1<<15 || d < -1<<15 {
					continue
				}
				if got := s.Index(uint16(index)); got != index {
					t.Fatalf("seed %d step %d: index %#x of %#x, highest %#x", seed, step, got, index, highest)
				}
			} else if got := s.Index(uint16(index)); got != index&0xffff {
				t.Fatalf("the first index is %#x, want %#x", got, index)
			}
			fresh := len(twin) == 0 || index > highest || highest-index < windowBits && !twin[index]
			if s.Fresh(index) != fresh {
				t.Fatalf("seed %d step %d: Fresh(%#x) is %v with highest %#x", seed, step, index, !fresh, highest)
			}
			if !fresh || r.IntN(10) == 0 { // one in ten does not authenticate
				continue
			}
			s.Commit(index)
			twin[index] = true
			highest = max(highest, index)
			if s.Highest() != highest || !s.Started() || s.Fresh(index) {
				t.Fatalf("seed %d step %d: highest %#x, want %#x", seed, step, s.Highest(), highest)
			}
		}
	}
}

func TestStreamWindowEdges(t *testing.T) {
	for _, jump := range []uint64{1, 63, 64, 65, windowBits - 1, windowBits, windowBits + 1, 30000} {
		var s Stream
		const start = 200000
		s.Commit(start)
		s.Commit(start + jump)
		for back := range uint64(2 * windowBits) {
			index := start + jump - back
			want := back < windowBits && back != 0 && back != jump
			if s.Fresh(index) != want {
				t.Fatalf("after a jump of %d, %d back: Fresh is %v", jump, back, !want)
			}
		}
	}
}

// TestStreamBeforeFirstRollover: nothing is earlier than index 0.
func TestStreamBeforeFirstRollover(t *testing.T) {
	var s Stream
	s.Commit(5)
	if got := s.Index(3); got != 3 {
		t.Errorf("3 after 5 has index %#x", got)
	}
	if got := s.Index(65530); got != 65530 {
		t.Errorf("65530 after 5 has index %#x: there is no rollover counter below 0", got)
	}
	var w Stream
	w.Commit(65535)
	if got := w.Index(0); got != 1<<16 {
		t.Errorf("0 after 65535 has index %#x", got)
	}
}

func TestControlAgainstSlowTwin(t *testing.T) {
	for seed := range uint64(60) {
		r := rand.New(rand.NewPCG(seed, 31))
		var c Control
		type key struct{ ssrc, index uint32 }
		seen := map[key]bool{}
		highest := map[uint32]uint32{}
		for step := range 3000 {
			ssrc := uint32(r.IntN(controlSSRCs + 2))
			top, known := highest[ssrc]
			var index uint32
			switch r.IntN(4) {
			case 0:
				index = top - min(top, uint32(r.IntN(80)))
			case 1:
				index = top + uint32(r.IntN(100))
			default:
				index = top + 1
			}
			fresh := len(highest) < controlSSRCs
			if known {
				fresh = index > top || top-index < 64 && !seen[key{ssrc, index}]
			}
			if c.Fresh(ssrc, index) != fresh {
				t.Fatalf("seed %d step %d: Fresh(%d, %d) is %v with highest %d (%v)", seed, step, ssrc, index, !fresh, top, known)
			}
			if !fresh || r.IntN(10) == 0 {
				continue
			}
			c.Commit(ssrc, index)
			seen[key{ssrc, index}] = true
			highest[ssrc] = max(top, index)
			if c.Fresh(ssrc, index) {
				t.Fatalf("seed %d step %d: %d of %d is fresh after Commit", seed, step, index, ssrc)
			}
		}
		if len(highest) != controlSSRCs {
			t.Fatalf("%d senders were taken, want %d", len(highest), controlSSRCs)
		}
	}
}

// FuzzReplay drives a Stream with arbitrary sequence numbers: an index that was
// committed is never fresh again, and the highest never falls.
func FuzzReplay(f *testing.F) {
	f.Add([]byte{0, 1, 0, 2, 0xff, 0xff, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		var s Stream
		committed := map[uint64]bool{}
		for ; len(b) >= 2; b = b[2:] {
			index, before := s.Index(uint16(b[0])<<8|uint16(b[1])), s.Highest()
			if uint16(index) != uint16(b[0])<<8|uint16(b[1]) {
				t.Fatalf("index %#x of % x", index, b[:2])
			}
			if !s.Fresh(index) {
				continue
			}
			if committed[index] {
				t.Fatalf("%#x is fresh twice", index)
			}
			s.Commit(index)
			committed[index] = true
			if s.Highest() < before {
				t.Fatalf("highest fell from %#x to %#x", before, s.Highest())
			}
		}
	})
}
