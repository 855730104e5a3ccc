package load

import (
	"math"
	"testing"
)

func TestBuckets(t *testing.T) {
	before := Buckets{Edges: []int{100, 200, 400}, Counts: []uint64{5, 0, 0, 1}}
	b := Buckets{Edges: before.Edges, Counts: []uint64{15, 80, 10, 1}}.since(before)
	for q, want := range map[float64]float64{0.05: 0.05, 0.1: 0.1, 0.5: 0.15, 0.9: 0.2, 0.95: 0.3, 1: 0.4} {
		if got := b.quantile(q); math.Abs(got-want) > 1e-9 {
			t.Errorf("the %g-quantile is %g ms, want %g", q, got, want)
		}
	}
	if got := before.since(Buckets{}).quantile(1); got != 0.4 {
		t.Errorf("what is above the last edge is %g ms", got)
	}
	if got := (Buckets{}).quantile(0.5); got != 0 {
		t.Errorf("nothing takes %g ms", got)
	}
}
