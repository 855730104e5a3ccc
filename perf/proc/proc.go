// Package proc reads what a process costs from the kernel, and runs the servers that are measured.
package proc

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tick is the unit of CPU times in /proc (USER_HZ, 100 on every Linux port that matters).
const tick = 10 * time.Millisecond

// CPU is how much processor time a process has used.
type CPU struct {
	Total     time.Duration // exact, of all its threads, those that have ended included
	User, Sys time.Duration // as split by the kernel's ticks: good for a share, not for a sum
}

// Sub is what was used since an earlier reading.
func (c CPU) Sub(earlier CPU) CPU {
	return CPU{c.Total - earlier.Total, c.User - earlier.User, c.Sys - earlier.Sys}
}

// UserShare is the part of the time spent outside the kernel, 0 to 1; 0 when no tick fell into it.
func (c CPU) UserShare() float64 {
	if c.User+c.Sys == 0 {
		return 0
	}
	return float64(c.User) / float64(c.User+c.Sys)
}

// ReadCPU reads the CPU time of a process.
func ReadCPU(pid int) (CPU, error) {
	// The clock id of a process is made from its pid (clock_getcpuclockid(3)); 2 is CPUCLOCK_SCHED (linux/posix-timers.h), the
	// scheduler's own nanoseconds. /proc/PID/stat has only ticks, schedstat only the threads that still live.
	const cpuclockSched = 2
	var ts unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|cpuclockSched), &ts); err != nil {
		return CPU{}, fmt.Errorf("CPU clock of process %d: %w", pid, err)
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return CPU{}, err
	}
	user, sys, err := parseStat(stat)
	return CPU{Total: time.Duration(ts.Nano()), User: user, Sys: sys}, err
}

// parseStat takes fields 14 and 15 of /proc/PID/stat (proc_pid_stat(5)); the command in field 2 may hold anything, even blanks.
func parseStat(stat []byte) (user, sys time.Duration, err error) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	if len(fields) < 13 {
		return 0, 0, fmt.Errorf("/proc/PID/stat has %d fields after the command, want at least 13", len(fields))
	}
	u, err := strconv.ParseInt(fields[11], 10, 64)
	if err != nil {
		return 0, 0, err
	}
	s, err := strconv.ParseInt(fields[12], 10, 64)
	return time.Duration(u) * tick, time.Duration(s) * tick, err
}

// MachineCPU is the busy time of all CPUs since boot, steal left out (/proc/stat, proc_stat(5)).
func MachineCPU() (time.Duration, error) {
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, err
	}
	return parseMachine(string(text))
}

func parseMachine(text string) (time.Duration, error) {
	line, _, _ := strings.Cut(text, "\n")
	fields := strings.Fields(line)
	if len(fields) < 8 || fields[0] != "cpu" {
		return 0, fmt.Errorf("/proc/stat starts with %q, want the line of all CPUs", line)
	}
	var busy int64
	for _, i := range []int{1, 2, 3, 6, 7} { // user, nice, system, irq, softirq
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0, err
		}
		busy += n
	}
	return time.Duration(busy) * tick, nil
}

// RSS is the resident memory of a process in bytes.
func RSS(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	return parseRSS(string(text))
}

func parseRSS(status string) (int64, error) {
	_, after, ok := strings.Cut(status, "VmRSS:")
	if !ok {
		return 0, fmt.Errorf("no VmRSS: the process has ended")
	}
	var kib int64
	_, err := fmt.Sscanf(after, "%d kB", &kib)
	return kib << 10, err
}

// FDs is how many file descriptors a process has open.
func FDs(pid int) (int, error) {
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(list), err
}
