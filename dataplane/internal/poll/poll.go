// Package poll waits for sockets and wake-ups: epoll(7), edge-triggered.
package poll

import (
	"fmt"
	"sync/atomic"
	"time"
	"unsafe" // for the pointer that the kernel fills

	"golang.org/x/sys/unix"
)

// Poller belongs to one thread; only Wake may be called from others.
type Poller struct {
	epoll    int
	event    int // eventfd(2) that Wake writes
	sleeping atomic.Bool
	coarse   bool // the kernel waits in whole milliseconds
	timeout  unix.Timespec
	events   [16]unix.EpollEvent
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
	if err := p.add(event, unix.EPOLLIN); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// Add watches a socket for both directions, edge-triggered: the owner reads and
// writes until EAGAIN before it waits again.
func (p *Poller) Add(fd int) error { return p.add(fd, unix.EPOLLIN|unix.EPOLLOUT) }

func (p *Poller) add(fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(fd)}
	if err := unix.EpollCtl(p.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// Sleep waits until something happens or timeout passes; a negative one waits
// for ever. Between announcing that it will sleep and sleeping, it asks idle
// once more: work that came before the announcement has woken nobody.
func (p *Poller) Sleep(timeout time.Duration, idle func() bool) error {
	p.sleeping.Store(true)
	defer p.sleeping.Store(false)
	if !idle() {
		return nil
	}
	n, errno := p.wait(timeout)
	switch errno {
	case 0:
	case unix.EINTR:
		return nil
	default:
		return fmt.Errorf("epoll_wait: %w", errno)
	}
	p.read(int(n))
	return nil
}

// Ready reports whether a socket has something new, or a Wake came, without
// sleeping: what a thread asks that spins. Each answer tells of one edge.
//
//hot:path
func (p *Poller) Ready() bool {
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(p.epoll), uintptr(unsafe.Pointer(&p.events[0])), uintptr(len(p.events)), 0, 0, 0)
	return errno == 0 && p.read(int(n))
}

// read takes the wake-ups among n events, and reports whether there were any
// events.
func (p *Poller) read(n int) bool {
	for i := range n {
		if int(p.events[i].Fd) == p.event {
			var count [8]byte
			unix.Read(p.event, count[:])
		}
	}
	return n > 0
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
	if p.sleeping.Load() && p.sleeping.CompareAndSwap(true, false) {
		unix.Write(p.event, []byte{1, 0, 0, 0, 0, 0, 0, 0})
	}
}

// Close releases the descriptors.
func (p *Poller) Close() {
	unix.Close(p.epoll)
	unix.Close(p.event)
}
