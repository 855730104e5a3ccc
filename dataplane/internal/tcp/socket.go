// Package tcp carries datagrams over TCP connections, as frames (RFC 4571), for
// peers that UDP does not reach: the passive side of ICE-TCP (RFC 6544). It
// accepts, reads, writes and closes; whose a connection is and what is worth
// sending, others decide.
//
// It keeps no queue of packets: what the kernel does not take of what was given
// to a connection at once is kept, and then the connection is given nothing
// until that has gone.
package tcp

import (
	"fmt"
	"net/netip"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// backlog is how many connections may wait to be accepted; the kernel grants at
// most net.core.somaxconn.
const backlog = 1024

// acceptBudget is how many connections one turn takes.
const acceptBudget = 64

// retryAfter is when accepting is tried again after descriptors ran out.
const retryAfter = time.Second

// Options of a socket.
type Options struct {
	Gate *Gate
	// Window is how many bytes of media a connection is given at most before
	// PollWritable names it.
	Window int
	// Unsent is how many bytes the kernel may hold for a connection beyond what
	// is on its way (TCP_NOTSENT_LOWAT, tcp(7)).
	Unsent int
	// Patience is how long a connection may stay without belonging to a session.
	Patience time.Duration
}

// Socket is one shard's listening socket and its connections. It belongs to one
// thread.
type Socket struct {
	o        Options
	listener int
	epoll    int
	port     uint16
	noDelay  bool

	conns   map[uint32]*Conn // by name
	last    uint32           // name given
	waiting []*Conn          // not claimed, the one to be given up first at the front
	full    bool             // the listener may hold more
	retry   clock.Time       // when to accept again, 0 for when something comes

	readable []*Conn // of these, from at on are to be read in this turn
	at       int
	again    []*Conn // to be read in the next one

	gone     []pkt.Addr
	writable []pkt.Addr

	events [64]unix.EpollEvent
	rx     receiver
	tx     transmitter
}

// Listen opens a non-blocking listening socket that shares its port with others
// of the process (SO_REUSEPORT), for both versions of IP. Connections inherit
// TCP_NODELAY and TCP_NOTSENT_LOWAT (net/ipv4/tcp_minisocks.c copies the socket).
func Listen(addr netip.AddrPort, o Options) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("tcp socket: %w", err)
	}
	s := &Socket{o: o, listener: fd, epoll: -1, noDelay: true, conns: map[uint32]*Conn{}}
	if err := s.open(addr); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Socket) open(addr netip.AddrPort) error {
	for _, opt := range []struct {
		name              string
		level, opt, value int
	}{
		{"SO_REUSEADDR", unix.SOL_SOCKET, unix.SO_REUSEADDR, 1},
		{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, 1},
		{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, number(s.noDelay)},
		{"TCP_NOTSENT_LOWAT", unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, s.o.Unsent},
	} {
		if err := unix.SetsockoptInt(s.listener, opt.level, opt.opt, opt.value); err != nil {
			return fmt.Errorf("%s: %w", opt.name, err)
		}
	}
	ip := addr.Addr()
	if ip == netip.IPv4Unspecified() {
		ip = netip.IPv6Unspecified()
	}
	if err := unix.Bind(s.listener, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}); err != nil {
		return fmt.Errorf("bind tcp %v: %w", addr, err)
	}
	if err := unix.Listen(s.listener, backlog); err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	bound, err := unix.Getsockname(s.listener)
	if err != nil {
		return fmt.Errorf("getsockname: %w", err)
	}
	s.port = uint16(bound.(*unix.SockaddrInet6).Port)
	if s.epoll, err = unix.EpollCreate1(unix.EPOLL_CLOEXEC); err != nil {
		return fmt.Errorf("epoll_create1: %w", err)
	}
	return s.watch(s.listener, 0, unix.EPOLLIN)
}

// SetNoDelay says whether small writes leave at once (TCP_NODELAY, tcp(7)), as
// they do to begin with, or wait while one before them is not acknowledged
// (RFC 896): on all connections, those that come later too.
func (s *Socket) SetNoDelay(on bool) {
	s.noDelay = on
	setNoDelay(s.listener, on)
	for _, c := range s.conns {
		setNoDelay(c.fd, on)
	}
}

// setNoDelay cannot fail on a TCP socket.
func setNoDelay(fd int, on bool) {
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, number(on))
}

// number is a switch as socket options take it.
func number(on bool) int {
	if on {
		return 1
	}
	return 0
}

// watch has epoll tell of a descriptor under a name, edge-triggered.
func (s *Socket) watch(fd int, name uint32, events uint32) error {
	ev := unix.EpollEvent{Events: events | unix.EPOLLET, Fd: int32(name)}
	if err := unix.EpollCtl(s.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("epoll_ctl: %w", err)
	}
	return nil
}

// FD returns a descriptor that is readable when Poll has something to do: an
// epoll set of its own (epoll(7)), so that others need not tell connections apart.
func (s *Socket) FD() int { return s.epoll }

// Port returns the bound port.
func (s *Socket) Port() uint16 { return s.port }

// Timeout returns when Poll has something to do without anything happening.
func (s *Socket) Timeout() clock.Time {
	due := clock.Never
	if s.retry != 0 {
		due = s.retry
	}
	if s.prune(); len(s.waiting) > 0 {
		due = min(due, s.waiting[0].deadline)
	}
	return due
}

// Poll takes in what happened: connections that came, that can be read or
// written again, and those that nobody claimed in time. True when it is to be
// called again before sleeping.
//
//hot:path
func (s *Socket) Poll(now clock.Time) (more bool) {
	s.again = append(s.again, s.readable[s.at:]...)
	s.readable, s.again, s.at = s.again, s.readable[:0], 0
	// No timeout: a raw system call must not block.
	n, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(s.epoll), uintptr(unsafe.Pointer(&s.events[0])), uintptr(len(s.events)), 0, 0, 0)
	if errno != 0 {
		n = 0 // EINTR
	}
	for i := range s.events[:n] {
		s.happened(&s.events[i])
	}
	if s.full || s.retry != 0 && now >= s.retry {
		s.accept(now)
	}
	s.endWaiting(now)
	return int(n) == len(s.events) || s.full
}

//hot:path
func (s *Socket) happened(ev *unix.EpollEvent) {
	if ev.Fd == 0 {
		s.full = true
		return
	}
	c := s.conns[uint32(ev.Fd)]
	if c == nil {
		return
	}
	if ev.Events&unix.EPOLLOUT != 0 && len(c.out) > 0 {
		s.flush(c)
	}
	c.ended = c.ended || ev.Events&(unix.EPOLLRDHUP|unix.EPOLLHUP|unix.EPOLLERR) != 0
	if c.ended || ev.Events&unix.EPOLLIN != 0 {
		s.toRead(c)
	}
}

//hot:path
func (s *Socket) toRead(c *Conn) {
	if !c.queued {
		c.queued = true
		s.readable = append(s.readable, c)
	}
}

func (s *Socket) accept(now clock.Time) {
	s.retry = 0
	for range acceptBudget {
		fd, from, err := unix.Accept4(s.listener, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
		switch err {
		case nil:
			s.admit(now, fd, from)
		case unix.EAGAIN:
			s.full = false
			return
		case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
			s.o.Gate.refuse(Descriptors)
			s.full, s.retry = false, now.Add(retryAfter)
			return
		}
	}
}

// admit takes an accepted connection, or closes it at once.
func (s *Socket) admit(now clock.Time, fd int, from unix.Sockaddr) {
	c := &Conn{fd: fd}
	if in6, ok := from.(*unix.SockaddrInet6); ok {
		c.path.Remote = pkt.Addr{IP: in6.Addr, Port: uint16(in6.Port)}
	}
	if !s.o.Gate.enter(c.source()) {
		reset(fd)
		return
	}
	if local, err := unix.Getsockname(fd); err == nil {
		c.path.Local = local.(*unix.SockaddrInet6).Addr
	}
	s.add(now, c)
}

// add makes a connection one of this socket's, under a new name.
func (s *Socket) add(now clock.Time, c *Conn) {
	for s.last++; s.last == 0 || s.conns[s.last] != nil; s.last++ {
	}
	c.path.Remote.Conn = s.last
	c.deadline = now.Add(s.o.Patience)
	s.conns[s.last] = c
	s.waiting = append(s.waiting, c)
	if err := s.watch(c.fd, s.last, unix.EPOLLIN|unix.EPOLLOUT|unix.EPOLLRDHUP); err != nil {
		s.end(c)
	}
}

// endWaiting closes the connections whose time is over.
func (s *Socket) endWaiting(now clock.Time) {
	for s.prune(); len(s.waiting) > 0 && now >= s.waiting[0].deadline; s.prune() {
		s.Refuse(s.waiting[0], Late)
	}
}

// prune takes off the front of the queue who need not wait any more.
func (s *Socket) prune() {
	for len(s.waiting) > 0 && s.waiting[0].settled() {
		s.waiting[0] = nil
		s.waiting = s.waiting[1:]
	}
}

// Claim takes note that a session has the connection: it may stay.
func (s *Socket) Claim(c *Conn) {
	if !c.settled() {
		c.claimed = true
		s.o.Gate.claimed(c.source())
	}
}

// Refuse ends a connection that is not what it should be.
func (s *Socket) Refuse(c *Conn, why Refusal) {
	if c.closed {
		return
	}
	s.o.Gate.refuse(why)
	s.end(c)
}

// Hangup ends the connection with that address.
func (s *Socket) Hangup(remote pkt.Addr) {
	if c := s.conns[remote.Conn]; c != nil && c.path.Remote == remote {
		s.end(c)
	}
}

// Release takes a connection that is not placed from this socket, with all that
// was read of it, for another one to adopt. The second time is the last: the shard
// that a ufrag names may know that the session has moved, and nobody knows more.
func (s *Socket) Release(c *Conn) *Conn {
	_ = unix.EpollCtl(s.epoll, unix.EPOLL_CTL_DEL, c.fd, nil)
	delete(s.conns, c.path.Remote.Conn)
	c.away = true // lists here may still name it
	return &Conn{fd: c.fd, path: c.path, ended: c.ended, in: c.in, n: c.n, released: true, placed: c.released}
}

// Adopt takes a connection that another socket released.
func (s *Socket) Adopt(now clock.Time, c *Conn) {
	setNoDelay(c.fd, s.noDelay) // where it was, that may have been said earlier or later
	s.add(now, c)
	if !c.closed {
		s.toRead(c)
	}
}

// Abandon closes a connection that was released and that nobody adopts.
func (s *Socket) Abandon(c *Conn) {
	s.o.Gate.refuse(Busy)
	s.o.Gate.leave(c.source(), false)
	reset(c.fd)
}

// end closes a connection, and has PollGone tell.
func (s *Socket) end(c *Conn) {
	if c.closed {
		return
	}
	c.closed = true
	delete(s.conns, c.path.Remote.Conn)
	s.o.Gate.leave(c.source(), c.claimed)
	s.tx.giveBack(c)
	if c.claimed {
		unix.Close(c.fd)
	} else {
		reset(c.fd)
	}
	s.gone = append(s.gone, c.path.Remote)
}

// PollGone returns the next connection that has ended, false when there is none.
func (s *Socket) PollGone(remote *pkt.Addr) bool { return take(&s.gone, remote) }

// PollWritable returns the next connection whose bytes the kernel has taken all,
// false when there is none.
//
//hot:path
func (s *Socket) PollWritable(remote *pkt.Addr) bool { return take(&s.writable, remote) }

//hot:path
func take(queue *[]pkt.Addr, a *pkt.Addr) bool {
	n := len(*queue)
	if n == 0 {
		return false
	}
	*a, *queue = (*queue)[n-1], (*queue)[:n-1]
	return true
}

// Close closes everything.
func (s *Socket) Close() {
	for _, c := range s.conns {
		s.end(c)
	}
	unix.Close(s.listener)
	if s.epoll >= 0 {
		unix.Close(s.epoll)
	}
}

// reset closes a connection at once: it leaves nothing behind in the kernel
// (SO_LINGER, socket(7)).
func reset(fd int) {
	_ = unix.SetsockoptLinger(fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	unix.Close(fd)
}

// Conn is one connection. Its fields belong to the socket that has it.
type Conn struct {
	fd       int
	path     pkt.Path
	deadline clock.Time
	placed   bool // it is with the shard that its first frame belongs to
	released bool // another socket had it before
	claimed  bool // a session has it
	away     bool // another socket has it
	closed   bool
	queued   bool // it is in the list of those to be read
	ended    bool // the end waits behind what is to be read

	in   [wire.FrameHead + wire.MaxFrame]byte // what is read and not taken yet
	n    int
	left int    // of these, behind the frames that Receive returned; before it is placed
	out  []byte // what the kernel has not taken
}

// Path returns where the connection leads.
func (c *Conn) Path() *pkt.Path { return &c.path }

// Placed reports whether the connection is with the shard it belongs to.
func (c *Conn) Placed() bool { return c.placed }

func (c *Conn) source() source { return sourceOf(&c.path.Remote) }

// settled reports whether nobody waits for this connection to be claimed here.
func (c *Conn) settled() bool { return c.claimed || c.closed || c.away }
