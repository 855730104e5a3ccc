package pkt

import "sluice/dataplane/internal/prefetch"

// Handle names a place in a Slab and which tenant it means. The zero Handle
// names nothing.
type Handle struct {
	index      uint32
	generation uint32
}

// Index returns the place, for arrays that stand beside the slab.
func (h Handle) Index() int { return int(h.index) }

// IsZero reports whether the handle names nothing.
func (h Handle) IsZero() bool { return h.generation == 0 }

// Slab holds up to a fixed number of T in memory that the caller gives, so that
// state can live in an arena and be handed over. T must hold no pointers. A
// handle of a freed place finds nothing, even when the place has a new tenant.
// Pointers returned by Get are good until Free. Not safe for concurrent use.
type Slab[T any] struct {
	items       []T
	generations []uint32 // odd: taken
	free        []uint32
	high        uint32 // places from here on were never used
}

// NewSlab returns a slab over items; its capacity is their number.
func NewSlab[T any](items []T) Slab[T] {
	return Slab[T]{items: items, generations: make([]uint32, len(items))}
}

// Alloc returns a zeroed place, or false when all are taken.
func (s *Slab[T]) Alloc() (Handle, *T, bool) {
	var i uint32
	switch {
	case len(s.free) > 0:
		i = s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
	case int(s.high) < len(s.items):
		i = s.high
		s.high++
	default:
		return Handle{}, nil, false
	}
	s.generations[i]++
	var zero T
	s.items[i] = zero
	return Handle{i, s.generations[i]}, &s.items[i], true
}

// Fetch has the processor get what h names, for a Get that comes soon.
//
//hot:path
func (s *Slab[T]) Fetch(h Handle) { prefetch.Of(&s.items[h.index]) }

// Get returns what h names, nil when that is gone.
//
//hot:path
func (s *Slab[T]) Get(h Handle) *T {
	if int(h.index) >= len(s.items) || s.generations[h.index] != h.generation || h.generation == 0 {
		return nil
	}
	return &s.items[h.index]
}

// Free gives the place back, zeroed: what it held may have been a key.
// Freeing a stale handle does nothing.
func (s *Slab[T]) Free(h Handle) {
	if p := s.Get(h); p != nil {
		var zero T
		*p = zero
		s.generations[h.index]++
		s.free = append(s.free, h.index)
	}
}

// Len returns how many places are taken.
func (s *Slab[T]) Len() int { return int(s.high) - len(s.free) }

// All calls f for every taken place; f may free the one it is called for.
func (s *Slab[T]) All(f func(Handle, *T)) {
	for i := range s.high {
		if s.generations[i]&1 == 1 {
			f(Handle{i, s.generations[i]}, &s.items[i])
		}
	}
}
