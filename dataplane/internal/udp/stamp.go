package udp

import (
	"encoding/binary"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
)

// stampControl writes the ancillary message that asks for a transmit timestamp of
// the one message it goes with (Documentation/networking/timestamping.rst, 1.3.4).
//
//hot:path
func stampControl(b []byte) {
	*(*unix.Cmsghdr)(unsafe.Pointer(&b[0])) = unix.Cmsghdr{Len: unix.SizeofCmsghdr + 4, Level: unix.SOL_SOCKET, Type: unix.SO_TIMESTAMPING}
	binary.NativeEndian.PutUint32(b[unix.SizeofCmsghdr:], unix.SOF_TIMESTAMPING_TX_SOFTWARE)
}

// stampReader is where one timestamp is read.
type stampReader struct {
	hdr     unix.Msghdr
	control [256]byte
}

// Sent returns when a run that asked for it (pkt.Run.Stamp) was handed to the
// network device, false when the kernel has not said so yet. origin is the wall
// clock at clock.Time 0. One run at a time asks, so there is one answer.
//
// The socket asks for the timestamp alone, without the packet, and for none of what
// it receives in this form, so that receiving costs what it did; SO_TIMESTAMPNS
// brings it, as it brings those of received datagrams (net/socket.c
// __sock_recv_timestamp).
func (s *Socket) Sent(origin time.Time) (clock.Time, bool) {
	r := &s.stamp
	r.hdr.Control = &r.control[0]
	r.hdr.SetControllen(len(r.control))
	_, _, errno := unix.RawSyscall(unix.SYS_RECVMSG, uintptr(s.fd), uintptr(unsafe.Pointer(&r.hdr)), unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
	if errno != 0 {
		return 0, false
	}
	for b := r.control[:r.hdr.Controllen]; len(b) >= unix.SizeofCmsghdr; {
		h := (*unix.Cmsghdr)(unsafe.Pointer(&b[0]))
		if data := b[unix.SizeofCmsghdr:]; h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS {
			at := int64(binary.NativeEndian.Uint64(data))*int64(time.Second) + int64(binary.NativeEndian.Uint64(data[8:]))
			return clock.Time(at - origin.UnixNano()), true
		}
		next := (int(h.Len) + 7) &^ 7
		if next <= 0 || next > len(b) {
			break
		}
		b = b[next:]
	}
	return 0, false
}
