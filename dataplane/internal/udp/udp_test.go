package udp

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

func listen(t *testing.T, addr string) *Socket {
	t.Helper()
	s, err := Listen(netip.MustParseAddrPort(addr), Options{ReceiveBuffer: 4 << 20, SendBuffer: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.Use(every)
	return s
}

var every = pkt.Accel{GSO: true, GRO: true, Timestamps: true}

func ip(s string) [16]byte { return netip.MustParseAddr(s).As16() }

// path is where a packet goes: to a port of an address, from a local address.
func path(to string, port uint16, from string) pkt.Path {
	return pkt.Path{Remote: pkt.Addr{IP: ip(to), Port: port}, Local: ip(from)}
}

// packet returns bytes that no other number or size gives.
func packet(number, size int) []byte {
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(number*31 + i)
	}
	if size >= 4 {
		binary.BigEndian.PutUint32(b, uint32(number))
	}
	return b
}

// commit puts a packet into the batch.
func commit(t *testing.T, b *pkt.Batch, p pkt.Path, packet []byte) {
	t.Helper()
	room := b.Reserve(len(packet))
	if room == nil {
		t.Fatal("the test's batch is too small")
	}
	b.Commit(&p, copy(room, packet))
}

func newBatch() *pkt.Batch { return pkt.NewBatch(make([]byte, 1<<20), 256) }

// wait returns when the socket is ready for what events say.
func wait(t *testing.T, s *Socket, events int16) {
	t.Helper()
	const bound = 20_000 // ms: long enough for any machine, short enough to end
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(s.FD()), Events: events}}, bound)
		if err == unix.EINTR {
			continue
		}
		if err != nil || n == 0 {
			t.Fatalf("the socket does not get ready (%v)", err)
		}
		return
	}
}

// receive returns the next n datagrams with their bytes copied.
func receive(t *testing.T, s *Socket, n int) []pkt.Datagram {
	t.Helper()
	var all []pkt.Datagram
	for len(all) < n {
		rx, truncated := s.Receive(time.Unix(0, 0), 0)
		if truncated != 0 {
			t.Fatalf("%d truncated", truncated)
		}
		if len(rx) == 0 {
			wait(t, s, unix.POLLIN)
		}
		for _, d := range rx {
			d.Data = bytes.Clone(d.Data)
			all = append(all, d)
		}
	}
	if rx, _ := s.Receive(time.Unix(0, 0), 0); len(all) > n || rx != nil {
		t.Fatalf("%d datagrams and %d more, want %d", len(all), len(rx), n)
	}
	return all
}

func checkPackets(t *testing.T, got []pkt.Datagram, want [][]byte) {
	t.Helper()
	for i := range want {
		if !bytes.Equal(got[i].Data, want[i]) {
			t.Fatalf("packet %d: %d bytes %x…, want %d bytes %x…",
				i, len(got[i].Data), got[i].Data[:min(8, len(got[i].Data))], len(want[i]), want[i][:min(8, len(want[i]))])
		}
	}
}

var families = []struct{ name, client, server string }{
	{"v4", "127.0.0.1", "127.0.0.2"},
	{"v6", "::1", "::1"},
}

// A datagram comes with the peer's address, the local address it came to and
// the kernel's receive time, more than one batch of them in order.
func TestReceive(t *testing.T) {
	for _, c := range families {
		t.Run(c.name, func(t *testing.T) {
			s := listen(t, "[::]:0")
			peer, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(c.client)}, &net.UDPAddr{IP: net.ParseIP(c.server), Port: int(s.Port())})
			if err != nil {
				t.Fatal(err)
			}
			defer peer.Close()
			awaitReceiveTimes(t, s)
			const n = 2*rxBatch + 3
			var want [][]byte
			before := time.Now().UnixNano()
			for i := range n {
				want = append(want, packet(i, 4+i))
				if _, err := peer.Write(want[i]); err != nil {
					t.Fatal(err)
				}
			}
			got := receive(t, s, n)
			after := time.Now().UnixNano()
			checkPackets(t, got, want)
			from := pkt.AddrFrom(peer.LocalAddr().(*net.UDPAddr).AddrPort())
			last := clock.Time(before)
			for i, d := range got {
				if d.Path.Remote != from || d.Path.Local != ip(c.server) {
					t.Fatalf("packet %d: from %v to %v, want from %v to %s", i, d.Path.Remote, netip.AddrFrom16(d.Path.Local), from, c.server)
				}
				if d.Arrived < last || d.Arrived > clock.Time(after) {
					t.Fatalf("packet %d arrived at %d, not between %d and %d", i, d.Arrived, last, after)
				}
				last = d.Arrived
			}
		})
	}
}

// awaitReceiveTimes returns when the kernel stamps datagrams as they come. It
// begins to some time after it is asked to, and stamps them when they are read
// until then (net/core/dev.c net_enable_timestamp).
func awaitReceiveTimes(t *testing.T, s *Socket) {
	t.Helper()
	b := newBatch()
	commit(t, b, path("::1", s.Port(), "::1"), packet(0, 100))
	for {
		s.Send(b)
		wait(t, s, unix.POLLIN)
		came := time.Now().UnixNano()
		if rx, _ := s.Receive(time.Unix(0, 0), 0); len(rx) == 1 && int64(rx[0].Arrived) < came {
			return
		}
	}
}

// The origin is what receive times count from.
func TestReceiveOrigin(t *testing.T) {
	s := listen(t, "[::1]:0")
	b := newBatch()
	commit(t, b, path("::1", s.Port(), "::1"), packet(0, 100))
	before := time.Now()
	s.Send(b)
	wait(t, s, unix.POLLIN)
	rx, _ := s.Receive(before.Add(-time.Hour), 0)
	if len(rx) != 1 || rx[0].Arrived < clock.Time(time.Hour) || rx[0].Arrived > clock.Time(time.Since(before)+time.Hour) {
		t.Errorf("%v, sent one hour after the origin", rx)
	}
}

// What does not fit a buffer is left out and counted, and nothing else is.
func TestReceiveTruncated(t *testing.T) {
	s := listen(t, "[::1]:0")
	b := newBatch()
	to := path("::1", s.Port(), "::1")
	for i, size := range []int{maxDatagram + 1, maxDatagram, 0x4000, 1, maxDatagram + 1} {
		// Ports differ, so that no two join in a run.
		other := listen(t, "[::1]:0")
		commit(t, b, to, packet(i, size))
		if done, dropped := other.Send(b); !done || dropped != 0 {
			t.Fatalf("done %v, %d dropped", done, dropped)
		}
		b.Reset()
	}
	var sizes []int
	truncated := 0
	for len(sizes)+truncated < 5 {
		wait(t, s, unix.POLLIN)
		rx, cut := s.Receive(time.Unix(0, 0), 0)
		truncated += cut
		for _, d := range rx {
			sizes = append(sizes, len(d.Data))
		}
	}
	if truncated != 3 || len(sizes) != 2 || sizes[0] != maxDatagram || sizes[1] != 1 {
		t.Errorf("%d truncated, sizes of the others %v", truncated, sizes)
	}
}

// mixed fills a batch with more runs than a chunk holds, of all shapes, and
// returns the packets in order.
func mixed(t *testing.T, b *pkt.Batch, to pkt.Path) (want [][]byte) {
	t.Helper()
	n := 0
	run := func(count, size int) {
		for range count {
			want = append(want, packet(n, size))
			commit(t, b, to, want[n])
			n++
		}
	}
	for range txChunk {
		run(5, 1000) // a run with a short tail
		run(1, 17)
		run(44, 100) // the longest run
		run(1, 1200) // single packets
		run(1, 1201)
	}
	if len(b.Runs()) <= 2*txChunk {
		t.Fatalf("%d runs are not several chunks", len(b.Runs()))
	}
	return want
}

// Runs arrive as the packets they were made of, from the address they say.
func TestSendRuns(t *testing.T) {
	for _, c := range []struct{ name, listen, to, from string }{
		{"v4", "[::]:0", "127.0.0.1", "127.0.0.3"},
		{"v6", "[::]:0", "::1", "::1"},
		{"one v4 address", "127.0.0.3:0", "127.0.0.1", "127.0.0.3"},
		{"one v6 address", "[::1]:0", "::1", "::1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, peer := listen(t, c.listen), listen(t, "[::]:0")
			b := newBatch()
			for range 2 { // a socket goes on after a batch
				want := mixed(t, b, path(c.to, peer.Port(), c.from))
				if done, dropped := s.Send(b); !done || dropped != 0 {
					t.Fatalf("done %v, %d dropped", done, dropped)
				}
				got := receive(t, peer, len(want))
				checkPackets(t, got, want)
				for _, d := range got {
					if d.Path.Remote != (pkt.Addr{IP: ip(c.from), Port: s.Port()}) {
						t.Fatalf("came from %v, sent from %s", d.Path.Remote, c.from)
					}
				}
				b.Reset()
			}
			if !s.Uses().GSO {
				t.Error("runs no longer go as one message, and nothing failed")
			}
		})
	}
}

// A run is one message: a receiver that takes merged datagrams (UDP_GRO, udp(7))
// gets it whole.
func TestRunIsOneMessage(t *testing.T) {
	s, peer := listen(t, "[::1]:0"), listen(t, "[::1]:0")
	if err := unix.SetsockoptInt(peer.FD(), unix.SOL_UDP, unix.UDP_GRO, 1); err != nil {
		t.Fatal(err)
	}
	b := newBatch()
	want := append(bytes.Repeat(packet(0, 300), 5), packet(0, 30)...)
	for part := want; len(part) > 0; part = part[min(300, len(part)):] {
		commit(t, b, path("::1", peer.Port(), "::1"), part[:min(300, len(part))])
	}
	if done, dropped := s.Send(b); !done || dropped != 0 {
		t.Fatalf("done %v, %d dropped", done, dropped)
	}
	wait(t, peer, unix.POLLIN)
	got := make([]byte, 4096)
	n, _, err := unix.Recvfrom(peer.FD(), got, 0)
	if err != nil || !bytes.Equal(got[:n], want) {
		t.Errorf("%d bytes of %d in one message (%v)", n, len(want), err)
	}
}

// A kernel that stops segmenting, as it does for a device without checksum
// offload or a socket without checksums (SO_NO_CHECK, net/ipv4/udp.c
// udp_send_skb), gets every packet alone from then on, and none is lost.
func TestSendWithoutSegmentation(t *testing.T) {
	s, peer := listen(t, "[::]:0"), listen(t, "[::]:0")
	to := path("127.0.0.1", peer.Port(), "127.0.0.1")
	b := newBatch()
	send := func() {
		t.Helper()
		want := mixed(t, b, to)
		if done, dropped := s.Send(b); !done || dropped != 0 {
			t.Fatalf("done %v, %d dropped", done, dropped)
		}
		checkPackets(t, receive(t, peer, len(want)), want)
		b.Reset()
	}
	send()
	if !s.Uses().GSO {
		t.Fatal("this kernel does not segment at all")
	}
	if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	send()
	if s.Uses().GSO {
		t.Error("the kernel segments without checksums: this test needs another way to stop it")
	}
	send()
	// That it cannot is certain by now: one bad destination puts no doubt on it.
	for range 4 {
		commit(t, b, path("127.0.0.1", 9, "192.0.2.1"), packet(0, 500))
	}
	if done, dropped := s.Send(b); !done || dropped != 4 || s.Uses().GSO {
		t.Errorf("to a bad destination: done %v, %d dropped, segments %v", done, dropped, s.Uses().GSO)
	}
}

// What the kernel refuses because of one destination is lost for that one only:
// the runs beside it arrive, and still go as one message each.
func TestSendRefused(t *testing.T) {
	for _, c := range []struct {
		name    string
		good    string
		bad     pkt.Path
		packets int
	}{
		{"v4 local address that is gone", "127.0.0.1", path("127.0.0.1", 9, "192.0.2.1"), 4},
		{"v6 local address that is gone", "::1", path("::1", 9, "2001:db8::1"), 4},
		{"single packet from an address that is gone", "127.0.0.1", path("127.0.0.1", 9, "192.0.2.1"), 1},
		{"broadcast", "127.0.0.1", path("255.255.255.255", 9, "127.0.0.1"), 4},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, peer := listen(t, "[::]:0"), listen(t, "[::]:0")
			good := path(c.good, peer.Port(), c.good)
			b := newBatch()
			var want [][]byte
			const rounds = txChunk // so that refusals come at every place of a chunk
			for range rounds {
				for range 3 {
					want = append(want, packet(len(want), 500))
					commit(t, b, good, want[len(want)-1])
				}
				for range c.packets {
					commit(t, b, c.bad, packet(0, 500))
				}
			}
			done, dropped := s.Send(b)
			if !done || dropped != rounds*c.packets {
				t.Errorf("done %v, %d dropped, want %d", done, dropped, rounds*c.packets)
			}
			checkPackets(t, receive(t, peer, len(want)), want)
			if !s.Uses().GSO {
				t.Error("one bad destination ended segmentation for all")
			}
		})
	}
}

func TestSendEmpty(t *testing.T) {
	if done, dropped := listen(t, "[::1]:0").Send(newBatch()); !done || dropped != 0 {
		t.Errorf("an empty batch: done %v, %d dropped", done, dropped)
	}
}

func TestSendAndReceiveAllocateNothing(t *testing.T) {
	s, peer := listen(t, "[::]:0"), listen(t, "[::]:0")
	b := newBatch()
	to, gone := path("127.0.0.1", peer.Port(), "127.0.0.1"), path("127.0.0.1", 9, "192.0.2.1")
	for i := range 40 {
		commit(t, b, to, packet(i, 1000))
		commit(t, b, gone, packet(i, 1000))
	}
	n := testing.AllocsPerRun(20, func() {
		s.Send(b)
		for got := 0; got < 40; {
			rx, _ := peer.Receive(time.Time{}, 0)
			got += len(rx)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// A port is shared by who says so only; the IPv4 wildcard means both versions.
func TestListen(t *testing.T) {
	first := listen(t, "0.0.0.0:0")
	if first.Port() == 0 {
		t.Fatal("no port")
	}
	same := netip.AddrPortFrom(netip.IPv6Unspecified(), first.Port())
	for range 2 {
		second, err := Listen(same, Options{Share: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { second.Close() })
		if _, err := Listen(same, Options{}); !errors.Is(err, unix.EADDRINUSE) {
			t.Errorf("a port that others have: %v", err)
		}
	}

	_, err := Listen(netip.MustParseAddrPort("192.0.2.1:0"), Options{})
	if err == nil || !strings.Contains(err.Error(), "bind 192.0.2.1:0") {
		t.Errorf("an address that is not ours: %v", err)
	}
}

func TestListenOnBothVersions(t *testing.T) {
	s := listen(t, "0.0.0.0:0")
	client := listen(t, "[::]:0")
	b := newBatch()
	commit(t, b, path("127.0.0.1", s.Port(), "127.0.0.1"), packet(4, 100))
	commit(t, b, path("::1", s.Port(), "::1"), packet(6, 100))
	client.Send(b)
	checkPackets(t, receive(t, s, 2), [][]byte{packet(4, 100), packet(6, 100)})
}

// With every combination of accelerators on either side, the same packets arrive
// in the same order; what differs is how many messages they are.
func TestEveryCombination(t *testing.T) {
	for bits := range 8 {
		use := pkt.Accel{GSO: bits&1 != 0, GRO: bits&2 != 0, Timestamps: bits&4 != 0}
		t.Run(fmt.Sprintf("%+v", use), func(t *testing.T) {
			s, peer := listen(t, "[::]:0"), listen(t, "[::]:0")
			for _, now := range []pkt.Accel{every, use, {}, use} { // switched while they run
				s.Use(now)
				peer.Use(now)
				if s.Uses() != now {
					t.Fatalf("uses %+v, want %+v", s.Uses(), now)
				}
				s.Counters, peer.Counters = Counters{}, Counters{}
				b := newBatch()
				want := mixed(t, b, path("127.0.0.1", peer.Port(), "127.0.0.1"))
				if done, dropped := s.Send(b); !done || dropped != 0 {
					t.Fatalf("done %v, %d dropped", done, dropped)
				}
				checkPackets(t, receive(t, peer, len(want)), want)
				sent, received := len(want), len(want)
				if now.GSO {
					sent = len(b.Runs())
				}
				if now.GSO && now.GRO {
					received = sent
				}
				if s.Counters.TxMessages != uint64(sent) || peer.Counters.RxMessages != uint64(received) {
					t.Errorf("%+v: %d messages sent, %d received, want %d and %d", now, s.Counters.TxMessages, peer.Counters.RxMessages, sent, received)
				}
			}
		})
	}
}

// Without receive times of the kernel, datagrams come when they are read.
func TestReceiveTimes(t *testing.T) {
	s := listen(t, "[::1]:0")
	for _, stamps := range []bool{true, false} {
		s.Use(pkt.Accel{Timestamps: stamps})
		b := newBatch()
		commit(t, b, path("::1", s.Port(), "::1"), packet(0, 100))
		s.Send(b)
		wait(t, s, unix.POLLIN)
		rx, _ := s.Receive(time.Unix(0, 0), 77)
		if len(rx) != 1 || (rx[0].Arrived == 77) == stamps {
			t.Errorf("timestamps %v: %v", stamps, rx)
		}
	}
}

// A kernel that damages trains of equal packets gets none.
func TestShortTailsOnly(t *testing.T) {
	damages := Abilities{EqualTrains: errors.New("packets arrive damaged")}
	s, err := Listen(netip.MustParseAddrPort("[::]:0"), Options{ReceiveBuffer: 1 << 20, SendBuffer: 1 << 20, Able: damages})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	s.Use(every)
	peer := listen(t, "[::]:0")
	to := path("::1", peer.Port(), "::1")
	for _, c := range []struct {
		sizes    []int
		messages int
	}{
		{[]int{500, 500, 500}, 3},
		{[]int{500, 500, 499}, 1},
		{[]int{500, 500, 499, 400, 400}, 3},
		{[]int{500}, 1},
	} {
		b := newBatch()
		var want [][]byte
		for i, size := range c.sizes {
			want = append(want, packet(i, size))
			commit(t, b, to, want[i])
		}
		s.Counters = Counters{}
		s.Send(b)
		checkPackets(t, receive(t, peer, len(want)), want)
		if s.Counters.TxMessages != uint64(c.messages) {
			t.Errorf("%v leave as %d messages, want %d", c.sizes, s.Counters.TxMessages, c.messages)
		}
	}
}

// What the kernel cannot do is not used, whatever is wished.
func TestUseKeepsToAbilities(t *testing.T) {
	cannot := errors.New("cannot")
	for _, c := range []struct {
		able Abilities
		uses pkt.Accel
	}{
		{Abilities{}, every},
		{Abilities{ShortTails: cannot, EqualTrains: cannot}, pkt.Accel{GRO: true, Timestamps: true}},
		{Abilities{EqualTrains: cannot}, every},
		{Abilities{GRO: cannot}, pkt.Accel{GSO: true, Timestamps: true}},
		{Abilities{Timestamps: cannot}, pkt.Accel{GSO: true, GRO: true}},
	} {
		s, err := Listen(netip.MustParseAddrPort("[::]:0"), Options{Able: c.able})
		if err != nil {
			t.Fatal(err)
		}
		if s.Uses() != (pkt.Accel{}) {
			t.Errorf("a new socket uses %+v", s.Uses())
		}
		if s.Use(every); s.Uses() != c.uses {
			t.Errorf("%+v: uses %+v, want %+v", c.able, s.Uses(), c.uses)
		}
		s.Close()
	}
}

// A fallback is counted once; a wish that is made anew tries again.
func TestFallbackIsCounted(t *testing.T) {
	s, peer := listen(t, "[::]:0"), listen(t, "[::]:0")
	to := path("127.0.0.1", peer.Port(), "127.0.0.1")
	if err := unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_NO_CHECK, 1); err != nil {
		t.Fatal(err)
	}
	send := func() {
		b := newBatch()
		want := mixed(t, b, to)
		s.Send(b)
		checkPackets(t, receive(t, peer, len(want)), want)
	}
	send()
	send()
	if s.Counters.Fallbacks != 1 || s.Uses().GSO {
		t.Errorf("%d fallbacks, uses %+v", s.Counters.Fallbacks, s.Uses())
	}
	unix.SetsockoptInt(s.FD(), unix.SOL_SOCKET, unix.SO_NO_CHECK, 0)
	s.Use(every)
	send()
	if s.Counters.Fallbacks != 1 || !s.Uses().GSO {
		t.Errorf("%d fallbacks, uses %+v", s.Counters.Fallbacks, s.Uses())
	}
}

// Each run arrives with the traffic class and the priority that it says, the class
// in the header of its own version of IP, alone or as a train; what says none has
// none, but for the priority that an IPv4 packet has by its class.
func TestMarks(t *testing.T) {
	byMessage := SelfTest().Priorities == nil
	for _, c := range []struct {
		name, listen, addr      string
		level, option, received int
		byClass                 uint8 // priority of AF41 (include/net/route.h rt_tos2priority)
	}{
		{"v4", "[::]:0", "127.0.0.1", unix.IPPROTO_IP, unix.IP_RECVTOS, unix.IP_TOS, 2},
		{"v6", "[::]:0", "::1", unix.IPPROTO_IPV6, unix.IPV6_RECVTCLASS, unix.IPV6_TCLASS, 0},
		{"one address", "127.0.0.1:0", "127.0.0.1", unix.IPPROTO_IP, unix.IP_RECVTOS, unix.IP_TOS, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := listen(t, c.listen)
			peer := listen(t, netip.AddrPortFrom(netip.MustParseAddr(c.addr), 0).String())
			peer.Use(pkt.Accel{}) // packet by packet
			if err := unix.SetsockoptInt(peer.FD(), c.level, c.option, 1); err != nil {
				t.Fatal(err)
			}
			if err := unix.SetsockoptInt(peer.FD(), unix.SOL_SOCKET, unix.SO_RCVPRIORITY, 1); byMessage && err != nil {
				t.Fatal(err) // it came with the other
			}
			b := newBatch()
			var want []pkt.Mark
			for _, run := range []struct {
				mark    pkt.Mark
				packets int
			}{{pkt.Mark{}, 1}, {pkt.Mark{Class: 46 << 2, Priority: 6}, 1}, {pkt.Mark{Class: 34 << 2}, 5}, {pkt.Mark{Priority: 1}, 3}, {pkt.Mark{Class: 63 << 2, Priority: 2}, 2}} {
				b.Mark(run.mark)
				for range run.packets {
					commit(t, b, path(c.addr, peer.Port(), c.addr), packet(len(want), 300))
					want = append(want, run.mark)
				}
			}
			if done, dropped := s.Send(b); !done || dropped != 0 || len(b.Runs()) != 5 {
				t.Fatalf("done %v, %d dropped, %d runs", done, dropped, len(b.Runs()))
			}
			for i, want := range want {
				if want.Priority == 0 && want.Class != 0 {
					want.Priority = c.byClass
				}
				got, data := receiveMark(t, peer, c.level, c.received)
				if !bytes.Equal(data, packet(i, 300)) {
					t.Fatalf("packet %d: %d bytes", i, len(data))
				}
				if !byMessage {
					got.Priority = want.Priority
				}
				if got != want {
					t.Errorf("packet %d has the mark %+v, want %+v", i, got, want)
				}
			}
			if s.Counters.TxMessages != 5 || s.Counters.Fallbacks != 0 {
				t.Errorf("%d messages for 5 runs", s.Counters.TxMessages)
			}
		})
	}
}

// receiveMark returns a packet and how it is marked.
func receiveMark(t *testing.T, s *Socket, level, class int) (m pkt.Mark, data []byte) {
	t.Helper()
	wait(t, s, unix.POLLIN)
	data, control := make([]byte, 400), make([]byte, 256)
	n, oob, _, _, err := unix.Recvmsg(s.FD(), data, control, 0)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:oob])
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range messages {
		switch {
		case int(c.Header.Level) == level && int(c.Header.Type) == class:
			m.Class, found = c.Data[0], true
		case c.Header.Level == unix.SOL_SOCKET && c.Header.Type == unix.SO_PRIORITY:
			m.Priority = c.Data[0]
		}
	}
	if !found {
		t.Fatal("the kernel tells no class")
	}
	return m, data[:n]
}

// A kernel that takes no priorities by message gets none, and the packets go.
func TestNoPriorities(t *testing.T) {
	s, err := Listen(netip.MustParseAddrPort("[::]:0"), Options{ReceiveBuffer: 1 << 20, SendBuffer: 1 << 20, Able: Abilities{Priorities: errors.New("not known")}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	peer := listen(t, "[::1]:0")
	for option, level := range map[int]int{unix.IPV6_RECVTCLASS: unix.IPPROTO_IPV6, unix.SO_RCVPRIORITY: unix.SOL_SOCKET} {
		_ = unix.SetsockoptInt(peer.FD(), level, option, 1)
	}
	b := newBatch()
	b.Mark(pkt.Mark{Class: 4, Priority: 6})
	commit(t, b, path("::1", peer.Port(), "::1"), packet(1, 300))
	s.Send(b)
	if got, _ := receiveMark(t, peer, unix.IPPROTO_IPV6, unix.IPV6_TCLASS); got != (pkt.Mark{Class: 4}) {
		t.Errorf("marked %+v", got)
	}
}

// Sizes of buffers can be changed; the kernel tells what it grants.
func TestSetBuffers(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	granted := func() [2]uint32 { m := s.Memory(); return [2]uint32{m.ReceiveBuffer, m.SendBuffer} }
	s.SetBuffers(100_000, 150_000)
	if got := granted(); got != [2]uint32{200_000, 300_000} { // twice, for its bookkeeping (socket(7))
		t.Errorf("granted %d", got)
	}
	for option, want := range map[int]uint32{unix.SO_RCVBUF: granted()[0], unix.SO_SNDBUF: granted()[1]} {
		if got, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, option); err != nil || uint32(got) != want {
			t.Errorf("option %d is %d, %v; Memory says %d", option, got, err, want)
		}
	}
	s.SetBuffers(1<<30, 1<<30) // with CAP_NET_ADMIN it is granted, else up to the system's limit
	if got := granted(); got[0] < 200_000 || got[1] < 300_000 {
		t.Errorf("granted %d", got)
	}
}

// What is wished of busy polling the socket has, as far as this process may.
func TestBusyPoll(t *testing.T) {
	s := listen(t, "127.0.0.1:0")
	has := func(option int) int {
		t.Helper()
		v, err := unix.GetsockoptInt(s.FD(), unix.SOL_SOCKET, option)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, wish := range []pkt.BusyPoll{{For: 50 * time.Microsecond, Budget: 64, Prefer: true}, {For: 20 * time.Microsecond, Budget: 8}, {Budget: 8}} {
		in := s.BusyPoll(wish)
		if in != (has(unix.SO_BUSY_POLL) > 0) || in != (wish.For > 0) && os.Geteuid() == 0 {
			t.Errorf("%+v: in use %v, the socket has %d us", wish, in, has(unix.SO_BUSY_POLL))
		}
		if in && has(unix.SO_BUSY_POLL) != int(wish.For.Microseconds()) {
			t.Errorf("%+v: the socket has %d us", wish, has(unix.SO_BUSY_POLL))
		}
		if has(unix.SO_PREFER_BUSY_POLL) != number(wish.Prefer) && os.Geteuid() == 0 {
			t.Errorf("%+v: the socket prefers %d", wish, has(unix.SO_PREFER_BUSY_POLL))
		}
	}
}
