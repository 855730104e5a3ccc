package tcp

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// rxBuffer is what one read takes at most: a burst of a few frames.
const rxBuffer = 32 << 10

type receiver struct {
	buf [rxBuffer]byte
	out []pkt.Datagram
}

// Receive reads the next connection that can be read, and returns the whole
// frames that came; nil when there is no such connection in this turn. They are
// good until the next call. now is when they arrived.
//
// Of a connection that is not placed, no more than one frame's size is read:
// the caller places it, releases it or refuses it by its first frame.
//
//hot:path
func (s *Socket) Receive(now clock.Time) (*Conn, []pkt.Datagram) {
	for s.at < len(s.readable) {
		c := s.readable[s.at]
		s.at++
		c.queued = false
		if c.closed || c.away {
			continue
		}
		if rx := s.read(now, c); len(rx) > 0 {
			return c, rx
		}
	}
	return nil, nil
}

// More reports whether there is something to be read in the next turn.
func (s *Socket) More() bool { return len(s.again) > 0 || s.at < len(s.readable) }

//hot:path
func (s *Socket) read(now clock.Time, c *Conn) []pkt.Datagram {
	buf := s.rx.buf[:]
	if !c.placed {
		buf = buf[:len(c.in)]
	}
	n := copy(buf, c.in[:c.n])
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf[n:]))), uintptr(len(buf)-n), unix.MSG_DONTWAIT, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
		got = 0
	case errno != 0 || got == 0 && n < len(buf): // else there was no room: all of it was read before it came here
		s.end(c)
		return nil
	}
	n += int(got)
	// What did not fill the buffer was all (epoll(7), question 9), but for the
	// end of the stream.
	if n == len(buf) || c.ended || errno == unix.EINTR {
		c.queued = true
		s.again = append(s.again, c)
	}
	return s.frames(now, c, buf[:n])
}

// frames cuts what was read into datagrams, and keeps what is left over.
//
//hot:path
func (s *Socket) frames(now clock.Time, c *Conn, b []byte) []pkt.Datagram {
	s.rx.out = s.rx.out[:0]
	rest := b
	for {
		n, ok := wire.Frame(rest)
		if !ok {
			s.Refuse(c, BadFrame)
			return nil
		}
		if n == 0 {
			break
		}
		if n > wire.FrameHead { // else a null packet, which means nothing
			s.rx.out = append(s.rx.out, pkt.Datagram{Path: c.path, Arrived: now, Data: rest[wire.FrameHead:n]})
		}
		rest = rest[n:]
	}
	if c.left = len(rest); c.placed || len(s.rx.out) == 0 {
		b = rest
	}
	c.n = copy(c.in[:], b)
	return s.rx.out
}

// Place keeps a connection whose first frames Receive has just returned.
func (s *Socket) Place(c *Conn) {
	c.placed = true
	c.n = copy(c.in[:], c.in[c.n-c.left:c.n])
}
