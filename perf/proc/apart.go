package proc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// Apart gives a server a processor to itself, as on a machine that does nothing else: the last one of those that this process may use.
// What within starts through apart runs there, and this process on the others until together is called. It fails where there is
// only one.
func Apart(within func(start func() error) error) (apart func(start func() error) error, together func() error, err error) {
	var all unix.CPUSet
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return nil, nil, os.NewSyscallError("sched_getaffinity", err)
	}
	if all.Count() < 2 {
		return nil, nil, errors.New("a processor apart: want two at least")
	}
	others, own := all, unix.CPUSet{}
	own.Set(last(&all))
	others.Clear(last(&all))
	if err := confine(os.Getpid(), &others); err != nil {
		return nil, nil, err
	}
	apart = func(start func() error) error {
		return within(func() error {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			// A process begins with the processors of the thread that starts it.
			err := unix.SchedSetaffinity(0, &own)
			if err == nil {
				err = start()
			}
			return errors.Join(err, unix.SchedSetaffinity(0, &others))
		})
	}
	return apart, func() error { return confine(os.Getpid(), &all) }, nil
}

func last(set *unix.CPUSet) int {
	cpu := len(set)*strconv.IntSize - 1
	for ; !set.IsSet(cpu); cpu-- {
	}
	return cpu
}

// confine lets the threads of a process run on some processors only, and so those that they start.
func confine(pid int, set *unix.CPUSet) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return err
	}
	for _, path := range threads {
		tid, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(tid, set); err != nil && err != unix.ESRCH { // one that has just ended
			return os.NewSyscallError("sched_setaffinity", err)
		}
	}
	return nil
}
