package load

import (
	"math/bits"
	"time"
)

// subBits sets the resolution: 2^7 buckets an octave, so a quantile is at most 0.8 % too high.
const subBits = 7

// histogram counts durations in buckets whose width grows with the value. The zero value is ready.
type histogram struct {
	counts [(64 - subBits + 1) << subBits]uint64
	total  uint64
	sum    time.Duration
	max    time.Duration
}

// add counts a duration; one below zero counts as zero.
func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(uint64(d))]++
	h.total++
	h.sum += d
	h.max = max(h.max, d)
}

// quantile returns the upper edge of the bucket that holds the q-quantile (nearest rank), never more than the maximum; q from 0
// to 1. It is 0 when nothing was counted.
func (h *histogram) quantile(q float64) time.Duration {
	rank := uint64(q*float64(h.total) + 0.999999)
	rank = min(max(rank, 1), h.total)
	var below uint64
	for i, n := range h.counts {
		below += n
		if n > 0 && below >= rank {
			return min(time.Duration(upperEdge(i)), h.max)
		}
	}
	return 0
}

// mean is exact; 0 when nothing was counted.
func (h *histogram) mean() time.Duration { return h.sum / time.Duration(max(h.total, 1)) }

// cdfPoints is how many points of the distribution a report has.
const cdfPoints = 100

// cdf samples the distribution evenly and, where few packets are left, ever closer to 1; nil when nothing was counted.
func (h *histogram) cdf() (points [][2]float64) {
	if h.total == 0 {
		return nil
	}
	add := func(q float64) { points = append(points, [2]float64{ms(h.quantile(q)), q}) }
	for i := 1; i < cdfPoints; i++ {
		add(float64(i) / cdfPoints)
	}
	for _, q := range []float64{0.995, 0.999, 0.9995, 0.9999, 1} {
		add(q)
	}
	return points
}

// bucket maps values below 2^subBits to themselves; above, the top subBits+1 bits of the value select the bucket.
func bucket(v uint64) int {
	octave := max(bits.Len64(v)-subBits-1, 0)
	return octave<<subBits + int(v>>octave)
}

// upperEdge is the largest value in a bucket.
func upperEdge(i int) uint64 {
	octave := max(i>>subBits-1, 0)
	return uint64(i-octave<<subBits+1)<<octave - 1
}
