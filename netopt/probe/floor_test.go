package probe

import (
	"slices"
	"testing"
	"time"
)

func TestFloor(t *testing.T) {
	samples, err := Floor(50)
	if err != nil {
		t.Fatal(err)
	}
	if len(samples) != 50 || !slices.IsSorted(samples) || samples[0] <= 0 || samples[49] > time.Minute {
		t.Errorf("%v", samples)
	}
}

func TestQuantile(t *testing.T) {
	samples := make([]time.Duration, 200)
	for i := range samples {
		samples[i] = time.Duration(i + 1)
	}
	for permille, want := range map[int]time.Duration{1: 1, 5: 1, 6: 2, 500: 100, 990: 198, 995: 199, 1000: 200} {
		if got := Quantile(samples, permille); got != want {
			t.Errorf("%d of a thousand: %d, want %d", permille, got, want)
		}
	}
	if got := Quantile(samples[:1], 1); got != 1 {
		t.Error(got)
	}
}
