package dataplane

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v2"
	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/ice"
	"sluice/dataplane/internal/udp"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
	"sluice/netopt/attr"
)

const (
	mediaRoute = msg.RouteID(1)
	mediaSSRC  = 4711
	mediaPT    = 96
)

// mediaPeer is a client of a plane: a socket, and the SRTP contexts of its side.
type mediaPeer struct {
	t          *testing.T
	plane      *Plane
	id         msg.SessionID
	socket     *udp.Socket
	server     pkt.Path
	send, recv *srtp.Context
	waiting    [][]byte // received and not asked for yet
}

// joinMedia makes a session, checks it and gives it keys.
func joinMedia(t *testing.T, p *Plane, serial int, add msg.AddSession) *mediaPeer {
	t.Helper()
	socket, err := udp.Listen(anyPort, udp.Options{ReceiveBuffer: 4 << 20, SendBuffer: 4 << 20})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	socket.Use(pkt.Accel{GSO: true, GRO: true, Timestamps: true})
	shard := serial % p.Shards()
	loopback := anyPort.Addr().As16()
	peer := &mediaPeer{
		t: t, plane: p, socket: socket, id: msg.NewSessionID(shard, uint64(serial)+1),
		server: pkt.Path{Remote: pkt.Addr{IP: loopback, Port: p.Port()}, Local: loopback},
	}
	var random [ice.RandomLen]byte
	random[0] = byte(serial)
	add.ID = peer.id
	add.Ufrag, add.Pwd = ice.NewUfrag(shard, &random)
	p.Send(shard, add)
	p.Inspect() // answered when the shard has the session

	check := stun.MustBuild(stun.TransactionID, stun.BindingRequest, stun.NewUsername(add.Ufrag+":peer"),
		stun.NewShortTermIntegrity(add.Pwd), stun.Fingerprint)
	peer.transmit(check.Raw)
	if got := peer.next(); wire.Classify(got) != wire.ProtoSTUN {
		t.Fatalf("the check is answered by % x", got)
	}
	keys := msg.Keys{Profile: msg.ProfileAES128GCM, Local: msg.MasterKey{Key: [32]byte{1, byte(serial)}}, Remote: msg.MasterKey{Key: [32]byte{2, byte(serial)}}}
	peer.send, peer.recv = peer.cipher(&keys.Remote), peer.cipher(&keys.Local)
	p.Send(shard, msg.InstallKeys{ID: peer.id, Keys: keys, Path: pkt.Path{Remote: pkt.Addr{IP: loopback, Port: socket.Port()}, Local: loopback}})
	p.Inspect()
	return peer
}

func (p *mediaPeer) cipher(k *msg.MasterKey) *srtp.Context {
	c, err := srtp.CreateContext(k.Key[:16], k.Salt[:12], srtp.ProtectionProfileAeadAes128Gcm)
	if err != nil {
		p.t.Fatal(err)
	}
	return c
}

// transmit sends packets, those of one size in a row as a train.
func (p *mediaPeer) transmit(packets ...[]byte) {
	p.t.Helper()
	b := pkt.NewBatch(make([]byte, 1<<16), len(packets))
	for _, packet := range packets {
		b.Commit(&p.server, copy(b.Reserve(len(packet)), packet))
	}
	if done, dropped := p.socket.Send(b); !done || dropped > 0 {
		p.t.Fatalf("done %v, %d dropped", done, dropped)
	}
}

// next returns the next datagram that comes.
func (p *mediaPeer) next() []byte {
	p.t.Helper()
	for len(p.waiting) == 0 {
		rx, _ := p.socket.Receive(time.Unix(0, 0), clock.Time(1))
		for i := range rx {
			p.waiting = append(p.waiting, bytes.Clone(rx[i].Data))
		}
		if len(rx) > 0 {
			continue
		}
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(p.socket.FD()), Events: unix.POLLIN}}, 20_000)
		if n == 0 || err != nil && err != unix.EINTR {
			p.t.Fatalf("nothing comes (%v)", err)
		}
	}
	b := p.waiting[0]
	p.waiting = p.waiting[1:]
	return b
}

// nextMedia returns the next RTP packet that comes, and what it carries.
func (p *mediaPeer) nextMedia() *rtp.Packet {
	p.t.Helper()
	for {
		b := p.next()
		if wire.Classify(b) != wire.ProtoRTP {
			continue
		}
		plain, err := p.recv.DecryptRTP(nil, b, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		var packet rtp.Packet
		if err := packet.Unmarshal(plain); err != nil {
			p.t.Fatal(err)
		}
		return &packet
	}
}

// media is a stream through a plane: a publisher, viewers, and the frames so far.
type media struct {
	t         *testing.T
	publisher *mediaPeer
	viewers   []*mediaPeer
	seq       uint16
	frames    uint32
}

func newMedia(t *testing.T, tree *attr.Tree, viewers int) *media {
	t.Helper()
	p := start(t, tree, ignore)
	for i := range p.Shards() {
		p.Send(i, msg.AddRoute{Route: mediaRoute, Kind: msg.Video, Codec: codec.VP8, ClockRate: 90000, Shards: 1<<p.Shards() - 1})
	}
	m := &media{t: t, seq: 100}
	m.publisher = joinMedia(t, p, 0, msg.AddSession{Receive: []msg.Receive{{
		Route: mediaRoute, Kind: msg.Video, Codec: codec.VP8, ClockRate: 90000, PT: mediaPT, SSRC: mediaSSRC,
	}}})
	for i := range viewers {
		m.viewers = append(m.viewers, joinMedia(t, p, 1+i, msg.AddSession{Send: []msg.Send{{
			Route: mediaRoute, Kind: msg.Video, ClockRate: 90000, PT: 100, SSRC: uint32(1 + i),
		}}}))
	}
	return m
}

// frame publishes a frame of parts that differ by a byte, as encoders cut them,
// and holds that every viewer gets it as it is.
func (m *media) frame() {
	m.t.Helper()
	const parts = 9
	m.frames++
	var packets, payloads [][]byte
	for i := range parts {
		payload := bytes.Repeat([]byte{byte(m.seq)}, 1100+min(i/4, 1)) // the later ones are longer
		binary.BigEndian.PutUint32(payload[2:], m.frames)
		payload[0], payload[1] = 0, 0
		if i == 0 {
			payload[0] = 0x10 // each frame is a keyframe
		}
		p := rtp.Packet{Header: rtp.Header{
			Version: 2, PayloadType: mediaPT, SequenceNumber: m.seq, Timestamp: 3000 * m.frames, SSRC: mediaSSRC, Marker: i == parts-1,
		}, Payload: payload}
		m.seq++
		plain, err := p.Marshal()
		if err != nil {
			m.t.Fatal(err)
		}
		protected, err := m.publisher.send.EncryptRTP(nil, plain, nil)
		if err != nil {
			m.t.Fatal(err)
		}
		packets, payloads = append(packets, protected), append(payloads, payload)
	}
	m.publisher.transmit(packets...)
	for v, viewer := range m.viewers {
		for i, want := range payloads {
			got := viewer.nextMedia()
			if !bytes.Equal(got.Payload, want) || got.Marker != (i == parts-1) {
				m.t.Fatalf("frame %d: viewer %d got % x… of %d bytes, want % x… of %d", m.frames, v, got.Payload[:6], len(got.Payload), want[:6], len(want))
			}
		}
	}
}

// TestMediaInEveryCombination forwards with every combination of accelerators,
// and while they are switched. The same media arrives; what differs is how many
// messages it takes.
func TestMediaInEveryCombination(t *testing.T) {
	for _, shards := range []int{1, 2} {
		for bits := range 16 {
			settings := []string{
				fmt.Sprintf("dataplane/gso=%d", bits&1), fmt.Sprintf("dataplane/gro=%d", bits>>1&1), fmt.Sprintf("dataplane/timestamps=%d", bits>>2&1),
				fmt.Sprintf("dataplane/vector_aes=%d", bits>>3),
			}
			t.Run(fmt.Sprintf("%d shards, %s", shards, strings.Join(settings, " ")), func(t *testing.T) {
				tree := newTree(t, append(settings, fmt.Sprintf("dataplane/shards=%d", shards))...)
				m := newMedia(t, tree, 4)
				before := countMessages(t, tree)
				for range 5 {
					m.frame()
				}
				now := countMessages(t, tree)
				if gso := now.txMessages-before.txMessages < now.txPackets-before.txPackets; gso != (bits&1 != 0) {
					t.Errorf("sends trains: %v; %+v, then %+v", gso, before, now)
				}
				if gro := now.rxMessages-before.rxMessages < now.rxPackets-before.rxPackets; gro != (bits&2 != 0) {
					t.Errorf("receives trains: %v; %+v, then %+v", gro, before, now)
				}
				for i, path := range []string{"gso_shards", "gro_shards", "timestamps_shards"} {
					if value, _ := tree.Get(path); value != fmt.Sprint(shards*(bits>>i&1)) {
						t.Errorf("%s is %s", path, value)
					}
				}
				for i := range 6 { // the other way, and back
					path, value, _ := strings.Cut(settings[i%3], "=")
					if i < 3 {
						value = map[string]string{"0": "1", "1": "0"}[value]
					}
					if err := tree.Set(path, value); err != nil {
						t.Fatal(err)
					}
					m.publisher.plane.Inspect() // answered when it is done: a train that waits meanwhile is lost
					m.frame()
				}
			})
		}
	}
}

// TestMediaWhileSpinning: a shard that asks instead of sleeping forwards the
// same, takes what other shards bring, and counts its time.
func TestMediaWhileSpinning(t *testing.T) {
	tree := newTree(t, "dataplane/shards=2", "dataplane/spin_us=10000")
	m := newMedia(t, tree, 4)
	await(t, "a shard spins between frames", func() bool {
		m.frame()
		for _, st := range m.publisher.plane.Inspect() {
			if st.Loop.Stages[engine.StageSpin] > 0 {
				return true
			}
		}
		return false
	})
}

type messages struct{ rxMessages, rxPackets, txMessages, txPackets int }

func countMessages(t *testing.T, tree *attr.Tree) (m messages) {
	t.Helper()
	for path, n := range map[string]*int{"rx_messages": &m.rxMessages, "rx_packets": &m.rxPackets, "tx_messages": &m.txMessages, "tx_packets": &m.txPackets} {
		value, err := tree.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(value, n); err != nil {
			t.Fatal(err)
		}
	}
	return m
}
