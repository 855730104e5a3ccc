package controlplane_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// loopbacks announces a port on both loopback addresses.
func loopbacks(listen netip.AddrPort) []netip.AddrPort {
	return []netip.AddrPort{
		netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), listen.Port()),
		netip.AddrPortFrom(netip.IPv6Loopback(), listen.Port()),
	}
}

// badPath stands between peers and the service as a NAT would, and loses,
// doubles and holds back datagrams of all kinds both ways.
type badPath struct {
	*testing.T
	front  *net.UDPConn // where peers send
	server *net.UDPAddr
	seed   uint64

	mu    sync.Mutex
	peers map[netip.AddrPort]*net.UDPConn // towards the server, by the peer's address
	lost  int
}

func newBadPath(t *testing.T, seed uint64) *badPath {
	front, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	return &badPath{T: t, front: front, seed: seed, peers: map[netip.AddrPort]*net.UDPConn{}}
}

// announce begins to pass datagrams on, and is what a service announces.
func (b *badPath) announce(listen netip.AddrPort) []netip.AddrPort {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.server == nil {
		b.server = net.UDPAddrFromAddrPort(listen)
		go b.inwards()
	}
	return []netip.AddrPort{b.front.LocalAddr().(*net.UDPAddr).AddrPort()}
}

func (b *badPath) close() {
	b.front.Close()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, conn := range b.peers {
		conn.Close()
	}
}

// inwards passes on what peers send, each through a socket of its own.
func (b *badPath) inwards() {
	trouble := map[netip.AddrPort]func([]byte){}
	buf := make([]byte, 2048)
	for {
		n, from, err := b.front.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if trouble[from] == nil {
			conn, err := net.DialUDP("udp4", nil, b.server)
			if err != nil {
				b.Error(err)
				return
			}
			b.mu.Lock()
			b.peers[from] = conn
			b.mu.Unlock()
			trouble[from] = b.trouble(func(p []byte) { conn.Write(p) })
			go b.outwards(conn, from)
		}
		trouble[from](buf[:n])
	}
}

func (b *badPath) outwards(conn *net.UDPConn, to netip.AddrPort) {
	pass := b.trouble(func(p []byte) { b.front.WriteToUDPAddrPort(p, to) })
	buf := make([]byte, 2048)
	for {
		n, err := conn.Read(buf)
		if err != nil {
			return
		}
		pass(buf[:n])
	}
}

// trouble passes datagrams on badly: of a hundred, five are lost, three come
// twice, and five come after the next one or two.
func (b *badPath) trouble(pass func([]byte)) func([]byte) {
	b.mu.Lock()
	b.seed++
	random := rand.New(rand.NewPCG(b.seed, 0))
	b.mu.Unlock()
	var held []byte
	age := 0
	return func(p []byte) {
		switch n := random.IntN(100); {
		case n < 5:
			b.mu.Lock()
			b.lost++
			b.mu.Unlock()
		case n < 8:
			pass(p)
			pass(p)
		case n < 13 && held == nil:
			held, age = bytes.Clone(p), 0
			return
		default:
			pass(p)
		}
		if age++; held != nil && age == 2 {
			pass(held)
			held = nil
		}
	}
}

// Over a path that loses, doubles and reorders in both directions, a viewer
// finally has every packet as it was sent, with retransmissions on a stream of
// their own and, for viewers without, as the packet once more.
func TestBadPath(t *testing.T) {
	for name, set := range map[string]settings{"RTX": {}, "no RTX": {noRTX: true}} {
		t.Run(name, func(t *testing.T) {
			path := newBadPath(t, 1)
			r := startAt(t, place{announce: path.announce})
			t.Cleanup(path.close)
			publisher := r.publish("live", settings{}, vp8)
			viewer := r.watch("live", set, vp8)
			feed := publisher.video()
			feed.send(true, 1)
			const frames = 150
			r.eventually(func() string {
				// The end of what was sent shows its losses by what comes after it.
				feed.send(len(feed.wanted) > 0, 3)
				for len(feed.wanted) > 0 {
					<-feed.wanted
				}
				time.Sleep(3 * pace)
				if len(feed.sent) < 3*frames {
					return "too little was sent"
				}
				return missing(viewer.packets(videoKind), feed.sent[:3*frames-300])
			})
			viewer.mu.Lock()
			defer viewer.mu.Unlock()
			if (viewer.resent > 0) == set.noRTX {
				t.Errorf("%d packets came on a stream for retransmissions", viewer.resent)
			}
			path.mu.Lock()
			defer path.mu.Unlock()
			if path.lost == 0 || r.metric("resent_packets") == 0 || r.metric("nack_out_packets") == 0 {
				t.Errorf("lost %d, resent %d, asked for %d: the path was not bad", path.lost, r.metric("resent_packets"), r.metric("nack_out_packets"))
			}
		})
	}
}

// missing says which packet of sent, from the first one that came, is not in
// got, or not as it was sent.
func missing(got, sent []*rtp.Packet) string {
	if len(got) == 0 {
		return "nothing came"
	}
	have := map[int]*rtp.Packet{}
	first := len(sent)
	for _, p := range got {
		i := number(p)
		first = min(first, i)
		if old := have[i]; old != nil && (!bytes.Equal(old.Payload, p.Payload) || old.SequenceNumber != p.SequenceNumber) {
			return fmt.Sprintf("packet %d came in two forms", i)
		}
		have[i] = p
	}
	if first > len(sent)/2 {
		return fmt.Sprintf("the first packet that came is %d", first)
	}
	for i, want := range sent[first:] {
		p := have[first+i]
		switch {
		case p == nil:
			return fmt.Sprintf("packet %d did not come, %d others did", first+i, len(have))
		case !bytes.Equal(p.Payload, want.Payload) || p.Marker != want.Marker:
			return fmt.Sprintf("packet %d is not as it was sent", first+i)
		case p.SequenceNumber-have[first].SequenceNumber != uint16(i):
			return fmt.Sprintf("packet %d has sequence number %d, the first %d", first+i, p.SequenceNumber, have[first].SequenceNumber)
		}
	}
	return ""
}

// number reads which packet of its feed this is.
func number(p *rtp.Packet) int {
	fields := strings.SplitN(string(p.Payload), " ", 3)
	i, err := strconv.Atoi(fields[1])
	if err != nil {
		panic(fmt.Sprintf("payload %.20q: %v", p.Payload, err))
	}
	return i
}
