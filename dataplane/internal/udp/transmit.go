package udp

import (
	"encoding/binary"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/pkt"
)

// txChunk is how many entries one sendmmsg takes: enough to share the system
// call, few enough that the packets are still in the cache.
const txChunk = 16

const txControl = 64 // IPV6_PKTINFO 40 bytes, UDP_SEGMENT 24

// segments says which runs leave as one message.
type segments uint8

const (
	alone     segments = iota // none: each packet is a message
	shortTail                 // those whose last packet is shorter than the others
	whole                     // all
)

// segmentation chooses by what is wished and what the kernel does right.
func segmentation(wish bool, able *Abilities) segments {
	switch {
	case !wish || able.ShortTails != nil:
		return alone
	case able.EqualTrains != nil:
		return shortTail
	}
	return whole
}

type transmitter struct {
	hdrs    [txChunk]mmsghdr
	iovs    [txChunk]unix.Iovec
	names   [txChunk]unix.RawSockaddrInet6
	control [txChunk][txControl]byte
	segments
	suspect segments // what segments was, while it is alone on a suspicion that the next packet confirms or refutes

	// Where sending stands in the batch: packets of run, from offset on.
	run    int
	offset int32
}

func (t *transmitter) init() {
	for i := range t.hdrs {
		h := &t.hdrs[i].hdr
		h.Name = (*byte)(unsafe.Pointer(&t.names[i]))
		h.Namelen = unix.SizeofSockaddrInet6
		h.Iov = &t.iovs[i]
		h.SetIovlen(1)
		h.Control = &t.control[i][0]
		t.names[i].Family = unix.AF_INET6
		c := t.control[i][:]
		*(*unix.Cmsghdr)(unsafe.Pointer(&c[0])) = unix.Cmsghdr{Len: unix.SizeofCmsghdr + 20, Level: unix.IPPROTO_IPV6, Type: unix.IPV6_PKTINFO}
		*(*unix.Cmsghdr)(unsafe.Pointer(&c[40])) = unix.Cmsghdr{Len: unix.SizeofCmsghdr + 2, Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
	}
}

// noDoubt is a suspect that is none.
const noDoubt = alone

// Send sends the batch's runs, each as one UDP_SEGMENT message where those are in
// use. It returns false when the kernel takes no more now (EAGAIN);
// calling again with the same batch goes on where it stopped. dropped counts
// packets that the kernel refused for good.
//
//hot:path
func (s *Socket) Send(b *pkt.Batch) (done bool, dropped int) {
	t := &s.tx
	runs := b.Runs()
	for t.run < len(runs) {
		n := s.fill(b, runs)
		sent, _, errno := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&t.hdrs[0])), uintptr(n), unix.MSG_DONTWAIT, 0, 0)
		switch {
		case errno == 0:
			s.Counters.TxMessages += uint64(sent)
			if t.suspect != noDoubt {
				t.suspect = noDoubt
				s.Counters.Fallbacks++
			}
			for range int(sent) {
				t.advance(runs)
			}
		case errno == unix.EAGAIN:
			return false, dropped
		case errno == unix.EINTR:
		default:
			dropped += s.refused(runs, errno)
		}
	}
	t.run, t.offset = 0, 0
	return true, dropped
}

// entry is the packet count and size of what is sent next: the rest of a run,
// or one packet of it.
//
//hot:path
func (t *transmitter) entry(r *pkt.Run, offset int32) int32 {
	left := r.Len - offset
	if t.segments == whole || t.segments == shortTail && left%r.Segment != 0 {
		return left
	}
	return min(r.Segment, left)
}

// fill makes entries from where sending stands, up to a chunk.
//
//hot:path
func (s *Socket) fill(b *pkt.Batch, runs []pkt.Run) int {
	t := &s.tx
	run, offset := t.run, t.offset
	n := 0
	for ; n < txChunk && run < len(runs); n++ {
		r := &runs[run]
		size := t.entry(r, offset)
		t.iovs[n].Base = &b.Bytes(r)[offset]
		t.iovs[n].SetLen(int(size))
		t.names[n].Addr = r.Path.Remote.IP
		t.names[n].Port = bigEndian(r.Path.Remote.Port)
		*(*[16]byte)(t.control[n][unix.SizeofCmsghdr:]) = r.Path.Local
		controlLen := 40
		if size > r.Segment {
			binary.NativeEndian.PutUint16(t.control[n][40+unix.SizeofCmsghdr:], uint16(r.Segment))
			controlLen = txControl
		}
		t.hdrs[n].hdr.SetControllen(controlLen)
		if offset += size; offset == r.Len {
			run, offset = run+1, 0
		}
	}
	return n
}

//hot:path
func (t *transmitter) advance(runs []pkt.Run) {
	r := &runs[t.run]
	if t.offset += t.entry(r, t.offset); t.offset == r.Len {
		t.run, t.offset = t.run+1, 0
	}
}

// refused handles an error of the first entry. For a message of several packets
// it may be that the kernel or the device cannot segment (EIO, EINVAL:
// net/ipv4/udp.c udp_send_skb): then each packet goes alone from now on, unless
// the first of them is refused too. Then the fault is with the destination, or
// with a local address that is gone, and the run is dropped.
func (s *Socket) refused(runs []pkt.Run, errno unix.Errno) (dropped int) {
	t := &s.tx
	r := &runs[t.run]
	if t.entry(r, t.offset) > r.Segment && (errno == unix.EIO || errno == unix.EINVAL) {
		t.segments, t.suspect = alone, t.segments
		return 0
	}
	if t.suspect != noDoubt {
		t.segments, t.suspect = t.suspect, noDoubt
	}
	left := pkt.Run{Len: r.Len - t.offset, Segment: r.Segment}
	t.run, t.offset = t.run+1, 0
	return left.Packets()
}
