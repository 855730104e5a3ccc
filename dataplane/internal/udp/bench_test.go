package udp

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/pkt"
)

// BenchmarkReceive measures the receiving thread's CPU for packets that came as
// trains of 9, and for single ones. The sender's share, which is most of a
// loopback's cost, is not in it.
func BenchmarkReceive(b *testing.B) {
	for _, train := range []int{1, 9} {
		for _, gro := range []bool{false, true} {
			b.Run(fmt.Sprintf("train=%d/gro=%v", train, gro), func(b *testing.B) { receives(b, train, gro) })
		}
	}
}

func receives(b *testing.B, train int, gro bool) {
	from, to := benchSocket(b, pkt.Accel{GSO: true}), benchSocket(b, pkt.Accel{GRO: gro, Timestamps: true})
	batch := pkt.NewBatch(make([]byte, 1<<20), 512)
	batch.Limit(train)
	path := path("127.0.0.1", to.Port(), "127.0.0.1")
	const packets = 9 * 32
	for range packets {
		batch.Reserve(1200)
		batch.Commit(&path, 1200)
	}
	runtime.LockOSThread() // whose CPU time is read
	defer runtime.UnlockOSThread()
	var spent time.Duration
	for range b.N {
		from.Send(batch)
		before := threadTime()
		for n := 0; n < packets; {
			rx, _ := to.Receive(time.Time{}, 1)
			n += len(rx)
		}
		spent += threadTime() - before
	}
	b.ReportMetric(float64(spent.Nanoseconds())/float64(b.N*packets), "ns/packet")
}

func benchSocket(b *testing.B, use pkt.Accel) *Socket {
	s, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"), Options{ReceiveBuffer: 8 << 20, SendBuffer: 8 << 20})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	s.Use(use)
	return s
}

func threadTime() time.Duration {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t)
	return time.Duration(t.Nano())
}
