package pkt

import "unsafe"

// Place returns n zeroed Ts in memory that the given function hands out, such
// as an arena's. T must hold no pointers: the collector does not look there. The
// memory must be zeroed and aligned for T, as that of make and mmap is.
func Place[T any](memory func(bytes int) []byte, n int) []T {
	var t T
	b := memory(n * int(unsafe.Sizeof(t)))
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(b))), n)
}
