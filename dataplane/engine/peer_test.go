package engine_test

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"hash/crc32"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/srtp/v3"

	"sluice/dataplane/clock"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/simnet"
	"sluice/dataplane/wire"
)

// peer is a model of a WebRTC client: it checks connectivity, does something
// that looks like DTLS, and then has pion's SRTP contexts.
type peer struct {
	w          *world
	id         msg.SessionID
	ufrag, pwd string
	keys       msg.Keys // as the engine gets them
	host       *simnet.Host
	gone       bool
	unchecking bool   // it checks no more, as libnice once it is connected
	answered   bool   // a check has been
	restarting bool   // no check with new credentials has been answered
	renewed    uint64 // serial of the first of those
	keyed      bool   // the handshake is over for us
	serial     uint64
	begun      *msg.AddSession    // of one that may move to another shard
	forwarding *msg.ForwardChecks // ends what is passed on from where it was before
	send, recv *srtp.Context

	onKeys func()
	onRTP  func(b []byte)
	onRTCP func(packets []rtcp.Packet)

	watch observer
}

// checkEvery is the pace of consent checks: browsers take about 5 s, with
// loss two in a row may go.
const checkEvery = 2500 * time.Millisecond

func (w *world) newPeer(shard int) *peer {
	w.serial++
	p := &peer{w: w, id: msg.NewSessionID(shard, w.serial)}
	var random [ice.RandomLen]byte
	w.rand.Fill(random[:])
	p.ufrag, p.pwd = ice.NewUfrag(shard, &random)
	p.keys.Profile = [...]msg.Profile{msg.ProfileAES128GCM, msg.ProfileAES128CMSHA180, msg.ProfileAES256GCM}[w.rand.IntN(3)]
	for _, k := range []*msg.MasterKey{&p.keys.Local, &p.keys.Remote} {
		w.rand.Fill(k.Key[:])
		w.rand.Fill(k.Salt[:])
	}
	p.send = w.newCipher(p.keys.Profile, &p.keys.Remote)
	p.recv = w.newCipher(p.keys.Profile, &p.keys.Local)
	p.watch.init(p, w.newCipher(p.keys.Profile, &p.keys.Local))
	p.host = w.net.NewHost(w.newAddr(p), p.receive)
	p.host.Up, p.host.Down = w.newLink(), w.newLink()
	w.sessions[p.id] = p
	return p
}

func (w *world) newCipher(profile msg.Profile, k *msg.MasterKey) *srtp.Context {
	p := srtp.ProtectionProfile(profile)
	keyLen, _ := p.KeyLen()
	saltLen, _ := p.SaltLen()
	c, err := srtp.CreateContext(k.Key[:keyLen], k.Salt[:saltLen], p)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

// newAddr returns an address that no peer had before.
func (w *world) newAddr(p *peer) pkt.Addr {
	w.addrs++
	a := pkt.Addr{IP: [16]byte{10: 0xff, 11: 0xff, 12: 10, 13: byte(w.addrs >> 16), 14: byte(w.addrs >> 8), 15: byte(w.addrs)}, Port: uint16(1024 + w.rand.IntN(60000))}
	w.remotes[a] = &remoteState{peer: p}
	return a
}

// start begins to check.
func (p *peer) start() { p.check() }

// leave ends the peer's life here; the engine does not hear of it.
func (p *peer) leave() {
	p.gone = true
	p.host.Close()
}

// every calls f each interval for as long as the peer is there.
func (p *peer) every(interval time.Duration, f func()) {
	p.w.net.After(interval, func() {
		if !p.gone {
			f()
			p.every(interval, f)
		}
	})
}

func (p *peer) check() {
	if p.gone || p.unchecking {
		return
	}
	p.host.Send(p.checkPacket())
	wait := checkEvery
	if !p.answered {
		wait = 100 * time.Millisecond
	}
	p.w.net.After(wait, p.check)
}

func (p *peer) checkPacket() []byte {
	p.serial++
	return bindingRequest(p.ufrag, p.pwd, p.serial)
}

// bindingRequest builds a connectivity check as a browser sends it.
func bindingRequest(ufrag, pwd string, serial uint64) []byte {
	b := []byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0}
	b = binary.BigEndian.AppendUint64(b, serial)
	b = attribute(b, 0x0006, []byte(ufrag+":peer"))
	b = attribute(b, 0x802a, []byte("tiebreak"))
	b = attribute(b, 0x0025, nil)
	b = attribute(b, 0x0024, []byte{0x6e, 0, 1, 0xff})
	return signed(b, pwd)
}

func attribute(b []byte, typ uint16, value []byte) []byte {
	b = binary.BigEndian.AppendUint16(b, typ)
	b = binary.BigEndian.AppendUint16(b, uint16(len(value)))
	b = append(b, value...)
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// signed adds MESSAGE-INTEGRITY and FINGERPRINT.
func signed(b []byte, pwd string) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+24-20))
	mac := hmac.New(sha1.New, []byte(pwd))
	mac.Write(b)
	return fingerprinted(attribute(b, 0x0008, mac.Sum(nil)))
}

func fingerprinted(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)+8-20))
	return attribute(b, 0x8028, binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(b)^0x5354554e))
}

// hello sends what stands for DTLS until the keys are there.
func (p *peer) hello() {
	if p.gone || p.keyed {
		return
	}
	p.host.Send([]byte{22, 0xfe, 0xfd, 1, 2, 3})
	p.w.net.After(150*time.Millisecond, p.hello)
}

// receive takes what came from the network.
func (p *peer) receive(b []byte) {
	switch wire.Classify(b) {
	case wire.ProtoSTUN:
		p.restarting = p.restarting && binary.BigEndian.Uint64(b[12:]) < p.renewed
		if !p.answered {
			p.answered = true
			p.hello()
		}
	case wire.ProtoDTLS:
		if !p.keyed {
			p.keyed = true
			p.onKeys()
		}
	case wire.ProtoRTCP:
		plain, err := p.recv.DecryptRTCP(nil, b, nil)
		if err != nil {
			p.w.fail("readable", "peer %v cannot decrypt RTCP: %v", p.id, err)
		}
		packets, err := rtcp.Unmarshal(plain)
		if err != nil {
			p.w.fail("readable", "peer %v cannot parse RTCP % x: %v", p.id, plain, err)
		}
		p.onRTCP(packets)
	case wire.ProtoRTP:
		plain, err := p.recv.DecryptRTP(nil, b, nil)
		if err != nil {
			p.w.fail("readable", "peer %v cannot decrypt RTP: %v", p.id, err)
		}
		p.onRTP(plain)
	}
}

func (p *peer) sendRTCP(packets ...rtcp.Packet) {
	if p.gone || !p.keyed {
		return
	}
	b, err := rtcp.Marshal(packets)
	if err != nil {
		p.w.t.Fatal(err)
	}
	if b, err = p.send.EncryptRTCP(nil, b, nil); err != nil {
		p.w.t.Fatal(err)
	}
	p.host.Send(b)
}

// rebind gives the peer another address, as a NAT that forgot it does. It
// notices when its next check is answered; media it goes on sending.
func (p *peer) rebind() {
	if p.w.pipes[p.host.Addr()] != nil {
		p.reconnect()
		return
	}
	p.host.Rebind(p.w.newAddr(p))
}

// observer sees all that the engine sends to one peer, before the network does.
type observer struct {
	p      *peer
	cipher *srtp.Context
	rtp    map[uint32]*observed // by SSRC
	rtcp   uint32               // last index
	viewer *viewer              // nil for a publisher
}

// observed is one sent RTP stream: a hash of the bytes under each index.
type observed struct {
	highest uint64
	bytes   map[uint64]uint32
}

func (o *observer) init(p *peer, c *srtp.Context) {
	*o = observer{p: p, cipher: c, rtp: map[uint32]*observed{}}
}

func (o *observer) rtpSent(b []byte) {
	ssrc, seq := binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])
	s := o.rtp[ssrc]
	if s == nil {
		if seq >= 1<<15 {
			o.p.w.fail("rollover", "a stream of %v starts at %d: its receiver may guess the rollover counter wrong", o.p.id, seq)
		}
		s = &observed{highest: uint64(seq), bytes: map[uint64]uint32{}}
		o.rtp[ssrc] = s
	}
	index := s.highest + uint64(int64(int16(seq-uint16(s.highest))))
	sum := crc32.ChecksumIEEE(b)
	before, used := s.bytes[index]
	if used && before != sum {
		o.p.w.fail("one index, one packet", "peer %v, ssrc %d: index %d was used for two packets", o.p.id, ssrc, index)
	}
	s.bytes[index] = sum
	if index > s.highest {
		s.highest = index
		delete(s.bytes, index-1<<15) // can no longer be told apart
	}
	plain, err := o.cipher.DecryptRTP(nil, b, nil)
	if err != nil {
		o.p.w.fail("readable", "what was sent to %v does not decrypt: %v", o.p.id, err)
	}
	if plain[0]&0x20 != 0 {
		o.p.w.counts.padded++
		if used {
			o.p.w.counts.paddedAgain++
		}
	}
	if o.viewer == nil {
		o.p.w.fail("routing", "publisher %v was sent RTP", o.p.id)
	}
	o.viewer.sentTo(plain, index)
}

func (o *observer) rtcpSent(b []byte) {
	trailer := 4
	if o.p.keys.Profile == msg.ProfileAES128CMSHA180 {
		trailer += 10
	}
	index := binary.BigEndian.Uint32(b[len(b)-trailer:]) &^ (1 << 31)
	if index <= o.rtcp {
		o.p.w.fail("one index, one packet", "peer %v: SRTCP index %d after %d", o.p.id, index, o.rtcp)
	}
	o.rtcp = index
}

// remoteState is what the world knows of an address.
type remoteState struct {
	peer      *peer      // nil for an attacker
	consented clock.Time // last check, or packet that only the peer can have sealed
	validated bool
	in, out   int // bytes, before it was validated
}
