// Package histogram counts durations in buckets whose width grows with the
// value, 32 to each doubling, so that every quantile read from it is within 2 %
// of the exact one. It is flat: no pointers, no memory of its own, made to lie
// in whatever counts.
package histogram

import (
	"math/bits"
	"time"
)

// subBits is the resolution: 2^subBits buckets a doubling. A bucket is at most
// 1/32 of its lower edge wide, and its middle at most 1/64 (1.6 %) away from
// whatever fell into it.
const subBits = 5

// maxBits bounds what is told apart: 2^36 ns are 69 s. What lasts longer counts
// as that.
const maxBits = 36

const buckets = (maxBits - subBits + 1) << subBits

// Histogram counts durations from 0 to 69 s. The zero value is empty. Not safe
// for concurrent use: its owner copies it for others.
type Histogram struct {
	counts [buckets]uint64
	sum    uint64 // nanoseconds
}

// Record counts n times the duration d; one below zero counts as zero.
//
//hot:path
func (h *Histogram) Record(d time.Duration, n uint64) {
	v := min(uint64(max(d, 0)), 1<<maxBits-1)
	h.counts[bucket(v)] += n
	h.sum += v * n
}

// Merge adds what o counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, n := range o.counts {
		h.counts[i] += n
	}
	h.sum += o.sum
}

// Count returns how many durations were counted.
func (h *Histogram) Count() uint64 {
	var total uint64
	for _, n := range h.counts {
		total += n
	}
	return total
}

// Sum returns the sum of all durations.
func (h *Histogram) Sum() time.Duration { return time.Duration(h.sum) }

// Quantile returns the duration that the share q of all that was counted, from
// 0 to 1, does not exceed (nearest rank), within 1.6 %; 0 of an empty histogram.
func (h *Histogram) Quantile(q float64) time.Duration {
	total := h.Count()
	rank := min(uint64(q*float64(total)), max(total, 1)-1) // counted from 0
	var below uint64
	for i, n := range h.counts {
		if below += n; below > rank {
			return middle(i)
		}
	}
	return 0
}

// Each calls f for every bucket that is not empty, shortest first, with the
// duration in its middle.
func (h *Histogram) Each(f func(d time.Duration, n uint64)) {
	for i, n := range h.counts {
		if n > 0 {
			f(middle(i), n)
		}
	}
}

// bucket maps values below 2^(subBits+1) to themselves; above, the top
// subBits+1 bits of the value select the bucket.
//
//hot:path
func bucket(v uint64) int {
	octave := max(bits.Len64(v)-subBits-1, 0)
	return octave<<subBits + int(v>>octave)
}

// middle is the value in the middle of a bucket.
func middle(i int) time.Duration {
	octave := max(i>>subBits-1, 0)
	lowest := uint64(i-octave<<subBits) << octave
	return time.Duration(lowest + (1<<octave-1)/2)
}
