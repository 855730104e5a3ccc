package simnet

import "time"

// Rand is a small seeded generator (splitmix64): what it gives never changes
// between releases of anything, so that a seed in a report stays good.
type Rand struct{ state uint64 }

// NewRand returns a generator for a seed.
func NewRand(seed uint64) *Rand {
	r := &Rand{seed}
	r.Uint64()
	return r
}

// Uint64 returns 64 random bits.
func (r *Rand) Uint64() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// IntN returns a number from 0 to n-1; n is above 0.
func (r *Rand) IntN(n int) int { return int(r.Uint64() % uint64(n)) }

// Chance is true with probability p.
func (r *Rand) Chance(p float64) bool {
	return p > 0 && float64(r.Uint64()>>11)/(1<<53) < p
}

// Duration returns a duration from 0 to d.
func (r *Rand) Duration(d time.Duration) time.Duration {
	if d <= 0 {
		return 0
	}
	return time.Duration(r.Uint64() % uint64(d+1))
}

// Fill fills b.
func (r *Rand) Fill(b []byte) {
	for i := range b {
		b[i] = byte(r.Uint64())
	}
}
