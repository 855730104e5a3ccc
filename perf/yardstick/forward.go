package main

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	receiveBatch = 64
	datagramSize = 65536 // with UDP_GRO one buffer holds many packets
	packetRoom   = 2048
	trainMax     = 64 // segments in a train, UDP_MAX_SEGMENTS of older kernels
	trainBytes   = 65507
	sendBatch    = 8 // viewers in one sendmmsg; the bytes of their trains then fit a second-level cache
	tagSize      = 16
	controlRoom  = 64
	bufferSize   = 64 << 20
)

// calls are what the forwarder does with the kernel, each what the one before it does and more.
type calls int32

const (
	sendto calls = iota // a system call for each packet
	mmsg                // recvmmsg and sendmmsg
	gso                 // trains leave as one message (UDP_SEGMENT)
	gro                 // trains come as one message (UDP_GRO)
)

var callNames = []string{"sendto", "mmsg", "gso", "gro"}

// mmsghdr is struct mmsghdr of sendmmsg(2).
type mmsghdr struct {
	hdr unix.Msghdr
	len uint32
	_   [4]byte
}

// options are the flags of the command line.
type options struct{ floor, paced, spin bool }

// forwarder is the one thread that receives, seals and sends.
type forwarder struct {
	fd    int
	room  *room
	calls atomic.Int32
	options

	in     [receiveBatch]mmsghdr
	inVec  [receiveBatch]unix.Iovec
	inBuf  []byte
	inCtl  [receiveBatch][controlRoom]byte
	out    [sendBatch * trainMax]mmsghdr
	outVec [sendBatch * trainMax]unix.Iovec
	outBuf [sendBatch][]byte
	outCtl [controlRoom]byte // of every train: they have one shape

	train   []byte       // the packets of the frame, one behind the other: opened, with room for the tag, or as received
	lengths []int        // of the packets in train, tag included
	rocs    []uint32     // their roll-over counters
	streams [2]rollovers // what the publisher sends
	nonce   [12]byte
}

func newForwarder(at netip.AddrPort, r *room, o options) (*forwarder, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	// Larger buffers need privilege; without it the system's limit has to do.
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bufferSize)
	unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, bufferSize)
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}); err != nil {
		return nil, os.NewSyscallError("bind", err)
	}
	f := &forwarder{fd: fd, room: r, options: o, inBuf: make([]byte, receiveBatch*datagramSize), train: make([]byte, 0, datagramSize)}
	for i := range f.in {
		f.inVec[i] = unix.Iovec{Base: &f.inBuf[i*datagramSize], Len: datagramSize}
		f.in[i].hdr = unix.Msghdr{Iov: &f.inVec[i], Iovlen: 1, Control: &f.inCtl[i][0]}
	}
	for i := range f.out {
		f.out[i].hdr = unix.Msghdr{Namelen: unix.SizeofSockaddrInet4, Iov: &f.outVec[i], Iovlen: 1}
	}
	for i := range f.outBuf {
		f.outBuf[i] = make([]byte, datagramSize)
	}
	h := (*unix.Cmsghdr)(unsafe.Pointer(&f.outCtl)) // controlRoom holds one header and its value
	h.Level, h.Type = unix.SOL_UDP, unix.UDP_SEGMENT
	h.SetLen(unix.CmsgLen(2))
	return f, f.setCalls("gro")
}

// setCalls chooses by name; it may be called at any time. What the socket holds then may be lost.
func (f *forwarder) setCalls(name string) error {
	i := slices.Index(callNames, name)
	if i < 0 {
		return fmt.Errorf("calls %q: want one of %q", name, callNames)
	}
	on := 0
	if calls(i) >= gro {
		on = 1
	}
	if err := unix.SetsockoptInt(f.fd, unix.SOL_UDP, unix.UDP_GRO, on); err != nil {
		return os.NewSyscallError("UDP_GRO", err)
	}
	f.calls.Store(int32(i))
	return nil
}

func (f *forwarder) does(c calls) bool { return calls(f.calls.Load()) >= c }

// run forwards for ever.
func (f *forwarder) run() error {
	runtime.LockOSThread()
	for {
		n, errno := f.receive()
		if errno == unix.EINTR || errno == unix.EAGAIN {
			continue
		}
		if errno != 0 {
			return os.NewSyscallError("receive", errno)
		}
		for i := range f.in[:n] {
			if err := f.datagram(i); err != nil {
				return err
			}
		}
	}
}

// receive takes what is there, and waits for something to be unless the forwarder spins: then it gives EAGAIN.
func (f *forwarder) receive() (n uintptr, errno unix.Errno) {
	var flags uintptr
	if f.spin {
		flags = unix.MSG_DONTWAIT
	}
	if !f.does(mmsg) {
		n, _, errno = unix.Syscall6(unix.SYS_RECVFROM, uintptr(f.fd), uintptr(unsafe.Pointer(&f.inBuf[0])), datagramSize, flags, 0, 0)
		f.in[0].len, f.in[0].hdr.Controllen = uint32(n), 0
		return 1, errno
	}
	for i := range f.in {
		f.in[i].hdr.Controllen = controlRoom
	}
	n, _, errno = unix.Syscall6(unix.SYS_RECVMMSG, uintptr(f.fd), uintptr(unsafe.Pointer(&f.in)), receiveBatch, flags|unix.MSG_WAITFORONE, 0, 0)
	return n, errno
}

// datagram takes apart what UDP_GRO has put together.
func (f *forwarder) datagram(i int) error {
	p := f.inBuf[i*datagramSize:][:f.in[i].len]
	segment := len(p)
	if f.in[i].hdr.Controllen >= uint64(unix.CmsgLen(4)) {
		segment = int(binary.NativeEndian.Uint32(f.inCtl[i][unix.CmsgLen(0):]))
	}
	for len(p) > 0 {
		n := min(segment, len(p))
		if err := f.packet(p[:n]); err != nil {
			return err
		}
		p = p[n:]
	}
	return nil
}

// packet adds a packet to the train, which leaves with the last packet of a frame. Audio, and all in paced mode, goes at once.
func (f *forwarder) packet(p []byte) error {
	const smallest = 12 + tagSize
	if len(p) < smallest || len(p) > packetRoom || p[0]>>6 != 2 || p[1] >= 192 && p[1] <= 223 {
		return nil // RTCP and whatever else
	}
	video := p[1]&0x7f == 96
	if !video || len(f.train)+len(p) > trainBytes || len(f.lengths) == trainMax || len(f.lengths) > 0 && len(p) > f.lengths[0] {
		if err := f.flush(); err != nil {
			return err
		}
	}
	if !f.take(p) {
		return nil
	}
	if last := p[1]&0x80 != 0; last || !video || f.paced {
		return f.flush()
	}
	return nil
}

// take opens a packet into the train; false when it is not the publisher's.
func (f *forwarder) take(p []byte) bool {
	publisher := f.room.publisher.Load()
	header := headerSize(p)
	if publisher == nil || header+tagSize > len(p) {
		return false
	}
	start := len(f.train)
	roc := f.roc(p)
	f.train = f.train[:start+len(p)]
	to := f.train[start:]
	if f.floor {
		copy(to, p)
	} else {
		f.setNonce(publisher, p, roc)
		copy(to, p[:header])
		if _, err := publisher.aead.Open(to[header:header], f.nonce[:], p[header:], p[:header]); err != nil {
			f.train = f.train[:start]
			return false
		}
	}
	f.lengths, f.rocs = append(f.lengths, len(p)), append(f.rocs, roc)
	return true
}

// flush sends the train to all viewers.
func (f *forwarder) flush() error {
	if len(f.lengths) == 0 {
		return nil
	}
	binary.NativeEndian.PutUint16(f.outCtl[unix.CmsgLen(0):], uint16(f.lengths[0]))
	viewers := *f.room.viewers.Load()
	for len(viewers) > 0 {
		messages := 0
		chunk := viewers[:min(sendBatch, len(viewers))]
		for i, v := range chunk {
			messages = f.prepare(messages, i, v)
		}
		if err := f.send(messages); err != nil {
			return err
		}
		viewers = viewers[len(chunk):]
	}
	f.train, f.lengths, f.rocs = f.train[:0], f.lengths[:0], f.rocs[:0]
	return nil
}

// prepare makes messages from the n-th on of the train for the i-th viewer of a chunk, and returns how many there are then.
func (f *forwarder) prepare(n, i int, v *peer) int {
	from := f.train
	if !f.floor {
		f.seal(f.outBuf[i], v)
		from = f.outBuf[i][:len(f.train)]
	}
	if len(f.lengths) > 1 && f.does(gso) {
		f.message(n, from, v)
		h := &f.out[n].hdr
		h.Control, h.Controllen = &f.outCtl[0], uint64(unix.CmsgSpace(2))
		return n + 1
	}
	for _, size := range f.lengths {
		f.message(n, from[:size], v)
		from = from[size:]
		n++
	}
	return n
}

func (f *forwarder) message(n int, b []byte, v *peer) {
	f.outVec[n] = unix.Iovec{Base: &b[0], Len: uint64(len(b))}
	h := &f.out[n].hdr
	h.Name = (*byte)(unsafe.Pointer(&v.to))
	h.Control, h.Controllen = nil, 0
}

func (f *forwarder) seal(to []byte, v *peer) {
	from := f.train
	for j, n := range f.lengths {
		header := headerSize(from)
		f.setNonce(v, from, f.rocs[j])
		copy(to, from[:header])
		v.aead.Seal(to[header:header], f.nonce[:], from[header:n-tagSize], to[:header])
		from, to = from[n:], to[n:]
	}
}

func (f *forwarder) send(n int) error {
	for done := 0; done < n; {
		sent, errno := f.sendSome(done, n)
		switch errno {
		case 0:
			done += int(sent)
		case unix.EINTR:
		case unix.ECONNREFUSED: // a viewer is gone; the error belongs to an earlier datagram
		default:
			return os.NewSyscallError("send", errno)
		}
	}
	return nil
}

// sendSome sends messages from one on, before another; it returns how many.
func (f *forwarder) sendSome(from, to int) (n uintptr, errno unix.Errno) {
	if f.does(mmsg) {
		n, _, errno = unix.Syscall6(unix.SYS_SENDMMSG, uintptr(f.fd), uintptr(unsafe.Pointer(&f.out[from])), uintptr(to-from), 0, 0, 0)
		return n, errno
	}
	v, name := &f.outVec[from], f.out[from].hdr.Name
	_, _, errno = unix.Syscall6(unix.SYS_SENDTO, uintptr(f.fd), uintptr(unsafe.Pointer(v.Base)), uintptr(v.Len), 0, uintptr(unsafe.Pointer(name)), unix.SizeofSockaddrInet4)
	return 1, errno
}

// setNonce makes the GCM nonce of a packet (RFC 7714 section 8.1).
func (f *forwarder) setNonce(of *peer, p []byte, roc uint32) {
	n := &f.nonce
	n[0], n[1] = 0, 0
	copy(n[2:6], p[8:12])
	binary.BigEndian.PutUint32(n[6:], roc)
	copy(n[10:], p[2:4])
	for i := range n {
		n[i] ^= of.salt[i]
	}
}

// headerSize is the length of an RTP header with what follows it in the clear (RFC 3550 sections 5.1 and 5.3.1).
func headerSize(p []byte) int {
	n := 12 + 4*int(p[0]&0x0f)
	if p[0]&0x10 != 0 && len(p) >= n+4 {
		n += 4 + 4*int(binary.BigEndian.Uint16(p[n+2:]))
	}
	return n
}
