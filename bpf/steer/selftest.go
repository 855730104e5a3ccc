package steer

import (
	"context"
	"errors"
	"fmt"
	"net"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/pkt"
)

// SelfTest says why this kernel, or this process's rights, do not let a program
// pick the socket of a datagram; nil if it does. It tries on the loopback device.
func SelfTest() error {
	var sockets [2]*net.UDPConn
	var fds []int
	for i := range sockets {
		addr := "127.0.0.1:0"
		if i > 0 {
			addr = sockets[0].LocalAddr().String()
		}
		socket, fd, err := listen(addr, i > 0)
		if err != nil {
			return err
		}
		defer socket.Close()
		sockets[i], fds = socket, append(fds, fd)
	}
	s, err := Attach(fds, 1)
	if err != nil {
		return err
	}
	defer s.Close()
	client, err := net.DialUDP("udp4", nil, sockets[0].LocalAddr().(*net.UDPAddr))
	if err != nil {
		return err
	}
	defer client.Close()
	from := client.LocalAddr().(*net.UDPAddr).AddrPort()
	remote := pkt.Addr{IP: from.Addr().As16(), Port: from.Port()}
	for shard, socket := range sockets {
		s.Learn(remote, shard)
		client.Write([]byte{byte(shard)}) // what does not arrive is found by its receiver
		socket.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := socket.Read(make([]byte, 1)); err != nil {
			return fmt.Errorf("a datagram did not come to the socket that the program picked: %w", err)
		}
	}
	return nil
}

// listen opens a socket whose port others can share, and returns its descriptor,
// which stays the socket's. Only who shares says so before it is bound: a free
// port would be one of others that share theirs.
func listen(addr string, share bool) (socket *net.UDPConn, fd int, err error) {
	var option error
	config := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return errors.Join(c.Control(func(u uintptr) {
			fd = int(u)
			if share {
				option = reuse(fd)
			}
		}), option)
	}}
	packets, err := config.ListenPacket(context.Background(), "udp4", addr)
	if err != nil {
		return nil, 0, err
	}
	socket = packets.(*net.UDPConn)
	if err := reuse(fd); err != nil {
		socket.Close()
		return nil, 0, err
	}
	return socket, fd, nil
}

func reuse(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1) }
