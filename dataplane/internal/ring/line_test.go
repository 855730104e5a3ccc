package ring

import (
	"testing"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// What one side writes lies on no cache line of what the other side, or both,
// read: else every item would cost both of them that line.
func TestNoLineIsShared(t *testing.T) {
	const line = unsafe.Sizeof(cpu.CacheLinePad{})
	var r SPSC[int]
	for _, gap := range []struct {
		between  string
		from, to uintptr
	}{
		{"items and tail", unsafe.Offsetof(r.items) + unsafe.Sizeof(r.items), unsafe.Offsetof(r.tail)},
		{"seenHead and head", unsafe.Offsetof(r.seenHead) + unsafe.Sizeof(r.seenHead), unsafe.Offsetof(r.head)},
		{"seenTail and what follows", unsafe.Offsetof(r.seenTail) + unsafe.Sizeof(r.seenTail), unsafe.Sizeof(r)},
	} {
		if gap.from+line > gap.to {
			t.Errorf("between %s are %d bytes, a cache line has %d", gap.between, gap.to-gap.from, line)
		}
	}
}
