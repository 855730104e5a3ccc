package history

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// levelled keeps payloads of the given sizes and returns what they have after
// Level, and how many trains the kernel sees.
func levelled(s Shape, sizes ...int) (filled []int, trains int) {
	r := New(64, 1<<16, math.MaxInt64, 0)
	for i, n := range sizes {
		p, _ := r.Append(0, uint64(i+1), n)
		r.Close(p, n)
	}
	r.Level(0, r.Head(), s)
	for at := range r.Head() {
		p, data := r.At(at)
		filled = append(filled, max(len(p.Payload(data)), int(p.Fill)))
	}
	open, inTrain := 0, 0
	for _, n := range filled {
		if inTrain == 0 || n > open || inTrain == s.Packets {
			trains++
			open, inTrain = n, 0
		}
		if inTrain++; n < open {
			inTrain = 0
		}
	}
	return filled, trains
}

func TestLevel(t *testing.T) {
	shape := Shape{Packets: 8, Pad: 16, Size: 1400}
	for _, c := range []struct {
		name   string
		sizes  []int
		want   []int
		trains int
	}{
		{"a frame in parts that differ by one", []int{1199, 1199, 1200, 1200}, []int{1200, 1200, 1200, 1200}, 1},
		{"the larger ones first: the last is short by itself", []int{1200, 1200, 1199}, []int{1200, 1200, 1199}, 1},
		{"largest in the middle", []int{1190, 1200, 1195, 1193}, []int{1200, 1200, 1200, 1193}, 1},
		{"a short end", []int{1200, 1200, 80}, []int{1200, 1200, 80}, 1},
		{"a short end, and more", []int{1199, 1200, 80, 1200, 1199}, []int{1200, 1200, 80, 1200, 1199}, 2},
		{"one byte more than the bound", []int{1183, 1200}, []int{1183, 1200}, 2},
		{"exactly the bound", []int{1184, 1200}, []int{1200, 1200}, 1},
		{"the bound holds from the smallest to the largest", []int{1190, 1180, 1200, 1200}, []int{1190, 1180, 1200, 1200}, 2},
		{"one alone", []int{77}, []int{77}, 1},
		{"equal already", []int{900, 900, 900}, []int{900, 900, 900}, 1},
		{"no room for padding", []int{1400, 1401}, []int{1400, 1401}, 2},
		{"just room for padding", []int{1399, 1400}, []int{1400, 1400}, 1},
		{"a train is full", []int{99, 100, 99, 100, 99, 100, 99, 100, 99, 100}, []int{100, 100, 100, 100, 100, 100, 100, 100, 100, 100}, 2},
	} {
		if got, trains := levelled(shape, c.sizes...); !slices.Equal(got, c.want) || trains != c.trains {
			t.Errorf("%s: %v become %v in %d trains, want %v in %d", c.name, c.sizes, got, trains, c.want, c.trains)
		}
	}
}

// TestLevelShortTail: where trains must not end with a packet as long as the
// others, those grow by a byte.
func TestLevelShortTail(t *testing.T) {
	shape := Shape{Packets: 8, Pad: 16, Size: 1400, ShortTail: true}
	for _, c := range []struct{ sizes, want []int }{
		{[]int{1200, 1200, 1200}, []int{1201, 1201, 1200}},
		{[]int{1199, 1199, 1200}, []int{1201, 1201, 1200}},
		{[]int{1200, 1199, 1199}, []int{1200, 1200, 1199}},
		{[]int{1200, 1200, 80}, []int{1200, 1200, 80}},
		{[]int{1200}, []int{1200}},
		{[]int{1400, 1400}, []int{1400, 1400}}, // no room: the kernel gets them one by one
	} {
		if got, _ := levelled(shape, c.sizes...); !slices.Equal(got, c.want) {
			t.Errorf("%v become %v, want %v", c.sizes, got, c.want)
		}
	}
}

// TestLevelCountsExtensions: a packet with a header extension more is longer by
// whole words and a word of head.
func TestLevelCountsExtensions(t *testing.T) {
	r := New(16, 1<<16, math.MaxInt64, 0)
	for i, extLen := range []int{0, 3} {
		p, _ := r.Append(0, uint64(i+1), 100+extLen)
		p.ExtLen = uint16(extLen)
		r.Close(p, 100+extLen)
	}
	r.Level(0, 2, Shape{Packets: 8, Pad: 8, Size: 1400})
	if p, _ := r.At(0); p.Fill != 108 {
		t.Errorf("filled up to %d, want 108", p.Fill)
	}
}

// TestLevelNeverCostsTrains compares with the same packets as they are: there
// are never more trains, no packet grows by more than the bound, none shrinks.
func TestLevelNeverCostsTrains(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	saved := 0
	for range 3000 {
		sizes := make([]int, 1+r.IntN(40))
		for i := range sizes {
			sizes[i] = 1000 + r.IntN(1+r.IntN(60))
		}
		shape := Shape{Packets: 1 + r.IntN(20), Pad: 1 + r.IntN(40), Size: 1000 + r.IntN(100)}
		got, trains := levelled(shape, sizes...)
		_, without := levelled(Shape{Packets: shape.Packets, Size: 0}, sizes...)
		for i := range sizes {
			if got[i] < sizes[i] || got[i]-sizes[i] > shape.Pad || got[i] > max(shape.Size, sizes[i]) {
				t.Fatalf("%v becomes %v with %+v", sizes, got, shape)
			}
		}
		if trains > without {
			t.Fatalf("%v: %d trains as %v, %d without, with %+v", sizes, trains, got, without, shape)
		}
		saved += without - trains
	}
	if saved < 3000 {
		t.Errorf("%d trains saved", saved)
	}
}
