package udp

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

// Sizes of one receive. A message is a datagram, or with GRO a train of them,
// which the kernel bounds at 64 KiB. Only the pages that are written take
// memory, and messages come into the first buffers first: a burst of small ones
// touches as much cache as small buffers would. The buffers are not a power of
// two apart, since then they would share cache lines.
const (
	rxMessages  = 88 // of one recvmmsg: under overload, what is read at once leaves as two of the longest trains
	rxBuffer    = 64 << 10
	rxStride    = rxBuffer + 1280 // a datagram of Ethernet's size further
	rxBatch     = rxMessages      // datagrams that one Receive returns at most
	maxDatagram = 2048            // of any MTU that media uses; longer ones are dropped
	rxControl   = 128             // IPV6_PKTINFO, SCM_TIMESTAMPNS and UDP_GRO with their heads take 96
)

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte // struct mmsghdr is padded on 64-bit machines
}

type receiver struct {
	hdrs            [rxMessages]mmsghdr
	iovs            [rxMessages]unix.Iovec
	names           [rxMessages]unix.RawSockaddrInet6
	control         [rxMessages][rxControl]byte
	buffers         []byte
	out             [rxBatch]pkt.Datagram
	gro, timestamps bool

	// What the last recvmmsg brought and Receive has not returned yet.
	got, next int // messages; the next one
	train     train
}

// train is a received message: datagrams for one path that came together.
type train struct {
	path    pkt.Path
	arrived clock.Time
	data    []byte // what is left of it
	segment int    // size of a datagram; the last may be shorter
	left    bool   // data is not returned yet, though it may be empty
}

// init points the kernel's structures at each other. The receiver lives in a
// heap object, which Go's collector does not move.
func (r *receiver) init(buffers []byte) {
	r.buffers = buffers
	for i := range r.hdrs {
		r.iovs[i].Base = &r.buffers[i*rxStride]
		r.iovs[i].SetLen(rxBuffer)
		h := &r.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
		r.ready(i)
	}
}

// ready says how much room a message has, which the last one in its place wrote over.
//
//hot:path
func (r *receiver) ready(i int) {
	r.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
	r.hdrs[i].hdr.SetControllen(rxControl)
}

// Receive returns the datagrams that wait, up to a batch, nil when there are
// none; they are good until the next call. now is the instant of the call, and
// origin the wall clock at clock.Time 0: kernel receive times are told by the
// wall clock. Datagrams that are too long are left out and counted.
//
//hot:path
func (s *Socket) Receive(origin time.Time, now clock.Time) (rx []pkt.Datagram, truncated int) {
	r := &s.rx
	if !r.train.left && r.next == r.got && !s.fetch() {
		return nil, 0
	}
	n := 0
	for n < rxBatch && (r.train.left || r.next < r.got) {
		if !r.train.left {
			r.open(origin, now)
		}
		if r.train.take(&r.out[n]) {
			n++
		} else {
			truncated++
		}
	}
	return r.out[:n], truncated
}

// fetch reads what the socket has, up to rxMessages; false when it has nothing.
//
//hot:path
func (s *Socket) fetch() bool {
	r := &s.rx
	for i := range r.hdrs[:r.got] {
		r.ready(i)
	}
	r.got, r.next = 0, 0
	// MSG_DONTWAIT: a raw system call must not block, or it would hold up the
	// runtime's stop-the-world.
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&r.hdrs[0])), rxMessages, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return false // EAGAIN; others (an ICMP error) are about one peer and pass
	}
	r.got = int(got)
	s.Counters.RxMessages += uint64(got)
	return true
}

// open begins the next message.
//
//hot:path
func (r *receiver) open(origin time.Time, now clock.Time) {
	i := r.next
	r.next++
	t := &r.train
	t.data = r.buffers[i*rxStride : i*rxStride+int(r.hdrs[i].len)]
	t.path.Remote.IP = r.names[i].Addr
	t.path.Remote.Port = bigEndian(r.names[i].Port)
	t.arrived, t.segment, t.left = now, len(t.data), true
	if wall := r.readControl(i, t); wall != 0 {
		t.arrived = clock.Time(wall - origin.UnixNano())
	}
}

// take cuts the next datagram off; false when that one is too long.
//
//hot:path
func (t *train) take(d *pkt.Datagram) bool {
	n := min(t.segment, len(t.data))
	d.Path, d.Arrived, d.Data = t.path, t.arrived, t.data[:n:n]
	t.data = t.data[n:]
	t.left = len(t.data) > 0
	return n <= maxDatagram
}

// readControl reads the local address, the size of a train's datagrams and the
// kernel's receive time, in nanoseconds of the wall clock, 0 for unknown, from a
// message's ancillary data (cmsg(3)).
//
//hot:path
func (r *receiver) readControl(i int, t *train) (received int64) {
	b := r.control[i][:r.hdrs[i].hdr.Controllen]
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		data := b[unix.SizeofCmsghdr:]
		switch {
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
			t.path.Local = [16]byte(data)
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS:
			received = int64(binary.NativeEndian.Uint64(data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(data[8:]))
		case h.Level == unix.SOL_UDP && h.Type == unix.UDP_GRO:
			if size := int(binary.NativeEndian.Uint32(data)); size > 0 {
				t.segment = size
			}
		}
		next := (int(h.Len) + 7) &^ 7
		if next <= 0 || next > len(b) {
			break
		}
		b = b[next:]
	}
	return received
}

// bigEndian swaps a port between network and host order.
func bigEndian(v uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], v)
	return binary.BigEndian.Uint16(b[:])
}
