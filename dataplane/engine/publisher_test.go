package engine_test

import (
	"bytes"
	"encoding/binary"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// sent is one published packet, and where an engine has kept it.
type sent struct {
	src     *source
	seq     uint64 // extended, the source's own
	ts      uint32
	key     bool // its first packet
	marker  bool
	payload []byte
	at      clock.Time
	kept    [maxShards]clock.Time // 0 for not
	came    [maxShards]clock.Time // when it was kept, also once the shard has lost it
}

// source is one reign of an SSRC: a numbering of its own.
type source struct {
	id            uint32
	pub           *publisher
	track         *track
	ssrc, rtxSSRC uint32
	seq           uint64 // next
	rtxSeq        uint16
	ts            uint32 // at since
	since         clock.Time
	packets       map[uint64]*sent
	rtx           map[uint16]*sent // by sequence number of the retransmission
	octets        uint32
	count         uint32
}

// publisher is a model of a sending client.
type publisher struct {
	*peer
	stream  *stream
	sources [2]*source // by kind
	rtxPT   uint8
	twcc    bool
	twccSeq uint16
	wantKey bool
	frame   int
}

const (
	audioPT, videoPT, videoRTXPT = 111, 96, 97
	midExt, twccExt, levelExt    = 4, 3, 1
)

// publish starts a new session that publishes to a stream.
func (w *world) publish(s *stream) *publisher {
	p := &publisher{peer: w.newPeer(w.idlest()), stream: s, twcc: w.rand.Chance(0.5)}
	if w.rand.Chance(0.5) {
		p.rtxPT = videoRTXPT
	}
	s.pub = p
	p.onKeys, p.onRTCP = p.run, p.feedback
	p.onRTP = func([]byte) {}
	add := msg.AddSession{ID: p.id, Ufrag: p.ufrag, Pwd: p.pwd}
	for _, t := range s.tracks {
		t.home = p.id.Shard()
		p.begin(t)
		add.Receive = append(add.Receive, p.receiveOf(t))
	}
	w.sync(s)
	w.command(p.id.Shard(), add)
	p.begun = &add
	w.net.After(w.rand.Duration(20*time.Millisecond), p.start)
	return p
}

func (p *publisher) receiveOf(t *track) msg.Receive {
	src := p.sources[t.kind]
	r := msg.Receive{Route: t.route, Kind: t.kind, Codec: t.codec, ClockRate: t.rate, MID: t.kind.String(), PT: t.pt()}
	r.ExtIDs[wire.ExtMID] = midExt
	r.ExtIDs[wire.ExtAudioLevel] = levelExt
	if p.twcc {
		r.ExtIDs[wire.ExtTransportCC] = twccExt
	}
	r.Feedback = msg.Feedback{NACK: !p.w.noRepair, PLI: t.kind == msg.Video && p.w.rand.Chance(0.5), FIR: true, TransportCC: p.twcc, ReducedSize: p.w.rand.Chance(0.5)}
	if t.kind == msg.Video {
		r.RTXPT = p.rtxPT
	}
	if p.w.rand.Chance(0.5) { // the offer names the SSRCs
		r.SSRC, r.RTXSSRC = src.ssrc, src.rtxSSRC
	}
	return r
}

// begin gives a track a new source: other SSRC, numbers and time.
func (p *publisher) begin(t *track) {
	w := p.w
	w.sources++
	src := &source{
		id: w.sources, pub: p, track: t, ssrc: uint32(w.rand.Uint64()) | 1, rtxSSRC: uint32(w.rand.Uint64()) | 1,
		seq: uint64(w.rand.IntN(1 << 15)), rtxSeq: uint16(w.rand.IntN(1 << 15)), ts: uint32(w.rand.Uint64()), since: w.net.Now(),
		packets: map[uint64]*sent{}, rtx: map[uint16]*sent{},
	}
	if w.rand.Chance(0.4) { // wraps soon, but not before a few packets have come through
		src.seq = 1<<16 - 100 - uint64(w.rand.IntN(100))
	}
	if w.rand.Chance(0.4) {
		src.ts = -uint32(w.rand.IntN(10 * int(t.rate)))
	}
	p.sources[t.kind] = src
	w.sourceByID[src.id] = src
	p.wantKey = p.wantKey || t.kind == msg.Video
}

// encoderRestart changes the video's SSRC within the session.
func (p *publisher) encoderRestart() {
	if !p.gone && p.keyed {
		p.begin(p.stream.tracks[msg.Video])
	}
}

func (p *publisher) run() {
	p.wantKey = true
	p.every(p.w.pace.video, p.sendFrame)
	p.every(p.w.pace.audio, p.sendAudio)
	p.every(p.w.pace.reports, func() {
		for _, src := range p.sources {
			p.sendRTCP(src.report())
		}
	})
}

func (s *source) tsAt(now clock.Time) uint32 {
	return s.ts + uint32(int64(now.Sub(s.since))*int64(s.track.rate/1000)/int64(time.Millisecond))
}

func (s *source) report() rtcp.Packet {
	now := s.pub.w.net.Now()
	return &rtcp.SenderReport{
		SSRC: s.ssrc, NTPTime: uint64(ntpOrigin.Add(time.Duration(now))), RTPTime: s.tsAt(now),
		PacketCount: s.count, OctetCount: s.octets,
	}
}

func (p *publisher) sendAudio() {
	p.packet(p.sources[msg.Audio], nil, false, true)
}

// sendFrame sends a frame of a few packets, with VP8's descriptor.
func (p *publisher) sendFrame() {
	key := p.wantKey || p.frame%p.w.pace.keyframeEvery == 0
	p.wantKey = false
	p.frame++
	packets := 1 + p.w.rand.IntN(p.w.pace.framePackets)
	for i := range packets {
		descriptor := []byte{0x00, byte(p.w.rand.Uint64())}
		if i == 0 {
			descriptor = []byte{0x10, 0x01} // start of the first partition
			if key {
				descriptor[1] = 0x00
			}
		}
		p.packet(p.sources[msg.Video], descriptor, key && i == 0, i == packets-1)
	}
}

// packet publishes the next packet of a source. Its payload names it.
func (p *publisher) packet(src *source, head []byte, key, marker bool) {
	if p.w.muted {
		return
	}
	now := p.w.net.Now()
	s := &sent{src: src, seq: src.seq, ts: src.tsAt(now), key: key, marker: marker, at: now}
	src.seq++
	payload := append([]byte(nil), head...)
	payload = binary.BigEndian.AppendUint32(payload, src.id)
	payload = binary.BigEndian.AppendUint64(payload, s.seq)
	size := 60
	if src.track.kind == msg.Video {
		size = p.w.pace.payload
	}
	s.payload = append(payload, bytes.Repeat([]byte{byte(s.seq)}, p.w.rand.IntN(size))...)
	src.packets[s.seq] = s
	delete(src.packets, s.seq-p.w.pace.remember)
	src.count++
	src.octets += uint32(len(s.payload))
	p.transmit(src, src.ssrc, src.track.pt(), uint16(s.seq), s, s.payload)
}

func (p *publisher) transmit(src *source, ssrc uint32, pt uint8, seq uint16, s *sent, payload []byte) {
	packet := rtp.Packet{Header: rtp.Header{
		Version: 2, Marker: s.marker, PayloadType: pt, SequenceNumber: seq, Timestamp: s.ts, SSRC: ssrc,
	}, Payload: payload}
	set := func(id uint8, value []byte) {
		if err := packet.SetExtension(id, value); err != nil {
			p.w.t.Fatal(err)
		}
	}
	if s.seq%2 == 0 {
		set(midExt, []byte(src.track.kind.String()))
	}
	if p.twcc {
		p.twccSeq++
		set(twccExt, []byte{byte(p.twccSeq >> 8), byte(p.twccSeq)})
	}
	if src.track.kind == msg.Audio {
		set(levelExt, []byte{byte(s.seq) & 0x7f})
	}
	b, err := packet.Marshal()
	if err != nil {
		p.w.t.Fatal(err)
	}
	if b, err = p.send.EncryptRTP(nil, b, nil); err != nil {
		p.w.t.Fatal(err)
	}
	p.w.remember(p.peer, ssrc, seq, s, b)
	p.host.Send(b)
}

// feedback takes what the engine reports.
func (p *publisher) feedback(packets []rtcp.Packet) {
	for _, packet := range packets {
		switch m := packet.(type) {
		case *rtcp.PictureLossIndication:
			p.keyframeAsked(m.MediaSSRC)
		case *rtcp.FullIntraRequest:
			for _, f := range m.FIR {
				p.keyframeAsked(f.SSRC)
			}
		case *rtcp.TransportLayerNack:
			for _, src := range p.sources {
				if src.ssrc == m.MediaSSRC {
					p.sendAgain(src, m.Nacks)
				}
			}
		case *rtcp.TransportLayerCC:
			if !p.twcc {
				p.w.fail("agreed feedback", "transport-wide feedback to %v, which did not ask for it", p.id)
			}
			p.w.counts.twcc++
		case *rtcp.ReceiverReport:
			p.w.counts.reports += len(m.Reports)
		}
	}
}

func (p *publisher) keyframeAsked(ssrc uint32) {
	if ssrc == p.sources[msg.Video].ssrc {
		p.wantKey = true
		p.w.counts.keyframeRequests++
	}
}

// sendAgain answers NACKs: on the retransmission stream, or with the same bytes.
func (p *publisher) sendAgain(src *source, nacks []rtcp.NackPair) {
	for _, pair := range nacks {
		for _, seq := range pair.PacketList() {
			s := src.packets[src.seq-1-uint64(uint16(src.seq-1)-seq)]
			if s == nil {
				continue
			}
			p.w.counts.upstreamRepairs++
			if src.track.kind == msg.Video && p.rtxPT != 0 {
				src.rtxSeq++
				p.transmit(src, src.rtxSSRC, p.rtxPT, src.rtxSeq, s, append([]byte{byte(seq >> 8), byte(seq)}, s.payload...))
				continue
			}
			if b := p.w.wireBytes(p.peer, src.ssrc, seq); b != nil {
				p.host.Send(b)
			}
		}
	}
}

// settled holds that everything since the calm began was kept.
func (p *publisher) settled(calm clock.Time) {
	for _, src := range p.sources {
		n := 0
		for _, s := range src.packets {
			if s.at < calm {
				continue
			}
			if n++; s.kept[p.id.Shard()] == 0 {
				p.w.fail("media flows", "packet %d of source %d, published at %v, was not kept", s.seq, src.id, time.Duration(s.at))
			}
		}
		if n == 0 {
			p.w.fail("media flows", "publisher %v publishes nothing", p.id)
		}
	}
}

// track is one kind of media of a stream, as the control plane knows it.
type track struct {
	route msg.RouteID
	kind  msg.Kind
	codec codec.Codec
	rate  uint32
	home  int
	known uint64 // shards that have the route
}

func (t *track) pt() uint8 { return [...]uint8{audioPT, videoPT}[t.kind] }

// flight identifies a protected packet of a publisher.
type flight struct {
	from *peer
	ssrc uint32
	seq  uint16
}

type flown struct {
	s *sent
	b []byte
}

// remember notes what a publisher put on the wire.
func (w *world) remember(p *peer, ssrc uint32, seq uint16, s *sent, b []byte) {
	w.flights[flight{p, ssrc, seq}] = flown{s, b}
	delete(w.flights, flight{p, ssrc, seq - uint16(w.pace.remember)})
}

func (w *world) wireBytes(p *peer, ssrc uint32, seq uint16) []byte {
	return w.flights[flight{p, ssrc, seq}].b
}

// published returns the packet that a datagram from an address carries.
func (w *world) published(from pkt.Addr, b []byte) *sent {
	r := w.remotes[from]
	if r == nil || r.peer == nil || len(b) < 12 || wire.Classify(b) != wire.ProtoRTP {
		return nil
	}
	return w.flights[flight{r.peer, binary.BigEndian.Uint32(b[8:]), binary.BigEndian.Uint16(b[2:])}].s
}

// named returns the published packet that a payload names.
func (w *world) named(kind msg.Kind, payload []byte) *sent {
	if kind == msg.Video && len(payload) >= 2 {
		payload = payload[2:]
	}
	if len(payload) < 12 {
		return nil
	}
	src := w.sourceByID[binary.BigEndian.Uint32(payload)]
	if src == nil {
		return nil
	}
	return src.packets[binary.BigEndian.Uint64(payload[4:])]
}
