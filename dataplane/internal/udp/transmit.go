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

// Sizes of ancillary data (cmsg(3)): the local address, and beside it a traffic
// class, a priority, the size of segments and the wish for a timestamp, each or none.
const (
	txPacketInfo = 40
	txNumber     = 24
	txControl    = txPacketInfo + 4*txNumber
)

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
	priorities bool // the kernel takes them by message
	bound      bool // to one address, which everything leaves from then

	// Where sending stands in the batch: packets of run, from offset on.
	run    int
	offset int32

	// What the kernel did not take as a train.
	apart   int  // the run before this one goes packet by packet
	blamed  bool // the first of those was taken: it is the train that was refused
	refused int  // trains in a row
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
	}
}

// patience is how many trains in a row may be refused before no more are tried.
const patience = 16

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
			for range int(sent) {
				t.advance(runs)
			}
			if t.refused >= patience {
				t.segments, t.refused = alone, 0
				s.Counters.Fallbacks++
			}
		case errno == unix.EAGAIN:
			return false, dropped
		case errno == unix.EINTR:
		default:
			dropped += s.retry(runs, errno)
		}
	}
	t.run, t.offset, t.apart = 0, 0, 0
	return true, dropped
}

// entry is the size of what is sent next of run i: its rest, or one packet.
//
//hot:path
func (t *transmitter) entry(i int, r *pkt.Run, offset int32) int32 {
	left := r.Len - offset
	if i+1 == t.apart {
		return min(r.Segment, left)
	}
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
		size := t.entry(run, r, offset)
		t.iovs[n].Base = &b.Bytes(r)[offset]
		t.iovs[n].SetLen(int(size))
		t.names[n].Addr = r.Path.Remote.IP
		t.names[n].Port = bigEndian(r.Path.Remote.Port)
		t.hdrs[n].hdr.SetControllen(t.describe(n, r, size, offset))
		if offset += size; offset == r.Len {
			run, offset = run+1, 0
		}
	}
	return n
}

// describe writes what goes with an entry beside its address, and returns the
// size of its ancillary data: the less, the better, since the kernel allocates what
// is longer than 36 bytes (net/socket.c ____sys_sendmsg). An IPv4 packet that leaves
// by an IPv6 socket takes the class of its own version (net/ipv4/udp.c udp_sendmsg),
// and its queue priority from it unless one follows (net/ipv4/ip_sockglue.c
// ip_cmsg_send).
//
//hot:path
func (t *transmitter) describe(n int, r *pkt.Run, size, offset int32) int {
	c, at := &t.control[n], 0
	if !t.bound {
		*(*unix.Cmsghdr)(unsafe.Pointer(&c[0])) = unix.Cmsghdr{Len: unix.SizeofCmsghdr + unix.SizeofInet6Pktinfo, Level: unix.IPPROTO_IPV6, Type: unix.IPV6_PKTINFO}
		*(*unix.Inet6Pktinfo)(unsafe.Pointer(&c[unix.SizeofCmsghdr])) = unix.Inet6Pktinfo{Addr: r.Path.Local}
		at = txPacketInfo
	}
	if r.Mark.Class != 0 {
		level, name := int32(unix.IPPROTO_IPV6), int32(unix.IPV6_TCLASS)
		if r.Path.Remote.Is4() {
			level, name = unix.IPPROTO_IP, unix.IP_TOS
		}
		at += putNumber(c[at:], level, name, uint32(r.Mark.Class))
	}
	if r.Mark.Priority != 0 && t.priorities {
		at += putNumber(c[at:], unix.SOL_SOCKET, unix.SO_PRIORITY, uint32(r.Mark.Priority))
	}
	if size > r.Segment {
		*(*unix.Cmsghdr)(unsafe.Pointer(&c[at])) = unix.Cmsghdr{Len: unix.SizeofCmsghdr + 2, Level: unix.SOL_UDP, Type: unix.UDP_SEGMENT}
		binary.NativeEndian.PutUint16(c[at+unix.SizeofCmsghdr:], uint16(r.Segment))
		at += txNumber
	}
	if r.Stamp && offset == 0 {
		stampControl(c[at:])
		at += txNumber
	}
	return at
}

// putNumber writes an ancillary message of 32 bits, and returns its size.
//
//hot:path
func putNumber(b []byte, level, name int32, value uint32) int {
	*(*unix.Cmsghdr)(unsafe.Pointer(&b[0])) = unix.Cmsghdr{Len: unix.SizeofCmsghdr + 4, Level: level, Type: name}
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr:], value)
	return txNumber
}

// advance goes on behind an entry that the kernel took, and notes what that says
// of trains.
//
//hot:path
func (t *transmitter) advance(runs []pkt.Run) {
	r := &runs[t.run]
	size := t.entry(t.run, r, t.offset)
	switch {
	case size > r.Segment:
		t.refused = 0
	case t.apart == t.run+1 && !t.blamed:
		t.blamed = true
		t.refused++
	}
	if t.offset += size; t.offset == r.Len {
		t.run, t.offset = t.run+1, 0
	}
}

// retry handles an error of the first entry. A train is refused (net/ipv4/udp.c
// udp_send_skb) with EIO where the device cannot checksum, with EMSGSIZE, EINVAL
// in older kernels, where the path takes only smaller packets, which an ICMP
// message can claim of any: then its packets go alone, in fragments if need be.
// One destination says nothing of others, but many trains in a row do. What is
// refused alone is the fault of the destination, or of a local address that is
// gone, and the rest of its run is dropped.
func (s *Socket) retry(runs []pkt.Run, errno unix.Errno) (dropped int) {
	t := &s.tx
	r := &runs[t.run]
	train := t.entry(t.run, r, t.offset) > r.Segment
	if train && (errno == unix.EIO || errno == unix.EINVAL || errno == unix.EMSGSIZE) {
		t.apart, t.blamed = t.run+1, false
		s.Counters.Refusals++
		return 0
	}
	left := pkt.Run{Len: r.Len - t.offset, Segment: r.Segment}
	t.run, t.offset = t.run+1, 0
	return left.Packets()
}
