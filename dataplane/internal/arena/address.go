package arena

import "unsafe"

// address returns where memory lies; it is mapped, so it does not move.
func address(memory []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(memory))) }
