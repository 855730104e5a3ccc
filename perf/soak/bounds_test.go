package main

import (
	"testing"

	"sluice/perf/load"
)

func TestCheckLoss(t *testing.T) {
	if err := checkLoss(load.Counts{Sent: 10, Delivered: 10, Reordered: 1}); err != nil {
		t.Error(err)
	}
	for name, c := range map[string]load.Counts{
		"lost": {Lost: 1, Worst: 1}, "one lost, another got a copy": {Lost: 0, Worst: 1}, "extra": {Lost: -1}, "corrupt": {Corrupt: 1},
		"duplicate": {Duplicates: 1},
	} {
		if checkLoss(c) == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestCheckMemory(t *testing.T) {
	const m = 1 << 20
	for _, c := range []struct {
		name    string
		samples []int64
		ok      bool
	}{
		{"too short to tell", []int64{1 * m, 50 * m, 100 * m}, true},
		{"flat", []int64{40 * m, 40 * m, 40 * m, 40 * m}, true},
		{"warm-up does not count", []int64{1 * m, 40 * m, 40 * m, 40 * m}, true},
		{"just within", []int64{40 * m, 40 * m, 40 * m, 46 * m}, true},
		{"just above", []int64{40 * m, 40 * m, 40 * m, 46*m + 1}, false},
		{"peaks count", []int64{40 * m, 40 * m, 40 * m, 45 * m, 40 * m, 40 * m, 40 * m, 40 * m, 20 * m, 20 * m, 20 * m, 60 * m}, false},
	} {
		if err := checkMemory(c.samples); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
