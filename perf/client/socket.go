package client

import (
	"encoding/binary"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	maxDatagram = 2048
	controlSize = 64
	batchSize   = 32
	// fullBuffer holds more than a second of media, so that what a busy machine delays is not lost in the generator.
	fullBuffer = 4 << 20
)

// open binds a non-blocking UDP socket to any port of an address, with kernel receive stamps on.
func open(local netip.Addr) (int, netip.AddrPort, error) {
	family := unix.AF_INET
	if local.Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, netip.AddrPort{}, os.NewSyscallError("socket", err)
	}
	port, err := bindAny(fd, local)
	if err != nil {
		unix.Close(fd)
		return -1, netip.AddrPort{}, err
	}
	return fd, netip.AddrPortFrom(local, port), nil
}

func bindAny(fd int, local netip.Addr) (port uint16, err error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return 0, os.NewSyscallError("SO_TIMESTAMPNS", err)
	}
	if err := unix.Bind(fd, sockaddr(netip.AddrPortFrom(local, 0))); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	switch a := name.(type) {
	case *unix.SockaddrInet4:
		port = uint16(a.Port)
	case *unix.SockaddrInet6:
		port = uint16(a.Port)
	}
	return port, nil
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

// GrowBuffer asks for a receive buffer of 4 MiB, with privilege (SO_RCVBUFFORCE) or else up to net.core.rmem_max.
func (c *Conn) GrowBuffer() error {
	if unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, fullBuffer) == nil {
		return nil
	}
	return os.NewSyscallError("SO_RCVBUF", unix.SetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_RCVBUF, fullBuffer))
}

// rtpFilter lets everything through but RTP: first byte 128 to 191 (RFC 7983), second byte outside 192 to 223 (RFC 5761).
// At the point where a UDP socket's filter runs the packet starts with the UDP header, hence the offsets from 8
// (net/ipv4/udp.c, udp_queue_rcv_one_skb).
var rtpFilter = []unix.SockFilter{
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 8},
	{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: 128, Jf: 5},
	{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: 191, Jt: 4},
	{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: 9},
	{Code: unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K, K: 192, Jf: 1},
	{Code: unix.BPF_JMP | unix.BPF_JGT | unix.BPF_K, K: 223, Jf: 1},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	{Code: unix.BPF_RET | unix.BPF_K, K: 0xffffffff},
}

// Buffered reports whether Recv has more although the descriptor may not be readable.
func (c *Conn) Buffered() bool { return c.stream != nil && c.stream.whole() }

// CanFilter reports whether FilterRTP works: in a connection the kernel knows no packets.
func (c *Conn) CanFilter() bool { return c.stream == nil }

// FilterRTP makes the kernel discard RTP at this socket from now on and count it in Drops. What was queued before stays queued.
// A UDP_SEGMENT train is split before the filter of a socket without UDP_GRO, so every packet in it counts.
func (c *Conn) FilterRTP() error { return filterRTP(c.fd) }

func filterRTP(fd int) error {
	prog := unix.SockFprog{Len: uint16(len(rtpFilter)), Filter: &rtpFilter[0]}
	return os.NewSyscallError("SO_ATTACH_FILTER", unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog))
}

// Drops is how many datagrams the kernel discarded at this socket since it was made: by the filter or, at a socket without one,
// because its buffer was full. The counter wraps at 2^32.
func (c *Conn) Drops() (uint32, error) { return drops(c.fd) }

// drops reads sk_drops. SO_RXQ_OVFL reports the same counter, but only on packets that are received.
func drops(fd int) (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, os.NewSyscallError("SO_MEMINFO", errno)
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}

// mmsghdr is struct mmsghdr of recvmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// Batch is the room for one recvmmsg of up to 32 datagrams of up to 2048 bytes. It can serve many sockets in turn.
type Batch struct {
	out  [batchSize]Datagram
	msgs [batchSize]mmsghdr
	iovs [batchSize]unix.Iovec
	bufs [batchSize][maxDatagram]byte
	ctl  [batchSize][controlSize]byte
}

// Recv takes what is queued at the socket, up to 32 datagrams, and never waits. They are valid until the batch is used again.
func (c *Conn) Recv(b *Batch) ([]Datagram, error) {
	if c.stream != nil {
		return c.stream.recv(c.fd, b)
	}
	for i := range b.msgs {
		b.iovs[i] = unix.Iovec{Base: &b.bufs[i][0], Len: maxDatagram}
		b.msgs[i].hdr = unix.Msghdr{Iov: &b.iovs[i], Iovlen: 1, Control: &b.ctl[i][0], Controllen: controlSize}
	}
	n, _, errno := unix.Syscall6(unix.SYS_RECVMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&b.msgs)), batchSize, unix.MSG_DONTWAIT, 0, 0)
	if errno == unix.EAGAIN {
		return nil, nil
	}
	if errno != 0 {
		return nil, os.NewSyscallError("recvmmsg", errno)
	}
	for i := range b.out[:n] {
		b.out[i] = Datagram{Data: b.bufs[i][:b.msgs[i].len], At: stampOf(b.ctl[i][:b.msgs[i].hdr.Controllen])}
	}
	return b.out[:n], nil
}

// SendBatch sends datagrams with as few sendmmsg calls as the socket takes, and waits while its buffer is full.
func (c *Conn) SendBatch(packets [][]byte) error {
	if c.stream != nil {
		return c.stream.send(c.fd, packets...)
	}
	var iovs [batchSize]unix.Iovec
	var msgs [batchSize]mmsghdr
	for len(packets) > 0 {
		n := min(len(packets), batchSize)
		for i, p := range packets[:n] {
			iovs[i] = unix.Iovec{Base: &p[0], Len: uint64(len(p))}
			msgs[i].hdr = unix.Msghdr{Iov: &iovs[i], Iovlen: 1}
		}
		sent, _, errno := unix.Syscall6(unix.SYS_SENDMMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&msgs)), uintptr(n), 0, 0, 0)
		if errno == unix.EAGAIN {
			unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}, -1)
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("sendmmsg", errno)
		}
		packets = packets[sent:]
	}
	return nil
}

// SendTrain sends datagrams of one size, of which the last may be shorter, as one message (UDP_SEGMENT, udp(7)): at most 64, and 64 KiB.
// A virtual network carries them as one to a receiver that takes them so (UDP_GRO), which is how a network card's driver hands over
// what came close together.
func (c *Conn) SendTrain(packets [][]byte) error {
	control := make([]byte, unix.CmsgSpace(2))
	h := (*unix.Cmsghdr)(unsafe.Pointer(&control[0])) // there is room for a header and its value
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	binary.NativeEndian.PutUint16(control[unix.CmsgLen(0):], uint16(len(packets[0])))
	for {
		_, err := unix.SendmsgBuffers(c.fd, packets, control, nil, 0)
		if err != unix.EAGAIN {
			return os.NewSyscallError("sendmsg", err)
		}
		unix.Poll([]unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}, -1)
	}
}

// stampOf reads the SCM_TIMESTAMPNS message, which is the only one that our sockets ask for; 0 when it is missing.
func stampOf(control []byte) int64 {
	const header, size = unix.SizeofCmsghdr, unix.SizeofCmsghdr + 16
	if len(control) < size || int32(binary.NativeEndian.Uint32(control[12:])) != unix.SCM_TIMESTAMPNS {
		return 0
	}
	sec := int64(binary.NativeEndian.Uint64(control[header:]))
	nsec := int64(binary.NativeEndian.Uint64(control[header+8:]))
	return sec*1e9 + nsec
}
