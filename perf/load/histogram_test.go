package load

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The oracle is the sorted list itself.
func TestQuantiles(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, size := range []int{1, 2, 3, 10, 999, 20000} {
		var h histogram
		list := make([]time.Duration, size)
		for i := range list {
			list[i] = time.Duration(1) << random.IntN(40)
			list[i] += time.Duration(random.Int64N(int64(list[i])))
			h.add(list[i])
		}
		slices.Sort(list)
		for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
			rank := int(q*float64(size) + 0.999999)
			want := list[min(max(rank, 1), size)-1]
			got := h.quantile(q)
			if got < want || float64(got) > float64(want)*1.008 {
				t.Errorf("%d values, q %g: %d, want %d to %.0f", size, q, got, want, float64(want)*1.008)
			}
		}
		if h.max != list[size-1] || h.total != uint64(size) {
			t.Errorf("%d values: max %v, total %d", size, h.max, h.total)
		}
	}
}

func TestQuantileOfNothing(t *testing.T) {
	var h histogram
	if got := h.quantile(0.99); got != 0 {
		t.Fatalf("quantile is %v", got)
	}
}

func TestNegativeDurationCountsAsZero(t *testing.T) {
	var h histogram
	h.add(-5)
	if h.total != 1 || h.quantile(1) != 0 {
		t.Fatalf("total %d, maximum %v", h.total, h.quantile(1))
	}
}

func TestBucketEdges(t *testing.T) {
	for i := range len(histogram{}.counts) {
		edge := upperEdge(i)
		if bucket(edge) != i {
			t.Fatalf("upper edge %d of bucket %d is in bucket %d", edge, i, bucket(edge))
		}
		if edge != 1<<64-1 && bucket(edge+1) != i+1 {
			t.Fatalf("%d is in bucket %d, want %d", edge+1, bucket(edge+1), i+1)
		}
		if edge == 1<<64-1 {
			break
		}
	}
}
