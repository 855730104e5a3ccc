package client

import (
	"encoding/binary"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// Stranger is a socket towards a server that knows nothing of it: no session stands behind it. Send, SendBatch, Recv and Abandon work.
func Stranger(local netip.Addr, remote netip.AddrPort) (*Conn, error) {
	fd, bound, err := open(local)
	if err != nil {
		return nil, err
	}
	c := &Conn{Local: bound, Remote: remote, fd: fd}
	if err := unix.Connect(fd, sockaddr(remote)); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return c, nil
}

// Forger is a socket that sends what Forge made; nothing arrives at it. It needs CAP_NET_RAW, and IPv4.
func Forger(remote netip.AddrPort) (*Conn, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	if err := unix.Connect(fd, sockaddr(remote)); err != nil {
		unix.Close(fd)
		return nil, os.NewSyscallError("connect", err)
	}
	return &Conn{Remote: remote, fd: fd}, nil
}

const (
	ipv4Header = 20
	udpHeader  = 8
)

// Forge wraps a datagram into the headers of one that somebody else sent. The kernel fills in the checksum and length of the IPv4
// header (raw(7)); a UDP checksum of zero is none (RFC 768).
func Forge(from, to netip.AddrPort, payload []byte) []byte {
	b := make([]byte, ipv4Header+udpHeader, ipv4Header+udpHeader+len(payload))
	b[0], b[8], b[9] = 0x45, 64, unix.IPPROTO_UDP
	src, dst := from.Addr().As4(), to.Addr().As4()
	copy(b[12:], src[:])
	copy(b[16:], dst[:])
	udp := b[ipv4Header:]
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	binary.BigEndian.PutUint16(udp[4:], uint16(udpHeader+len(payload)))
	return append(b, payload...)
}

// Overhear returns the first datagram from one address to another that fits, of those that pass this machine from now on. It needs
// CAP_NET_RAW, and IPv4, and gives up with an error after some seconds.
func Overhear(from, to netip.AddrPort, fits func([]byte) bool) ([]byte, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5}); err != nil {
		return nil, os.NewSyscallError("SO_RCVTIMEO", err)
	}
	b := make([]byte, maxDatagram)
	for {
		n, err := unix.Read(fd, b)
		if err == unix.EINTR { // a signal of Go's scheduler; with SO_RCVTIMEO the call does not go on by itself (signal(7))
			continue
		}
		if err != nil {
			return nil, os.NewSyscallError("read", err)
		}
		if n < ipv4Header+udpHeader {
			continue
		}
		udp := b[ipv4Header:n]
		payload := udp[udpHeader:]
		if binary.BigEndian.Uint16(udp) == from.Port() && binary.BigEndian.Uint16(udp[2:]) == to.Port() && fits(payload) {
			return payload, nil
		}
	}
}
