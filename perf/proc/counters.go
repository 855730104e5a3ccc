package proc

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Counters count the cycles and instructions of a process, in and outside the kernel (perf_event_open(2)).
type Counters struct{ fds [2][]int }

// events in the order of Counters.
var events = [2]uint64{unix.PERF_COUNT_HW_CPU_CYCLES, unix.PERF_COUNT_HW_INSTRUCTIONS}

// OpenCounters starts to count on all threads of a process and those that they start. It fails where the machine has no such
// counters, as most virtual machines, or does not give them to us.
func OpenCounters(pid int) (*Counters, error) {
	threads, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		return nil, err
	}
	c := &Counters{}
	for _, t := range threads {
		tid, err := strconv.Atoi(t.Name())
		if err == nil {
			err = c.open(tid)
		}
		if err != nil && !errors.Is(err, unix.ESRCH) { // a thread that has just ended
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

func (c *Counters) open(tid int) error {
	for i, event := range events {
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_HARDWARE, Config: event, Bits: unix.PerfBitInherit}
		attr.Size = uint32(unsafe.Sizeof(attr))
		fd, err := unix.PerfEventOpen(&attr, tid, -1, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return os.NewSyscallError("perf_event_open", err)
		}
		c.fds[i] = append(c.fds[i], fd)
	}
	return nil
}

// Read is what was counted so far.
func (c *Counters) Read() (cycles, instructions uint64, err error) {
	var sums [2]uint64
	for i, fds := range c.fds {
		for _, fd := range fds {
			var value [8]byte
			if _, err := unix.Read(fd, value[:]); err != nil {
				return 0, 0, os.NewSyscallError("read", err)
			}
			sums[i] += binary.NativeEndian.Uint64(value[:])
		}
	}
	return sums[0], sums[1], nil
}

// Close stops counting.
func (c *Counters) Close() {
	for _, fds := range c.fds {
		for _, fd := range fds {
			unix.Close(fd)
		}
	}
}
