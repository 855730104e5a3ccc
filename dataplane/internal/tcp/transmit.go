package tcp

import (
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// txFrames is how many frames one system call takes: two parts for each, far
// below UIO_MAXIOV.
const txFrames = 64

// slack is room for what is sent whether or not a connection takes more: answers
// to checks, handshakes, reports. What does not fit is lost, as on any network.
const slack = 8 << 10

type transmitter struct {
	hdr   unix.Msghdr
	iovs  [2 * txFrames]unix.Iovec
	heads [txFrames][wire.FrameHead]byte
	spare [][]byte // buffers for connections that take no more
}

// Send writes what the batch holds for connections. dropped counts packets for
// connections that are gone, and those that found no room.
//
//hot:path
func (s *Socket) Send(b *pkt.Batch) (dropped int) {
	runs := b.Streams()
	for len(runs) > 0 {
		n := 1
		for n < len(runs) && runs[n].Path.Remote == runs[0].Path.Remote {
			n++
		}
		dropped += s.sendRuns(b, runs[:n])
		runs = runs[n:]
	}
	return dropped
}

// sendRuns writes what goes to one connection.
//
//hot:path
func (s *Socket) sendRuns(b *pkt.Batch, runs []pkt.Run) (dropped int) {
	packets := cut{b: b, runs: runs}
	c := s.conns[runs[0].Path.Remote.Conn]
	if c == nil || c.path.Remote != runs[0].Path.Remote {
		return packets.count()
	}
	for len(c.out) == 0 {
		n, size := s.fill(&packets)
		if n == 0 {
			s.writable = append(s.writable, c.path.Remote)
			return 0
		}
		s.tx.hdr.SetIovlen(2 * n)
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMSG, uintptr(c.fd), uintptr(unsafe.Pointer(&s.tx.hdr)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0, 0)
		switch {
		case errno == unix.EAGAIN || errno == unix.EINTR:
			sent = 0
		case errno != 0:
			s.end(c)
			return n + packets.count()
		}
		if int(sent) < size {
			dropped += s.keepRest(c, n, int(sent))
		}
	}
	for p := packets.next(); p != nil; p = packets.next() {
		if !s.keep(c, p) {
			dropped++
		}
	}
	return dropped
}

// fill makes a message of up to txFrames packets.
//
//hot:path
func (s *Socket) fill(packets *cut) (n, size int) {
	t := &s.tx
	for ; n < txFrames; n++ {
		p := packets.next()
		if p == nil {
			break
		}
		wire.PutFrameHead(&t.heads[n], len(p))
		t.iovs[2*n].Base = &t.heads[n][0]
		t.iovs[2*n].SetLen(wire.FrameHead)
		t.iovs[2*n+1].Base = &p[0]
		t.iovs[2*n+1].SetLen(len(p))
		size += wire.FrameHead + len(p)
	}
	t.hdr.Iov = &t.iovs[0]
	return n, size
}

// keepRest keeps what the kernel did not take of a message of n frames. The
// frame that it took in part fits always.
//
//hot:path
func (s *Socket) keepRest(c *Conn, n, sent int) (dropped int) {
	c.out = s.tx.buffer(s.o.Window + slack)
	for i := range n {
		head := s.tx.heads[i][:]
		p := unsafe.Slice(s.tx.iovs[2*i+1].Base, s.tx.iovs[2*i+1].Len)
		switch size := len(head) + len(p); {
		case sent >= size:
			sent -= size
		case sent > 0:
			c.out = append(c.out, head[min(sent, len(head)):]...)
			c.out = append(c.out, p[max(sent-len(head), 0):]...)
			sent = 0
		case !s.keep(c, p):
			dropped++
		}
	}
	return dropped
}

// keep adds a packet to what waits for a connection, if there is room.
//
//hot:path
func (s *Socket) keep(c *Conn, p []byte) bool {
	if len(c.out)+wire.FrameHead+len(p) > cap(c.out) {
		return false
	}
	var head [wire.FrameHead]byte
	wire.PutFrameHead(&head, len(p))
	c.out = append(c.out, head[:]...)
	c.out = append(c.out, p...)
	return true
}

// flush writes what waits for a connection that takes more again.
//
//hot:path
func (s *Socket) flush(c *Conn) {
	n, _, errno := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&c.out[0])), uintptr(len(c.out)), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL, 0, 0)
	switch {
	case errno == unix.EAGAIN || errno == unix.EINTR:
	case errno != 0:
		s.end(c)
	case int(n) < len(c.out):
		c.out = c.out[:copy(c.out, c.out[n:])]
	default:
		s.tx.giveBack(c)
		s.writable = append(s.writable, c.path.Remote)
	}
}

// buffer returns room for what a connection does not take.
//
//hot:path
func (t *transmitter) buffer(size int) []byte {
	n := len(t.spare)
	if n == 0 {
		return newBuffer(size)
	}
	b := t.spare[n-1]
	t.spare = t.spare[:n-1]
	return b
}

// newBuffer stays out of the function that calls it, so that what that one
// allocates is plain to see.
//
//go:noinline
func newBuffer(size int) []byte { return make([]byte, 0, size) }

//hot:path
func (t *transmitter) giveBack(c *Conn) {
	if c.out != nil {
		t.spare = append(t.spare, c.out[:0])
		c.out = nil
	}
}

// cut walks the packets of runs.
type cut struct {
	b    *pkt.Batch
	runs []pkt.Run
	off  int32 // in the first run
}

// next returns the next packet, nil when there is none.
//
//hot:path
func (c *cut) next() []byte {
	if len(c.runs) == 0 {
		return nil
	}
	r := &c.runs[0]
	n := min(r.Segment, r.Len-c.off)
	p := c.b.Bytes(r)[c.off : c.off+n]
	if c.off += n; c.off == r.Len {
		c.runs, c.off = c.runs[1:], 0
	}
	return p
}

// count returns how many packets are left.
//
//hot:path
func (c *cut) count() (n int) {
	for p := c.next(); p != nil; p = c.next() {
		n++
	}
	return n
}
