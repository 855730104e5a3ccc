package poll

import (
	"syscall"
	"unsafe" // for go:linkname, and the pointer that the kernel fills

	"golang.org/x/sys/unix"
)

// The runtime's own way into a system call that is known to block: the
// processor (P) is handed on at once. By the usual way, which bets on a short
// call, the runtime's monitor thread has to take it away, polling in steps of
// 20 us meanwhile, each time a shard goes to sleep: docs/design/0006. These two
// are kept linkable by the runtime (proc.go, go.dev/issue/67401).

//go:linkname entersyscallblock runtime.entersyscallblock
func entersyscallblock()

//go:linkname exitsyscall runtime.exitsyscall
func exitsyscall()

// wait is epoll_pwait(2) without end. Between the two calls nothing may grow the
// stack or be watched by the race detector.
//
//go:nosplit
//go:norace
func wait(epoll int, events *unix.EpollEvent, n int) (got uintptr, errno syscall.Errno) {
	entersyscallblock()
	got, _, errno = syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(epoll), uintptr(unsafe.Pointer(events)), uintptr(n), ^uintptr(0), 0, 0)
	exitsyscall()
	return got, errno
}
