package ring

import (
	"runtime"
	"testing"
)

// item is written in several words, so that a torn one would show.
type item struct {
	number uint64
	copies [7]uint64
}

func (m *item) fill(n uint64) {
	m.number = n
	for i := range m.copies {
		m.copies[i] = n
	}
}

func (m *item) is(n uint64) bool {
	for _, c := range m.copies {
		if c != n {
			return false
		}
	}
	return m.number == n
}

// Two threads, one ring, of every small size: every item arrives once, whole
// and in order. The race detector proves that none is touched by both at once.
func TestTwoThreads(t *testing.T) {
	items := uint64(200_000)
	if testing.Short() {
		items = 20_000
	}
	for _, size := range []int{1, 2, 8, 128} {
		r := New[item](size)
		go func() {
			for n := range items {
				m := r.Reserve()
				for ; m == nil; m = r.Reserve() {
					runtime.Gosched()
				}
				m.fill(n)
				r.Publish()
			}
		}()
		for n := range items {
			m := r.Peek()
			for ; m == nil; m = r.Peek() {
				runtime.Gosched()
			}
			if !m.is(n) {
				t.Fatalf("size %d: item %d is %v", size, n, *m)
			}
			r.Release()
		}
		if r.Peek() != nil {
			t.Fatalf("size %d: an item too many", size)
		}
	}
}

// A ring takes as many items as it was made for, and one more for each that is
// taken out.
func TestFullAndEmpty(t *testing.T) {
	const size = 4
	r := New[int](size)
	put, taken := 0, 0
	fill := func() (n int) {
		for p := r.Reserve(); p != nil; p = r.Reserve() {
			*p = put
			r.Publish()
			put++
			n++
		}
		return n
	}
	take := func() bool {
		p := r.Peek()
		if p == nil {
			return false
		}
		if *p != taken {
			t.Fatalf("took %d, want %d", *p, taken)
		}
		r.Release()
		taken++
		return true
	}
	if take() {
		t.Fatal("a new ring is not empty")
	}
	if n := fill(); n != size {
		t.Fatalf("holds %d items, want %d", n, size)
	}
	for round := range 3 * size {
		free := round%size + 1
		for range free {
			if !take() {
				t.Fatal("empty too early")
			}
		}
		if n := fill(); n != free {
			t.Fatalf("%d places were free, %d items went in", free, n)
		}
	}
	for take() {
	}
	if taken != put {
		t.Fatalf("%d of %d items came out", taken, put)
	}
}

// What is reserved is nobody's before Publish; what is peeked stays until Release.
func TestNothingMovesByItself(t *testing.T) {
	r := New[int](2)
	first := r.Reserve()
	*first = 1
	if r.Reserve() != first {
		t.Error("reserving twice gives two places")
	}
	if r.Peek() != nil {
		t.Error("the consumer sees what is not published")
	}
	r.Publish()
	if r.Peek() != first || r.Peek() != first {
		t.Error("the published item is not the one to be taken, or does not stay")
	}
	second := r.Reserve()
	if second == nil || second == first {
		t.Error("the second place is not free, or is the first")
	}
	r.Publish()
	if r.Reserve() != nil {
		t.Error("a place is given away that the consumer still reads")
	}
	r.Release()
	if r.Reserve() != first {
		t.Error("the released place does not come back")
	}
}
