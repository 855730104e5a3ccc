package proc

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// Effort is what a process has done so far.
type Effort struct {
	CPU       CPU
	Waits     int64 // for which its threads that still live gave up their processor
	Preempted int64 // times that it was taken from them
	Faults    int64 // of pages that no disk was read for
}

// Sub is what was done since an earlier reading.
func (e Effort) Sub(earlier Effort) Effort {
	return Effort{e.CPU.Sub(earlier.CPU), e.Waits - earlier.Waits, e.Preempted - earlier.Preempted, e.Faults - earlier.Faults}
}

// ReadEffort reads the effort of a process (proc_pid_status(5), proc_pid_stat(5)).
func ReadEffort(pid int) (e Effort, err error) {
	if e.CPU, err = ReadCPU(pid); err != nil {
		return e, err
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return e, err
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if e.Faults, err = strconv.ParseInt(string(fields[7]), 10, 64); err != nil {
		return e, err
	}
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil {
		return e, err
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has just ended
		}
		e.Waits += switches(text, "\nvoluntary_ctxt_switches:")
		e.Preempted += switches(text, "\nnonvoluntary_ctxt_switches:")
	}
	return e, nil
}

func switches(status []byte, name string) (n int64) {
	_, after, _ := bytes.Cut(status, []byte(name))
	fmt.Sscan(string(after), &n)
	return n
}
