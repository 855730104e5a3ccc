package prefetch

import "unsafe"

// lines fetches size bytes from p on, one at least.
//
//go:noescape
func lines(p unsafe.Pointer, size int)
