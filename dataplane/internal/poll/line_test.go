package poll

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// Threads that look whether the owner sleeps do not take from it the lines that it
// writes, nor does going to sleep take from them those that they read.
func TestNoLineIsShared(t *testing.T) {
	const line = unsafe.Sizeof(cpu.CacheLinePad{})
	var p Poller
	before := unsafe.Offsetof(p.state) - unsafe.Offsetof(p.timer) - unsafe.Sizeof(p.timer)
	after := unsafe.Offsetof(p.armed) - unsafe.Offsetof(p.state) - unsafe.Sizeof(p.state)
	if before < line || after < line {
		t.Errorf("%d bytes before the state and %d after it, a cache line has %d", before, after, line)
	}
}
