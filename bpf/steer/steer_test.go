package steer

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane"
	"sluice/dataplane/pkt"
)

// group is sockets that share a port, as the shards' do.
type group struct {
	t    *testing.T
	fds  []int
	port int
}

func newGroup(t *testing.T, n int) *group {
	t.Helper()
	g := &group{t: t}
	for range n {
		fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Close(fd) })
		err = unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 0)
		if g.port != 0 {
			err = errors.Join(err, reuse(fd))
		}
		// The first one's port is free, as it does not share before it is bound.
		if err := errors.Join(err, unix.Bind(fd, &unix.SockaddrInet6{Port: g.port}), reuse(fd)); err != nil {
			t.Fatal(err)
		}
		name, err := unix.Getsockname(fd)
		if err != nil {
			t.Fatal(err)
		}
		g.fds, g.port = append(g.fds, fd), name.(*unix.SockaddrInet6).Port
	}
	return g
}

// landed waits for one datagram, and returns the index of the socket that got it.
func (g *group) landed() int {
	g.t.Helper()
	var polled []unix.PollFd
	for _, fd := range g.fds {
		polled = append(polled, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
	}
	n, err := unix.Poll(polled, int((5 * time.Second).Milliseconds()))
	if err != nil || n != 1 {
		g.t.Fatalf("%d sockets got it, %v", n, err)
	}
	for i, p := range polled {
		if p.Revents != 0 {
			unix.Read(int(p.Fd), make([]byte, 2048))
			return i
		}
	}
	panic("poll counts what it does not show")
}

// client is a socket that sends to the group.
type client struct {
	fd   int
	addr pkt.Addr
	to   unix.Sockaddr
}

func (g *group) client(ip netip.Addr) *client {
	g.t.Helper()
	c := &client{addr: pkt.Addr{IP: ip.As16()}}
	var err error
	if ip.Is4() {
		c.fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	} else {
		c.fd, err = unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	}
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { unix.Close(c.fd) })
	var bind unix.Sockaddr = &unix.SockaddrInet6{Addr: ip.As16()}
	c.to = &unix.SockaddrInet6{Addr: ip.As16(), Port: g.port}
	if ip.Is4() {
		bind, c.to = &unix.SockaddrInet4{Addr: ip.As4()}, &unix.SockaddrInet4{Addr: ip.As4(), Port: g.port}
	}
	if err := unix.Bind(c.fd, bind); err != nil {
		g.t.Fatal(err)
	}
	name, err := unix.Getsockname(c.fd)
	if err != nil {
		g.t.Fatal(err)
	}
	switch name := name.(type) {
	case *unix.SockaddrInet4:
		c.addr.Port = uint16(name.Port)
	case *unix.SockaddrInet6:
		c.addr.Port = uint16(name.Port)
	}
	return c
}

// send returns where the datagram landed.
func (g *group) send(c *client, datagram []byte) int {
	g.t.Helper()
	if err := unix.Sendto(c.fd, datagram, 0, c.to); err != nil {
		g.t.Fatal(err)
	}
	return g.landed()
}

func (g *group) attach(peers int) dataplane.Steerer {
	g.t.Helper()
	s, err := Attach(g.fds, peers)
	if err != nil {
		g.t.Fatalf("%v (the test needs root)", err)
	}
	return s
}

var rtp = []byte{0x80, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 1}

func TestSteer(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "::1"} {
		t.Run(ip, func(t *testing.T) {
			g := newGroup(t, 4)
			s := g.attach(64)
			defer s.Close()
			for i := range 16 {
				c := g.client(netip.MustParseAddr(ip))
				hashed := g.send(c, rtp)
				shard := (hashed + 1 + i%3) % 4
				if got := g.send(c, check(t, string(rune('A'+shard))+"xxxxxxx:peer")); got != shard {
					t.Errorf("a check for shard %d landed at %d", shard, got)
				}
				s.Learn(c.addr, shard)
				if got := g.send(c, rtp); got != shard {
					t.Errorf("media of a peer of shard %d landed at %d", shard, got)
				}
				s.Forget(c.addr, hashed)
				if got := g.send(c, rtp); got != shard {
					t.Errorf("another shard's Forget took the peer away: landed at %d", got)
				}
				s.Forget(c.addr, shard)
				if got := g.send(c, rtp); got != hashed {
					t.Errorf("landed at %d when forgotten, want the hash's %d", got, hashed)
				}
			}
		})
	}
}

// TestSelfTest: the test that doctor runs passes where the program works.
func TestSelfTest(t *testing.T) {
	if err := SelfTest(); err != nil {
		t.Errorf("%v (the test needs root)", err)
	}
}

// TestFullAndGone: a peer for whom the table has no room, a shard that does not
// exist, and a program that was taken off: the hash decides.
func TestFullAndGone(t *testing.T) {
	g := newGroup(t, 4)
	s := g.attach(1)
	known, second := g.client(netip.MustParseAddr("::1")), g.client(netip.MustParseAddr("::1"))
	hashed, hashedSecond := g.send(known, rtp), g.send(second, rtp)
	if got := g.send(second, check(t, "/xxxxxxx:peer")); got != hashedSecond {
		t.Errorf("a check for a shard that is not there landed at %d, want the hash's %d", got, hashedSecond)
	}
	other := (hashed + 1) % 4
	s.Learn(known.addr, other)
	s.Learn(second.addr, (hashedSecond+1)%4)
	if got := g.send(known, rtp); got != other {
		t.Errorf("landed at %d, want %d", got, other)
	}
	if got := g.send(second, rtp); got != hashedSecond {
		t.Errorf("a peer without a place landed at %d, want the hash's %d", got, hashedSecond)
	}
	s.Close()
	if got := g.send(known, rtp); got != hashed {
		t.Errorf("without the program landed at %d, want the hash's %d", got, hashed)
	}
}
