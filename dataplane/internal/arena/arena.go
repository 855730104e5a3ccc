// Package arena gives memory outside the Go heap for state that the collector
// need not know: slabs of structs without pointers, and buffers. Pages take no
// room before they are touched, nothing in them is in a core dump, and where the
// process may, they are locked: keys must not reach a swap device.
package arena

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// New returns zeroed memory of so many bytes, for the life of the process.
func New(bytes int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, bytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("mmap %d bytes: %w", bytes, err)
	}
	if err := unix.Madvise(memory, unix.MADV_DONTDUMP); err != nil {
		return nil, fmt.Errorf("madvise: %w", err)
	}
	lock(memory)
	return memory, nil
}

// mlockOnFault is MLOCK_ONFAULT of mlock2(2): pages are locked when they are
// touched, so that what is never used takes no memory.
const mlockOnFault = 1

// lock locks the pages. Without CAP_IPC_LOCK, RLIMIT_MEMLOCK may forbid it; then
// a box that swaps may write keys to its swap device, and everything else works.
func lock(memory []byte) {
	_, _, _ = unix.Syscall(unix.SYS_MLOCK2, address(memory), uintptr(len(memory)), mlockOnFault)
}

// Free gives memory back to the system.
func Free(memory []byte) error { return unix.Munmap(memory) }
