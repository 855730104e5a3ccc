package udp

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

// Sizes of one receive: a burst of a few frames, datagrams of any MTU that
// media uses. What is larger is cut off by the kernel, and dropped here.
const (
	rxBatch   = 64
	rxBuffer  = 2048
	rxControl = 96 // IPV6_PKTINFO and SCM_TIMESTAMPNS with their heads take 72
)

type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte // struct mmsghdr is padded on 64-bit machines
}

type receiver struct {
	hdrs    [rxBatch]mmsghdr
	iovs    [rxBatch]unix.Iovec
	names   [rxBatch]unix.RawSockaddrInet6
	control [rxBatch][rxControl]byte
	buffers [rxBatch][rxBuffer]byte
	out     [rxBatch]pkt.Datagram
}

// init points the kernel's structures at each other. The receiver lives in a
// heap object, which Go's collector does not move.
func (r *receiver) init() {
	for i := range r.hdrs {
		r.iovs[i].Base = &r.buffers[i][0]
		r.iovs[i].SetLen(rxBuffer)
		h := &r.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&r.names[i]))
		h.Iov = &r.iovs[i]
		h.SetIovlen(1)
		h.Control = &r.control[i][0]
	}
}

// Receive returns the datagrams that wait, up to a batch, nil when there are
// none; they are good until the next call. origin is the wall clock at
// clock.Time 0: kernel receive times are told by the wall clock. Datagrams that
// did not fit a buffer are left out and counted.
//
//hot:path
func (s *Socket) Receive(origin time.Time) (rx []pkt.Datagram, truncated int) {
	r := &s.rx
	for i := range r.hdrs {
		r.hdrs[i].hdr.Namelen = unix.SizeofSockaddrInet6
		r.hdrs[i].hdr.SetControllen(rxControl)
	}
	// MSG_DONTWAIT: a raw system call must not block, or it would hold up the
	// runtime's stop-the-world.
	got, _, errno := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&r.hdrs[0])), rxBatch, unix.MSG_DONTWAIT, 0, 0)
	if errno != 0 {
		return nil, 0 // EAGAIN; others (an ICMP error) are about one peer and pass
	}
	n := 0
	for i := range int(got) {
		h := &r.hdrs[i]
		if h.hdr.Flags&unix.MSG_TRUNC != 0 {
			truncated++
			continue
		}
		d := &r.out[n]
		n++
		d.Data = r.buffers[i][:h.len]
		d.Path.Remote.IP = r.names[i].Addr
		d.Path.Remote.Port = bigEndian(r.names[i].Port)
		d.Arrived = clock.Time(r.readControl(i, &d.Path) - origin.UnixNano())
	}
	return r.out[:n], truncated
}

// readControl reads the local address and the kernel's receive time, in
// nanoseconds of the wall clock, from a datagram's ancillary data (cmsg(3)).
//
//hot:path
func (r *receiver) readControl(i int, path *pkt.Path) (received int64) {
	b := r.control[i][:r.hdrs[i].hdr.Controllen]
	for len(b) >= unix.SizeofCmsghdr {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		data := b[unix.SizeofCmsghdr:]
		switch {
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO:
			path.Local = [16]byte(data)
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS:
			received = int64(binary.NativeEndian.Uint64(data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(data[8:]))
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
