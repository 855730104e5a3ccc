// Package prefetch has the processor bring memory into its cache while it does
// something else. Nothing else happens: what is named is not looked at.
package prefetch

import "unsafe"

// Of fetches a value.
//
//hot:path
func Of[T any](p *T) { lines(unsafe.Pointer(p), int(unsafe.Sizeof(*p))) }

// Whole fetches a T that begins with what first points to, or as much from there on.
//
//hot:path
func Whole[T, F any](first *F) {
	var whole T
	lines(unsafe.Pointer(first), int(unsafe.Sizeof(whole)))
}
