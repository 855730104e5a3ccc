package histogram

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// limit is the error that the package promises.
const limit = 0.02

func near(t *testing.T, what string, got, want time.Duration) {
	t.Helper()
	if math.Abs(float64(got-want)) > limit*float64(want) {
		t.Errorf("%s: %v, exactly %v", what, got, want)
	}
}

// Against exact quantiles, over distributions of very different shape.
func TestQuantilesAreWithinTwoPercent(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for name, draw := range map[string]func() time.Duration{
		"exponential": func() time.Duration { return time.Duration(random.ExpFloat64() * 150e3) },
		"log-uniform": func() time.Duration { return time.Duration(math.Exp(random.Float64() * math.Log(60e9))) },
		"two humps": func() time.Duration {
			return time.Duration(40e3 + 20e6*float64(random.IntN(2)) + random.NormFloat64()*3e3)
		},
		"a constant":   func() time.Duration { return 123456 },
		"a few nanos":  func() time.Duration { return time.Duration(random.IntN(100)) },
		"around edges": func() time.Duration { return time.Duration(1<<random.IntN(36) - random.IntN(2)) },
	} {
		var h Histogram
		values := make([]time.Duration, 20001)
		var sum time.Duration
		for i := range values {
			values[i] = max(draw(), 0)
			h.Record(values[i], 1)
			sum += values[i]
		}
		slices.Sort(values)
		for _, q := range []float64{0, 0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1} {
			near(t, name, h.Quantile(q), values[min(int(q*float64(len(values))), len(values)-1)])
		}
		if h.Count() != uint64(len(values)) || h.Sum() != sum {
			t.Errorf("%s: count %d, sum %v, want %d and %v", name, h.Count(), h.Sum(), len(values), sum)
		}
	}
}

// Each value falls into a bucket whose middle is near, and buckets are in order.
func TestBucketsCoverTheRange(t *testing.T) {
	for v := uint64(0); v < 1<<maxBits; v += v/97 + 1 {
		near(t, "bucket", middle(bucket(v)), time.Duration(v))
	}
	for i := range buckets {
		if bucket(uint64(middle(i))) != i {
			t.Fatalf("the middle of bucket %d lies in bucket %d", i, bucket(uint64(middle(i))))
		}
	}
	if bucket(1<<maxBits-1) != buckets-1 {
		t.Error("the last bucket is never used, or there is none for the largest value")
	}
}

func TestExtremes(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Count() != 0 {
		t.Error("an empty histogram has a quantile")
	}
	h.Record(-time.Second, 1)
	h.Record(time.Hour, 2)
	if h.Quantile(0) != 0 {
		t.Errorf("a negative duration counts as %v", h.Quantile(0))
	}
	near(t, "an hour", h.Quantile(1), 1<<maxBits)
}

func TestMergeIsAsRecordingTogether(t *testing.T) {
	var a, b, both, merged Histogram
	for i := range 1000 {
		d := time.Duration(i*i) * time.Microsecond
		part := &a
		if i%3 == 0 {
			part = &b
		}
		part.Record(d, 3)
		both.Record(d, 3)
	}
	merged.Merge(&a)
	merged.Merge(&b)
	if merged != both {
		t.Error("merging two parts differs from counting in one")
	}
	var total uint64
	last := time.Duration(-1)
	merged.Each(func(d time.Duration, n uint64) {
		if d <= last {
			t.Errorf("%v after %v", d, last)
		}
		last, total = d, total+n
	})
	if total != merged.Count() {
		t.Errorf("Each saw %d of %d", total, merged.Count())
	}
}

func TestRecordAllocatesNothing(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Record(time.Millisecond, 2) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkRecord(b *testing.B) {
	var h Histogram
	d := time.Duration(1)
	for b.Loop() {
		h.Record(d, 1)
		d = d*5&(1<<30-1) + 7
	}
}
