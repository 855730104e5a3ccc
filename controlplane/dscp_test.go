package controlplane_test

import (
	"encoding/binary"
	"maps"
	"net"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// sniffer sees the media that leaves a port of the loopback device.
type sniffer struct {
	*testing.T
	fd   int
	port uint16
}

// sniff needs CAP_NET_RAW.
func sniff(t *testing.T) *sniffer {
	t.Helper()
	swapped := func(v uint16) uint16 { return v<<8 | v>>8 }
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, int(swapped(unix.ETH_P_IP)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	lo, err := net.InterfaceByName("lo")
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: swapped(unix.ETH_P_IP), Ifindex: lo.Index}); err != nil {
		t.Fatal(err)
	}
	return &sniffer{T: t, fd: fd}
}

// marks returns the DSCPs of the RTP packets since the last call.
func (s *sniffer) marks() []int {
	s.Helper()
	seen := map[int]bool{}
	p := make([]byte, 2048)
	for {
		n, _, err := unix.Recvfrom(s.fd, p, 0)
		if err == unix.EAGAIN {
			return slices.Sorted(maps.Keys(seen))
		}
		if err != nil {
			s.Fatal(err)
		}
		ip := p[:n]
		head := int(ip[0]&15) * 4
		if ip[9] != unix.IPPROTO_UDP || n < head+8+12 {
			continue
		}
		udp, rtp := ip[head:], ip[head+8:]
		if binary.BigEndian.Uint16(udp) == s.port && rtp[0]>>6 == 2 && (rtp[1] < 192 || rtp[1] > 223) {
			seen[int(ip[1]>>2)] = true
		}
	}
}

// A stream's own mark is on all that its viewers get, over that of its kind, from
// the first packet after it was written on and as long as it holds.
func TestDSCPOfAStream(t *testing.T) {
	s := sniff(t)
	r := startAt(t, place{announce: func(listen netip.AddrPort) []netip.AddrPort {
		s.port = listen.Port()
		return []netip.AddrPort{listen}
	}}, "dataplane/video_dscp=34")
	must(t, r.tree.Mkdir("streams/own"))
	must(t, r.tree.Set("streams/own/dscp", "10"))
	publisher, other := r.publish("own", settings{}, vp8), r.publish("other", settings{}, vp8)
	watching, another := r.watch("own", settings{}, vp8), r.watch("other", settings{}, vp8)
	flow := func(feed *feed, v *viewer, what string, want ...int) {
		t.Helper()
		s.marks()
		var got []int
		// The device is everybody's: what others send may leave the sniffer no room.
		for try := 0; len(got) == 0 && try < 20; try++ {
			feed.run(1, v)
			v.gets(videoKind, feed.last())
			got = s.marks()
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: marks %d, want %d", what, got, want)
		}
	}
	flow(publisher.video(), watching, "from the beginning", 10)
	flow(other.video(), another, "another stream", 34)
	for _, c := range []struct {
		value string
		want  int
	}{{"0", 0}, {"63", 63}, {"-1", 34}, {"11", 11}} {
		must(t, r.tree.Set("streams/own/dscp", c.value))
		flow(publisher.video(), watching, c.value, c.want)
	}
	must(t, r.tree.Rmdir("streams/own"))
	flow(publisher.video(), watching, "without the directory", 34)
}
