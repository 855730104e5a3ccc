// Package udp moves batches of datagrams between the kernel and pkt: recvmmsg
// and sendmmsg (recvmmsg(2), sendmmsg(2)), runs as one UDP_SEGMENT message
// (udp(7)), the local address of each datagram by IPV6_PKTINFO (ipv6(7)).
package udp

import (
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"sluice/dataplane/pkt"
)

// Socket is one non-blocking UDP socket. It belongs to one thread.
type Socket struct {
	fd    int
	port  uint16
	able  Abilities
	rx    receiver
	tx    transmitter
	stamp stampReader
	// Counters are the owner's to read.
	Counters Counters
}

// Counters count up from a socket's start.
type Counters struct {
	RxMessages, TxMessages uint64 // single datagrams and trains
	Fallbacks              uint64 // times that the kernel stopped taking trains
	Refusals               uint64 // trains that it did not take, whose packets went alone
}

// Options of a socket. Buffer sizes are in bytes; the kernel may grant less
// (net.core.rmem_max, socket(7)).
type Options struct {
	ReceiveBuffer, SendBuffer int
	Share                     bool      // the port is this process's already, by a socket opened without this
	Able                      Abilities // what SelfTest found; nothing else is ever used
	// Memory gives memory for the receive buffers; nil takes it from the Go heap,
	// where it would let the collector leave half as much garbage.
	Memory func(bytes int) []byte
}

// Listen opens a socket whose port others of the process can share
// (SO_REUSEPORT, socket(7)). The port must be free unless it is shared, EADDRINUSE
// otherwise. One IPv6 socket serves both versions, IPv4 peers as mapped addresses,
// so that the packet path has one kind of address. What is sent leaves from the
// address that its run names, unless the socket is bound to one.
func Listen(addr netip.AddrPort, o Options) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("udp socket: %w (Sluice needs the kernel's IPv6, without addresses if need be: boot without ipv6.disable=1)", err)
	}
	if err := prepare(fd, addr, o); err != nil {
		unix.Close(fd)
		return nil, err
	}
	bound, err := unix.Getsockname(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("getsockname: %w", err)
	}
	s := &Socket{fd: fd, port: uint16(bound.(*unix.SockaddrInet6).Port), able: o.Able}
	if o.Memory == nil {
		o.Memory = func(bytes int) []byte { return make([]byte, bytes) }
	}
	s.rx.init(o.Memory(rxMessages * rxStride))
	s.tx.init()
	s.tx.priorities = o.Able.Priorities == nil
	s.tx.bound = !addr.Addr().IsUnspecified()
	return s, nil
}

func prepare(fd int, addr netip.AddrPort, o Options) error {
	for _, opt := range []struct {
		name              string
		level, opt, value int
	}{
		{"SO_REUSEPORT", unix.SOL_SOCKET, unix.SO_REUSEPORT, number(o.Share)},
		{"IPV6_V6ONLY", unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0},
		{"IPV6_RECVPKTINFO", unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1},
		{"SO_TIMESTAMPING", unix.SOL_SOCKET, unix.SO_TIMESTAMPING, unix.SOF_TIMESTAMPING_OPT_TSONLY},
	} {
		if err := unix.SetsockoptInt(fd, opt.level, opt.opt, opt.value); err != nil {
			return fmt.Errorf("%s: %w", opt.name, err)
		}
	}
	setBuffers(fd, o.ReceiveBuffer, o.SendBuffer)
	ip := addr.Addr()
	if ip == netip.IPv4Unspecified() {
		ip = netip.IPv6Unspecified()
	}
	if err := unix.Bind(fd, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: ip.As16()}); err != nil {
		return fmt.Errorf("bind %v: %w", addr, err)
	}
	// Only now, or the port could be that of another process of the same user, and
	// a free one that the kernel chooses too: it would get half of our datagrams
	// (net/ipv4/udp.c, udp_lib_lport_inuse).
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return fmt.Errorf("SO_REUSEPORT: %w", err)
	}
	return nil
}

// SetBuffers changes the sizes that Options begin with, in bytes; Memory tells
// what was granted. What waits in a buffer that becomes too small stays.
func (s *Socket) SetBuffers(receive, send int) { setBuffers(s.fd, receive, send) }

// setBuffers asks for sizes beyond the system's limits, which takes
// CAP_NET_ADMIN, or else for what those allow; the kernel rounds and never refuses.
func setBuffers(fd, receive, send int) {
	for _, b := range [...]struct{ force, opt, size int }{
		{unix.SO_RCVBUFFORCE, unix.SO_RCVBUF, receive}, {unix.SO_SNDBUFFORCE, unix.SO_SNDBUF, send},
	} {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.force, b.size) != nil {
			_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, b.opt, b.size)
		}
	}
}

// BusyPoll has a read of an empty socket look into the device's queue itself
// (socket(7), SO_BUSY_POLL), where that has one which can be looked into. It
// reports whether the kernel does: older ones want CAP_NET_ADMIN for more than
// they do already. For another budget and for preferring it all want that;
// without, those stay as they are.
func (s *Socket) BusyPoll(wish pkt.BusyPoll) bool {
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_PREFER_BUSY_POLL, number(wish.Prefer))
	_ = unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL_BUDGET, wish.Budget)
	return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_BUSY_POLL, int(wish.For.Microseconds())) == nil && wish.For > 0
}

// Use switches accelerators: those that are wished and that the kernel does
// right. A new socket uses none. What the kernel refuses is not used; that it
// stopped segmenting while it ran is forgotten. Datagrams that came merged and
// are not read yet when GRO ends are lost, and counted as truncated.
func (s *Socket) Use(wish pkt.Accel) {
	s.rx.gro = s.option(unix.SOL_UDP, unix.UDP_GRO, wish.GRO && s.able.GRO == nil)
	s.rx.timestamps = s.option(unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, wish.Timestamps && s.able.Timestamps == nil)
	s.tx.segments = segmentation(wish.GSO, &s.able)
	s.tx.refused = 0
}

// option switches a socket option and returns whether it is on now.
func (s *Socket) option(level, opt int, on bool) bool {
	return unix.SetsockoptInt(s.fd, level, opt, number(on)) == nil && on
}

// number is a switch as socket options take it.
func number(on bool) int {
	if on {
		return 1
	}
	return 0
}

// Uses returns which accelerators are in use.
func (s *Socket) Uses() pkt.Accel {
	return pkt.Accel{GSO: s.tx.segments != alone, GRO: s.rx.gro, Timestamps: s.rx.timestamps}
}

// FD returns the descriptor, for polling.
func (s *Socket) FD() int { return s.fd }

// Port returns the bound port.
func (s *Socket) Port() uint16 { return s.port }

// Close closes the socket.
func (s *Socket) Close() error { return unix.Close(s.fd) }
