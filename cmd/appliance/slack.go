package main

import (
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/netopt/host"
)

// timerSlack is how much later than asked for the kernel may wake a thread (prctl(2),
// PR_SET_TIMERSLACK). The Go runtime's monitor thread wakes with every sleeping shard
// that gets to work, and every 20 µs for a while, to look for threads that block:
// with the kernel's default of 50 µs that is a sixth of the CPU time of a shard that
// forwards to 100 viewers. Looking every few milliseconds does, and for the monitor even
// less (host.RelaxMonitor): while it waits, no shard has to wake it.
// Shards sleep by a timer that knows no slack (package poll).
const timerSlack = 4 * time.Millisecond

// relaxTimers starts the program again with timerSlack, unless it has it: threads
// inherit it when they are made, and the monitor is made before any code of ours
// runs. Where the kernel does not let us, everything works as well, at a higher cost.
func relaxTimers() {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if slack, err := unix.PrctlRetInt(unix.PR_GET_TIMERSLACK, 0, 0, 0, 0); err != nil || slack >= int(timerSlack) {
		host.RelaxMonitor()
		return
	}
	if unix.Prctl(unix.PR_SET_TIMERSLACK, uintptr(timerSlack), 0, 0, 0) != nil {
		return
	}
	_ = syscall.Exec("/proc/self/exe", os.Args, syscall.Environ())
}
