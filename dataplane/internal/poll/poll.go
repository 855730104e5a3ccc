// Package poll waits for sockets and wake-ups: epoll(7), edge-triggered.
package poll

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe" // for pointers that the kernel reads and fills

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"
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

	_       cpu.CacheLinePad // state has its cache line: others read it, and the rest is the owner's
	state   atomic.Uint32
	_       cpu.CacheLinePad
	coarse  bool // the kernel waits in whole milliseconds
	timeout unix.Timespec
	events  [16]unix.EpollEvent
}

// New returns a poller that watches nothing yet.
func New() (*Poller, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	event, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	p := &Poller{epoll: epoll, event: event}
	if err := p.Add(event); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
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

// Sleep waits until something happens or timeout passes; a negative one waits
// for ever. Between announcing that it will sleep and sleeping, it asks idle
// once more: work that came before the announcement has woken nobody.
func (p *Poller) Sleep(timeout time.Duration, idle func() bool) error {
	state := dozes
	if timeout < 0 {
		state = sleeps
	}
	p.state.Store(state)
	defer p.state.Store(awake)
	if !idle() {
		return nil
	}
	// What happened needs no look: sockets are read until EAGAIN anyway, and the
	// eventfd is never read. Each write to it is an edge (eventfd_write in the
	// kernel's fs/eventfd.c wakes its waiters whatever the count was), and as
	// many as would fill its 64 bits, nobody writes.
	if _, errno := p.wait(timeout); errno != 0 && errno != unix.EINTR {
		return fmt.Errorf("epoll_wait: %w", errno)
	}
	return nil
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

// wait calls the kernel, as finely timed as it can be. Sandboxes answer EPERM to
// calls that they do not know.
func (p *Poller) wait(timeout time.Duration) (n uintptr, errno unix.Errno) {
	if !p.coarse {
		var fine *unix.Timespec
		if timeout >= 0 {
			p.timeout = unix.NsecToTimespec(int64(timeout))
			fine = &p.timeout
		}
		if n, errno = wait(p.epoll, &p.events[0], len(p.events), fine); errno != unix.ENOSYS && errno != unix.EPERM {
			return n, errno
		}
		p.coarse = true
	}
	ms := -1
	if timeout >= 0 {
		ms = int((timeout + time.Millisecond - 1) / time.Millisecond)
	}
	return waitCoarse(p.epoll, &p.events[0], len(p.events), ms)
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
	unix.Close(p.epoll)
	unix.Close(p.event)
}
