// Package poll waits for sockets and wake-ups: epoll(7), edge-triggered.
package poll

import (
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unsafe" // for pointers that the kernel reads and fills

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
)

// The states of a poller's owner.
const (
	awake  uint32 = iota
	dozes         // sleeps, and wakes by itself in the end
	sleeps        // sleeps for ever
)

// Poller belongs to one thread; only Wake and Nudge may be called from others.
type Poller struct {
	epoll int
	event int // eventfd(2) that Wake writes
	timer int // timerfd_create(2) that ends a sleep

	_       cpu.CacheLinePad // state has its cache line: others read it, and the rest is the owner's
	state   atomic.Uint32
	_       cpu.CacheLinePad
	armed   clock.Time // when the timer ends a sleep
	timeout unix.ItimerSpec
	events  [16]unix.EpollEvent
}

// New returns a poller that watches nothing yet.
func New() (*Poller, error) {
	p := &Poller{epoll: -1, event: -1, timer: -1}
	if err := p.open(); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Poller) open() (err error) {
	if p.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	if p.event, err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
		return fmt.Errorf("eventfd: %w", err)
	}
	if p.timer, err = unix.TimerfdCreate(unix.CLOCK_MONOTONIC, unix.TFD_CLOEXEC|unix.TFD_NONBLOCK); err != nil {
		return fmt.Errorf("timerfd_create: %w", err)
	}
	return errors.Join(p.Add(p.event), p.Add(p.timer))
}

// Add watches a socket for what comes, edge-triggered: the owner reads until
// EAGAIN before it waits again.
func (p *Poller) Add(fd int) error { return p.control(unix.EPOLL_CTL_ADD, fd, unix.EPOLLIN) }

// AwaitRoom has an added socket watched for room too, or not any more: to be
// asked for while a write of all got EAGAIN. At any other time each packet that
// left the device would be an edge, and end a sleep for nothing.
func (p *Poller) AwaitRoom(fd int, wanted bool) {
	events := uint32(unix.EPOLLIN)
	if wanted {
		events |= unix.EPOLLOUT // what has become free before this is an edge as well (fs/eventpoll.c, ep_modify)
	}
	_ = p.control(unix.EPOLL_CTL_MOD, fd, events) // a socket that was added can be changed
}

func (p *Poller) control(op, fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, op, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Sleep waits until something happens or it is due, clock.Never for never; now is
// the instant of the call. It may end early. Between announcing that it will sleep
// and sleeping, it asks idle once more: work that came before the announcement has
// woken nobody.
func (p *Poller) Sleep(now, due clock.Time, idle func() bool) error {
	state := sleeps
	if due != clock.Never {
		p.arm(now, due)
		state = dozes
	}
	p.state.Store(state)
	defer p.state.Store(awake)
	if !idle() {
		return nil
	}
	// What happened needs no look: sockets are read until EAGAIN anyway, and neither
	// the eventfd nor the timer is ever read. Each write and each expiry is an edge
	// (eventfd_write in the kernel's fs/eventfd.c and timerfd_triggered in its
	// fs/timerfd.c wake the waiters whatever the count was), and as many as would
	// fill 64 bits, nobody writes.
	if _, errno := wait(p.epoll, &p.events[0], len(p.events)); errno != 0 && errno != unix.EINTR {
		return fmt.Errorf("epoll_wait: %w", errno)
	}
	return nil
}

// arm has the timer end a sleep by due. A timer of each sleep's own, as a timeout of
// epoll_wait is, the kernel would program and take back with each (docs/design/0029);
// this one stays over many, and ends one for nothing where what it was set for is no
// longer due.
//
//hot:path
func (p *Poller) arm(now, due clock.Time) {
	if now < p.armed && p.armed <= due {
		return
	}
	p.armed = due
	p.timeout.Value = unix.NsecToTimespec(max(1, int64(due.Sub(now)))) // 0 would stop it
	// Raw: it does not block. What it is given cannot be refused.
	unix.RawSyscall6(unix.SYS_TIMERFD_SETTIME, uintptr(p.timer), 0, uintptr(unsafe.Pointer(&p.timeout)), 0, 0, 0)
}

// params are struct epoll_params (linux/eventpoll.h).
type params struct {
	usecs  uint32
	budget uint16
	prefer bool
	_      uint8
}

// BusyPoll has Sleep look into the queues of the devices that the sockets' last
// packets came from before it sleeps, for a time, so many packets a look
// (ioctl_eventpoll(2)). It reports whether the kernel does: Linux does since 6.9,
// and where it has something to look into.
func (p *Poller) BusyPoll(d time.Duration, budget int, prefer bool) bool {
	wish := params{usecs: uint32(d.Microseconds()), budget: uint16(budget), prefer: prefer}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(p.epoll), unix.EPIOCSPARAMS, uintptr(unsafe.Pointer(&wish)))
	return errno == 0 && d > 0
}

// Ready reports whether a socket has something new, or a Wake came, without
// sleeping: what a thread asks that spins. Each answer tells of one edge.
//
//hot:path
func (p *Poller) Ready() bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	return errno == 0 && n > 0
}

// Wake ends the owner's Sleep, if it sleeps; it costs a system call only then.
// Safe for concurrent use.
func (p *Poller) Wake() {
	p.wake(dozes)
	p.wake(sleeps)
}

// Nudge ends the owner's Sleep only if that has no end: it is for work that can
// wait until the owner wakes by itself. Safe for concurrent use.
func (p *Poller) Nudge() { p.wake(sleeps) }

func (p *Poller) wake(state uint32) {
	if p.state.Load() == state && p.state.CompareAndSwap(state, awake) {
		// Raw: it does not block, and the runtime has no reason to take the processor
		// away from a caller whom the kernel puts behind the thread that it woke.
		one := uint64(1)
		unix.RawSyscall(unix.SYS_WRITE, uintptr(p.event), uintptr(unsafe.Pointer(&one)), unsafe.Sizeof(one))
	}
}

// Close releases the descriptors.
func (p *Poller) Close() {
	for _, fd := range [...]int{p.epoll, p.event, p.timer} {
		unix.Close(fd)
	}
}
