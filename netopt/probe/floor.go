// Package probe measures what a machine can do at all, before anything of ours
// is measured on it.
package probe

import (
	"encoding/binary"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// Floor returns how long it takes this machine, as it is now, to do with a
// datagram the least that forwarding takes: from the kernel's receive timestamp
// over waking a sleeping thread to the return of the call that sends it on. No
// stream here keeps to a budget below that. It takes n samples, sorted, one each
// two milliseconds, over loopback: what a network card adds is not in them.
func Floor(n int) ([]time.Duration, error) {
	to, err := socket()
	if err != nil {
		return nil, err
	}
	defer unix.Close(to)
	from, err := socket()
	if err != nil {
		return nil, err
	}
	defer unix.Close(from)
	if err := unix.SetsockoptInt(to, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return nil, os.NewSyscallError("SO_TIMESTAMPNS", err)
	}
	address, err := unix.Getsockname(to)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	back, err := unix.Getsockname(from)
	if err != nil {
		return nil, os.NewSyscallError("getsockname", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	go send(from, address, n)
	samples := make([]time.Duration, 0, n)
	for range n {
		took, err := forward(to, back)
		if err != nil {
			return nil, err
		}
		samples = append(samples, took)
	}
	slices.Sort(samples)
	return samples, nil
}

// Quantile returns the sample that so many of a thousand do not exceed.
func Quantile(sorted []time.Duration, permille int) time.Duration {
	return sorted[max(0, (len(sorted)*permille+999)/1000-1)]
}

func socket() (int, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	// A datagram over loopback is lost under memory pressure only: then the measurement fails.
	err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 5})
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		unix.Close(fd)
		return -1, os.NewSyscallError("bind", err)
	}
	return fd, nil
}

// send sends a datagram now and then: the receiver sleeps in between. It ends
// early when the socket is closed.
func send(fd int, to unix.Sockaddr, n int) {
	for range n {
		time.Sleep(2 * time.Millisecond)
		if unix.Sendto(fd, make([]byte, 1200), 0, to) != nil {
			return
		}
	}
}

// forward takes one datagram, sends it on, and returns how long ago it came.
func forward(fd int, to unix.Sockaddr) (time.Duration, error) {
	var data [1500]byte
	var control [64]byte
	n, oob, _, _, err := unix.Recvmsg(fd, data[:], control[:], 0)
	for err == unix.EINTR { // with a timeout, the kernel does not begin again by itself (signal(7))
		n, oob, _, _, err = unix.Recvmsg(fd, data[:], control[:], 0)
	}
	if err != nil {
		return 0, os.NewSyscallError("recvmsg", err)
	}
	if err := unix.Sendto(fd, data[:n], 0, to); err != nil {
		return 0, os.NewSyscallError("sendto", err)
	}
	now := time.Now()
	messages, err := unix.ParseSocketControlMessage(control[:oob])
	if err != nil || len(messages) == 0 || len(messages[0].Data) < 16 {
		return 0, fmt.Errorf("the kernel gives no receive timestamp (%v)", err)
	}
	stamp := messages[0].Data
	came := time.Unix(int64(binary.NativeEndian.Uint64(stamp)), int64(binary.NativeEndian.Uint64(stamp[8:])))
	return now.Sub(came), nil
}
