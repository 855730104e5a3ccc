package shard

import (
	"reflect"
	"slices"
	"testing"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// What other threads read of a shard lies on no cache line that its loop writes.
func TestNoLineIsShared(t *testing.T) {
	const line = unsafe.Sizeof(cpu.CacheLinePad{})
	read := []string{"poller", "inbox", "commands", "events", "stop", "done"}
	var readTo, writtenFrom uintptr
	writtenFrom = unsafe.Sizeof(Shard{})
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Shard]()) {
		switch {
		case f.Name == "_":
		case slices.Contains(read, f.Name):
			readTo = max(readTo, f.Offset+f.Type.Size())
			if f.Offset < line {
				t.Errorf("%s is %d bytes from what lies before the shard", f.Name, f.Offset)
			}
		default:
			writtenFrom = min(writtenFrom, f.Offset)
		}
	}
	if readTo+line > writtenFrom {
		t.Errorf("others read up to %d, the loop writes from %d on", readTo, writtenFrom)
	}
}
