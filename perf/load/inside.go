package load

import "time"

// Inside is what a server tells of itself since it started.
type Inside struct {
	Latency Buckets
	Work    time.Duration // what its loops took, sleeping and being woken apart
}

// Buckets is how long packets took inside a server, as it tells itself: from the kernel's receive stamp to the return of the call
// that sent them, once for each viewer.
type Buckets struct {
	Edges  []int    // µs, ascending
	Counts []uint64 // of packets up to each edge, and one more of those above
}

// since is what came after an earlier reading.
func (b Buckets) since(earlier Buckets) Buckets {
	later := Buckets{Edges: b.Edges, Counts: make([]uint64, len(b.Counts))}
	for i, n := range b.Counts {
		later.Counts[i] = n
		if i < len(earlier.Counts) {
			later.Counts[i] -= earlier.Counts[i]
		}
	}
	return later
}

// quantile is the q-quantile in ms, in even spacing between the edges around it; 0 when nothing was counted, and the last edge when
// it is above.
func (b Buckets) quantile(q float64) float64 {
	var total uint64
	for _, n := range b.Counts {
		total += n
	}
	rank, below, lower := q*float64(total), 0.0, 0.0
	for i, edge := range b.Edges {
		n := float64(b.Counts[i])
		if n > 0 && below+n >= rank {
			return (lower + (float64(edge)-lower)*(rank-below)/n) / 1000
		}
		below, lower = below+n, float64(edge)
	}
	if total == 0 {
		return 0
	}
	return lower / 1000
}

// inside reads the target's own figures; none when it does not tell.
func (b *Bench) inside() (Inside, error) {
	if b.target.Inside == nil {
		return Inside{}, nil
	}
	return b.target.Inside()
}
