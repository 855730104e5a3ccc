package udp

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// Memory is what the kernel says of a socket's queues, in bytes as it charges
// them: a datagram counts with its bookkeeping.
type Memory struct {
	ReceiveQueue, ReceiveBuffer uint32 // what waits, and may
	SendQueue, SendBuffer       uint32 // likewise, on the way out
	Overflows                   uint32 // datagrams dropped for want of room since the start; wraps
}

// Memory asks the kernel (SO_MEMINFO, net/core/sock.c sk_get_meminfo).
func (s *Socket) Memory() Memory {
	var info [9]uint32
	size := uint32(unsafe.Sizeof(info))
	// It cannot fail for an open socket; a kernel before 4.12, which knows fewer
	// figures or none, leaves zeroes.
	_, _, _ = unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(s.fd), unix.SOL_SOCKET, unix.SO_MEMINFO, uintptr(unsafe.Pointer(&info[0])), uintptr(unsafe.Pointer(&size)), 0)
	return Memory{
		ReceiveQueue: info[unix.SK_MEMINFO_RMEM_ALLOC], ReceiveBuffer: info[unix.SK_MEMINFO_RCVBUF],
		SendQueue: info[unix.SK_MEMINFO_WMEM_ALLOC], SendBuffer: info[unix.SK_MEMINFO_SNDBUF],
		Overflows: info[unix.SK_MEMINFO_DROPS],
	}
}
