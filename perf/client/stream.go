package client

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// stream is the TCP connection of a Conn that has one (ICE-TCP, RFC 6544): datagrams are frames behind their length (RFC 4571).
type stream struct {
	sending sync.Mutex // a frame must not begin inside another
	in      []byte     // read and not taken yet
	taken   int
	at      int64 // kernel receive time of the last segment read, CLOCK_REALTIME in ns
}

const streamBuffer = 256 << 10

// openStream takes the place of the UDP socket.
func (c *Conn) openStream() error {
	family := unix.AF_INET
	if c.Remote.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	unix.Close(c.fd)
	c.fd = fd
	c.stream = &stream{in: make([]byte, 0, streamBuffer)}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return os.NewSyscallError("SO_TIMESTAMPNS", err)
	}
	if err := unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		return os.NewSyscallError("TCP_NODELAY", err)
	}
	// The socket blocks until it is connected.
	if err := unix.Connect(fd, sockaddr(c.Remote)); err != nil {
		return os.NewSyscallError("connect", err)
	}
	return os.NewSyscallError("fcntl", unix.SetNonblock(fd, true))
}

// send writes packets as frames, all of them or none, and waits while the connection takes no more.
func (s *stream) send(fd int, packets ...[]byte) error {
	var b []byte
	for _, p := range packets {
		b = binary.BigEndian.AppendUint16(b, uint16(len(p)))
		b = append(b, p...)
	}
	s.sending.Lock()
	defer s.sending.Unlock()
	for len(b) > 0 {
		n, err := unix.SendmsgN(fd, b, nil, nil, unix.MSG_NOSIGNAL)
		switch {
		case err == unix.EAGAIN:
			unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}, -1)
		case err != nil:
			return os.NewSyscallError("send", err)
		default:
			b = b[n:]
		}
	}
	return nil
}

// whole reports whether a whole frame was read and not taken.
func (s *stream) whole() bool {
	b := s.in[s.taken:]
	return len(b) >= 2 && len(b) >= 2+int(binary.BigEndian.Uint16(b))
}

// next returns the next frame that was read whole; it is good until more is read.
func (s *stream) next() ([]byte, bool) {
	if !s.whole() {
		return nil, false
	}
	b := s.in[s.taken:]
	n := 2 + int(binary.BigEndian.Uint16(b))
	s.taken += n
	return b[2:n], true
}

// fill reads what is there; unix.EAGAIN when that is nothing.
func (s *stream) fill(fd int) error {
	s.in = s.in[:copy(s.in, s.in[s.taken:])]
	s.taken = 0
	var oob [controlSize]byte
	n, oobn, _, _, err := unix.Recvmsg(fd, s.in[len(s.in):cap(s.in)], oob[:], 0)
	switch {
	case err != nil:
		return err
	case n == 0:
		return io.EOF
	}
	s.in = s.in[:len(s.in)+n]
	if s.at = stampOf(oob[:oobn]); s.at == 0 {
		s.at = time.Now().UnixNano() // stamps begin a moment after they were asked for
	}
	return nil
}

// recv is Recv for a connection. The kernel stamps segments, and tells the stamp of the last one that a read took: no frame of it came
// later, and those before came sooner when a read is late.
func (s *stream) recv(fd int, b *Batch) ([]Datagram, error) {
	// What an earlier read brought comes first: the descriptor is not readable for it.
	if got := s.frames(b); len(got) > 0 {
		return got, nil
	}
	if err := s.fill(fd); errors.Is(err, unix.EAGAIN) {
		return nil, nil
	} else if err != nil {
		return nil, os.NewSyscallError("read", err)
	}
	return s.frames(b), nil
}

func (s *stream) frames(b *Batch) []Datagram {
	for i := range b.out {
		p, ok := s.next()
		if !ok {
			return b.out[:i]
		}
		b.out[i] = Datagram{Data: p, At: s.at}
	}
	return b.out[:]
}
