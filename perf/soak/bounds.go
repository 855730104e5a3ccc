package main

import (
	"fmt"
	"slices"

	"sluice/perf/load"
)

// Memory may grow by a twentieth and 4 MiB: about what the heap of a Go program swings between two collections when it is small.
const (
	growthShare = 20
	growthBytes = 4 << 20
)

func checkLoss(c load.Counts) error {
	if c.Lost == 0 && c.Worst == 0 && c.Corrupt == 0 && c.Duplicates == 0 {
		return nil
	}
	return fmt.Errorf("steady viewers: %d packets lost, %d by one of them, %d corrupt, %d duplicates, %d dropped by the generator",
		c.Lost, c.Worst, c.Corrupt, c.Duplicates, c.GeneratorDrops)
}

// checkMemory compares the peaks of the second and the last quarter; the first one is warm-up.
func checkMemory(samples []int64) error {
	quarter := len(samples) / 4
	if quarter == 0 {
		return nil
	}
	early := slices.Max(samples[quarter : 2*quarter])
	late := slices.Max(samples[len(samples)-quarter:])
	if late-early > early/growthShare+growthBytes {
		return fmt.Errorf("memory grew from %.1f to %.1f MiB", float64(early)/(1<<20), float64(late)/(1<<20))
	}
	return nil
}
