// Package ring passes messages from one shard to another without locks.
package ring

import (
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// SPSC is a bounded queue between exactly one producer and one consumer. Items
// are written and read in place. The two counters are a cache line apart, and
// each side reads the other's only when its own copy says full or empty.
type SPSC[T any] struct {
	items []T

	_        cpu.CacheLinePad
	tail     atomic.Uint64 // next to be written
	seenHead uint64        // producer's copy of head
	_        cpu.CacheLinePad
	head     atomic.Uint64 // next to be read
	seenTail uint64        // consumer's copy of tail
	_        cpu.CacheLinePad
}

// New returns a ring for a power of two of items.
func New[T any](size int) *SPSC[T] { return &SPSC[T]{items: make([]T, size)} }

// Reserve returns the place of the next item, nil when the ring is full.
//
//hot:path
func (r *SPSC[T]) Reserve() *T {
	tail := r.tail.Load()
	if tail-r.seenHead == uint64(len(r.items)) {
		if r.seenHead = r.head.Load(); tail-r.seenHead == uint64(len(r.items)) {
			return nil
		}
	}
	return &r.items[tail&uint64(len(r.items)-1)]
}

// Publish gives the reserved item to the consumer.
//
//hot:path
func (r *SPSC[T]) Publish() { r.tail.Store(r.tail.Load() + 1) }

// Peek returns the oldest item, nil when there is none.
//
//hot:path
func (r *SPSC[T]) Peek() *T {
	head := r.head.Load()
	if head == r.seenTail {
		if r.seenTail = r.tail.Load(); head == r.seenTail {
			return nil
		}
	}
	return &r.items[head&uint64(len(r.items)-1)]
}

// Len returns how many items wait. It is for the consumer.
func (r *SPSC[T]) Len() int { return int(r.tail.Load() - r.head.Load()) }

// Release gives the place that Peek returned back to the producer.
//
//hot:path
func (r *SPSC[T]) Release() { r.head.Store(r.head.Load() + 1) }
