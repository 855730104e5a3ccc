package main

import (
	"fmt"
	"os/exec"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// trace runs a command until its nth call of the function at begin, steps from there to the next call of the function at end, ends it,
// and returns the addresses of the instructions executed, in order (ptrace(2)).
func trace(cmd *exec.Cmd, begin, end uint64, nth int) ([]uint64, error) {
	runtime.LockOSThread() // the kernel knows a tracer by its thread
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	defer stop(cmd)
	t := tracer{process: cmd.Process.Pid}
	var status unix.WaitStatus
	if _, err := unix.Wait4(t.process, &status, 0, nil); err != nil { // it stops at exec
		return nil, err
	}
	if err := unix.PtraceSetOptions(t.process, unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL); err != nil {
		return nil, err
	}
	if err := t.set(t.process, begin); err != nil {
		return nil, err
	}
	if err := unix.PtraceCont(t.process, 0); err != nil {
		return nil, err
	}
	thread := 0
	for range nth {
		var err error
		if thread != 0 {
			if err := t.pass(thread, begin); err != nil {
				return nil, err
			}
		}
		if thread, err = t.await(begin); err != nil {
			return nil, err
		}
	}
	return t.count(thread, end)
}

// stop ends the process. It is gone when all of its threads, which are ours while we trace them, have been waited for.
func stop(cmd *exec.Cmd) {
	cmd.Process.Kill()
	for err := error(nil); err == nil || err == unix.EINTR; {
		_, err = unix.Wait4(-1, nil, unix.WALL, nil)
	}
	cmd.Wait() // finds nothing, and closes what belongs to cmd
}

// tracer holds a traced process. While it steps through one thread, the others run.
type tracer struct {
	process  int
	original byte // under the breakpoint
}

// breakpoint is the instruction int3.
const breakpoint = 0xcc

// set puts a breakpoint; the thread is any that has stopped.
func (t *tracer) set(thread int, address uint64) error {
	var b [1]byte
	if _, err := unix.PtracePeekText(thread, uintptr(address), b[:]); err != nil {
		return fmt.Errorf("read at %#x: %w", address, err)
	}
	t.original = b[0]
	_, err := unix.PtracePokeText(thread, uintptr(address), []byte{breakpoint})
	return err
}

// await lets all threads run until one comes to the breakpoint, and leaves that one before it.
func (t *tracer) await(address uint64) (thread int, err error) {
	for {
		thread, status, err := wait()
		if err != nil {
			return 0, err
		}
		if status.Stopped() && status.StopSignal() == unix.SIGTRAP && status.TrapCause() <= 0 {
			var regs unix.PtraceRegs
			if err := unix.PtraceGetRegs(thread, &regs); err != nil {
				return 0, err
			}
			if regs.Rip == address+1 {
				regs.Rip = address
				return thread, unix.PtraceSetRegs(thread, &regs)
			}
		}
		if err := resume(thread, status); err != nil {
			return 0, err
		}
	}
}

// pass lets a thread execute what the breakpoint stands in the place of, and then go on.
func (t *tracer) pass(thread int, address uint64) error {
	if _, err := unix.PtracePokeText(thread, uintptr(address), []byte{t.original}); err != nil {
		return err
	}
	if _, err := t.step(thread); err != nil {
		return err
	}
	if _, err := unix.PtracePokeText(thread, uintptr(address), []byte{breakpoint}); err != nil {
		return err
	}
	return unix.PtraceCont(thread, 0)
}

// count steps from a breakpoint to an address. The function in which it begins is not counted.
func (t *tracer) count(thread int, end uint64) ([]uint64, error) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(thread, &regs); err != nil {
		return nil, err
	}
	begin := regs.Rip
	if _, err := unix.PtracePokeText(thread, uintptr(begin), []byte{t.original}); err != nil {
		return nil, err
	}
	back, err := t.returnAddress(thread, &regs)
	if err != nil {
		return nil, err
	}
	if err := t.set(thread, back); err != nil {
		return nil, err
	}
	if err := unix.PtraceCont(thread, 0); err != nil {
		return nil, err
	}
	if thread, err = t.await(back); err != nil {
		return nil, err
	}
	if _, err := unix.PtracePokeText(thread, uintptr(back), []byte{t.original}); err != nil {
		return nil, err
	}
	var path []uint64
	for at, last := back, uint64(0); at != end; {
		if at != last { // a string instruction is stepped through round by round
			path = append(path, at)
		}
		last = at
		if at, err = t.step(thread); err != nil {
			return nil, err
		}
	}
	return path, nil
}

// returnAddress reads where the function at whose entry a thread is will return to.
func (t *tracer) returnAddress(thread int, regs *unix.PtraceRegs) (address uint64, err error) {
	var b [8]byte
	if _, err := unix.PtracePeekData(thread, uintptr(regs.Rsp), b[:]); err != nil {
		return 0, err
	}
	for i := range b {
		address |= uint64(b[i]) << (8 * i)
	}
	return address, nil
}

// step has a thread execute one instruction and returns where it is then.
func (t *tracer) step(thread int) (at uint64, err error) {
	if err := unix.PtraceSingleStep(thread); err != nil {
		return 0, err
	}
	for {
		id, status, err := wait()
		switch {
		case err != nil:
			return 0, err
		case id != thread:
			err = resume(id, status)
		case status.StopSignal() == unix.SIGTRAP:
			var regs unix.PtraceRegs
			err = unix.PtraceGetRegs(thread, &regs)
			return regs.Rip, err
		default: // a signal that we keep from it
			err = unix.PtraceSingleStep(thread)
		}
		if err != nil {
			return 0, err
		}
	}
}

// wait waits for a thread to stop.
func wait() (thread int, status unix.WaitStatus, err error) {
	for {
		thread, err = unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, status, fmt.Errorf("the benchmark ended before its round came: %w", err)
		case status.Stopped():
			return thread, status, nil
		}
	}
}

// resume lets a thread go on with the signal that stopped it, if it was one of its own.
func resume(thread int, status unix.WaitStatus) error {
	signal := 0
	if status.Stopped() && status.StopSignal() != unix.SIGTRAP && status.StopSignal() != unix.SIGSTOP {
		signal = int(status.StopSignal())
	}
	if err := unix.PtraceCont(thread, signal); err != nil && err != unix.ESRCH { // it may have ended
		return err
	}
	return nil
}
