package engine_test

import (
	"bytes"
	"encoding/binary"
	"slices"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// viewer is a model of a receiving client. It checks all that it gets.
type viewer struct {
	*peer
	stream  *stream
	nack    bool
	onSent  func(*viewed, *sent, uint64) // nil, or takes what is sent for the first time
	ssrc    uint32                       // of its reports
	firSeq  uint8
	streams [2]*viewed // by kind
}

// viewed is one received stream.
type viewed struct {
	v             *viewer
	track         *track
	ssrc, rtxSSRC uint32
	pt, rtxPT     uint8
	ids           wire.ExtIDs

	// What the engine sent, before the network.
	first   uint64 // index of the first packet, by whose numbering all else goes
	started bool
	sent    map[uint64]*sent // by index
	joined  map[uint32]bool  // sources
	// What arrived.
	any     bool
	low     uint64 // everything below was judged
	highest uint64
	got     map[uint64]arrival
	asked   map[uint64]clock.Time // missing, and when asked for last
	offsets map[uint32]uint64     // index less source number, by source
	last    arrival               // the last one judged
	lastAt  uint64                // its index
	wraps   int                   // of the timestamp
}

type arrival struct {
	s  *sent
	ts uint32
}

func (w *world) watch(s *stream) *viewer {
	v := &viewer{peer: w.newPeer(w.idlest()), stream: s, nack: w.rand.Chance(0.8), ssrc: uint32(w.rand.Uint64()) | 1}
	v.peer.watch.viewer = v
	s.viewers = append(s.viewers, v)
	v.onKeys, v.onRTP, v.onRTCP = v.run, v.media, v.reports
	w.sync(s)
	add := msg.AddSession{ID: v.id, Ufrag: v.ufrag, Pwd: v.pwd}
	for _, t := range s.tracks {
		d := &viewed{
			v: v, track: t, ssrc: uint32(w.rand.Uint64()) | 1, pt: uint8(100 + w.rand.IntN(20)),
			sent: map[uint64]*sent{}, joined: map[uint32]bool{}, got: map[uint64]arrival{}, asked: map[uint64]clock.Time{}, offsets: map[uint32]uint64{},
		}
		if t.kind == msg.Video && w.rand.Chance(0.6) {
			d.rtxPT, d.rtxSSRC = d.pt+1, uint32(w.rand.Uint64())|1
		}
		if w.rand.Chance(0.7) {
			d.ids[wire.ExtMID], d.ids[wire.ExtAudioLevel] = 5, 9
		}
		v.streams[t.kind] = d
		add.Send = append(add.Send, msg.Send{
			Route: t.route, Kind: t.kind, ClockRate: t.rate, MID: t.kind.String(), PT: d.pt, SSRC: d.ssrc,
			RTXPT: d.rtxPT, RTXSSRC: d.rtxSSRC, ExtIDs: d.ids, ExtMixed: w.rand.Chance(0.5),
			Feedback: msg.Feedback{NACK: v.nack, PLI: true, FIR: true},
		})
	}
	if w.tcp && w.rand.Chance(0.2) {
		v.connect(1 << 20)
		w.counts.connections++
	}
	w.command(v.id.Shard(), add)
	w.net.After(w.rand.Duration(20*time.Millisecond), v.start)
	return v
}

func (v *viewer) run() {
	v.every(v.w.pace.viewerReports, func() {
		v.sendRTCP(&rtcp.ReceiverReport{SSRC: v.ssrc})
		if v.w.rand.Chance(0.1) {
			v.keyframe()
		}
	})
	if v.nack {
		v.every(v.w.pace.nack, v.askMissing)
	}
}

// keyframe asks for one, in either way.
func (v *viewer) keyframe() {
	media := v.streams[msg.Video].ssrc
	if v.w.rand.Chance(0.5) {
		v.sendRTCP(&rtcp.PictureLossIndication{SenderSSRC: v.ssrc, MediaSSRC: media})
		return
	}
	v.firSeq++
	v.sendRTCP(&rtcp.FullIntraRequest{SenderSSRC: v.ssrc, FIR: []rtcp.FIREntry{{SSRC: media, SequenceNumber: v.firSeq}}})
}

// askMissing sends NACKs for what is missing, and again until it came.
func (v *viewer) askMissing() {
	for _, d := range v.streams {
		var lost []uint16
		now := v.w.net.Now()
		for index, asked := range d.asked {
			if now.Sub(asked) >= 2*v.w.pace.nack && len(lost) < 60 {
				lost = append(lost, uint16(index))
				d.asked[index] = now
			}
		}
		if len(lost) > 0 {
			slices.Sort(lost) // the map's order is not the seed's
			v.sendRTCP(&rtcp.TransportLayerNack{SenderSSRC: v.ssrc, MediaSSRC: d.ssrc, Nacks: rtcp.NackPairsFromSequenceNumbers(lost)})
		}
	}
}

// find returns the stream of an SSRC.
func (v *viewer) find(ssrc uint32) (d *viewed, again bool) {
	for _, d := range v.streams {
		switch {
		case ssrc == d.ssrc:
			return d, false
		case ssrc == d.rtxSSRC && d.rtxPT != 0:
			return d, true
		}
	}
	v.w.fail("routing", "viewer %v was sent SSRC %d, which it does not know", v.id, ssrc)
	return nil, false
}

// parse reads a decrypted packet: what it says, and which published packet it is.
func (v *viewer) parse(b []byte) (p *rtp.Packet, d *viewed, osn uint16, again bool, s *sent) {
	p = &rtp.Packet{}
	if err := p.Unmarshal(b); err != nil {
		v.w.fail("readable", "viewer %v cannot parse RTP: %v", v.id, err)
	}
	d, again = v.find(p.SSRC)
	osn, payload, pt := p.SequenceNumber, p.Payload, d.pt
	if again {
		if len(payload) < 2 {
			v.w.fail("payload", "a retransmission without a sequence number")
		}
		osn, payload, pt = binary.BigEndian.Uint16(payload), payload[2:], d.rtxPT
	}
	if s = v.w.named(d.track.kind, payload); s == nil {
		v.w.fail("payload", "viewer %v got a payload that nobody published: % x", v.id, payload)
	}
	if !bytes.Equal(payload, s.payload) || p.Marker != s.marker || p.PayloadType != pt || s.src.track != d.track {
		v.w.fail("payload", "viewer %v got payload % x, marker %v, PT %d; published was % x, %v on %v", v.id, payload, p.Marker, p.PayloadType, s.payload, s.marker, s.src.track.kind)
	}
	if id := d.ids[wire.ExtMID]; id != 0 && string(p.GetExtension(id)) != d.track.kind.String() {
		v.w.fail("extensions", "viewer %v got MID %q", v.id, p.GetExtension(id))
	}
	level := p.GetExtension(d.ids[wire.ExtAudioLevel])
	if want := d.ids[wire.ExtAudioLevel] != 0 && d.track.kind == msg.Audio; want != (len(level) == 1 && level[0] == byte(s.seq)&0x7f) {
		v.w.fail("extensions", "viewer %v got audio level % x of packet %d", v.id, level, s.seq)
	}
	return p, d, osn, again, s
}

// sentTo takes what the engine sends to the viewer, all of it and in order.
func (v *viewer) sentTo(plain []byte, index uint64) {
	_, d, osn, again, s := v.parse(plain)
	if again {
		// One that came before the keyframe's first packet is sent only so.
		at := d.nearestSent(osn)
		if before := d.sent[at]; before != nil && before != s || !d.started || at < d.first {
			v.w.fail("one number, one packet", "viewer %v: a retransmission of %d is packet %d of source %d", v.id, at, s.seq, s.src.id)
		}
		d.sent[at] = s
		return
	}
	if !d.started {
		d.started, d.first = true, index
	}
	if !d.joined[s.src.id] {
		d.joined[s.src.id] = true
		if d.track.kind == msg.Video && !s.key {
			v.w.fail("starts on a keyframe", "viewer %v, first packet is %d of source %d", v.id, s.seq, s.src.id)
		}
	}
	if index < d.first {
		v.w.fail("starts on a keyframe", "viewer %v: packet %d from before its first %d", v.id, index, d.first)
	}
	if before := d.sent[index]; before != nil && before != s {
		v.w.fail("one number, one packet", "viewer %v: number %d was packet %d of source %d and is %d of %d", v.id, index, before.seq, before.src.id, s.seq, s.src.id)
	}
	if v.onSent != nil {
		v.onSent(d, s, index)
	}
	d.sent[index] = s
	delete(d.sent, index-v.w.pace.remember)
	v.w.counts.forwarded++
}

func (d *viewed) nearestSent(seq uint16) uint64 {
	highest := d.v.peer.watch.rtp[d.ssrc].highest
	return highest + uint64(int64(int16(seq-uint16(highest))))
}

// media takes what came through the network.
func (v *viewer) media(b []byte) {
	p, d, osn, _, s := v.parse(b)
	index := uint64(osn)
	if d.any {
		index = d.highest + uint64(int64(int16(osn-uint16(d.highest))))
	}
	v.w.counts.received++
	if before, had := d.got[index]; had {
		if before.s != s || before.ts != p.Timestamp {
			v.w.fail("one number, one packet", "viewer %v: number %d means two packets", v.id, index)
		}
		return
	}
	if d.any && index < d.low {
		return // from before the first that came, or judged long ago
	}
	if !d.any {
		d.any, d.low, d.highest = true, index, index
	}
	for missing := d.highest + 1; missing < index; missing++ {
		d.asked[missing] = v.w.net.Now()
	}
	delete(d.asked, index)
	d.highest = max(d.highest, index)
	d.got[index] = arrival{s, p.Timestamp}
	if offset, known := d.offsets[s.src.id]; known && offset != index-s.seq {
		v.w.fail("contiguous numbers", "viewer %v: packet %d of source %d has number %d, others of it are %d apart", v.id, s.seq, s.src.id, index, offset)
	}
	d.offsets[s.src.id] = index - s.seq
	if d.highest > d.low+v.w.pace.window {
		d.judge(d.highest - v.w.pace.window)
	}
}

// judge looks at everything below an index in order, and then forgets it.
func (d *viewed) judge(end uint64) {
	for ; d.low < end; d.low++ {
		if a, ok := d.got[d.low]; ok {
			d.inOrder(a, d.low == d.lastAt+1)
			d.last, d.lastAt = a, d.low
			delete(d.got, d.low)
		} else if d.v.nack {
			d.excuse(d.low)
		}
		delete(d.asked, d.low)
	}
}

// inOrder holds a packet against the one before it: time goes on as it was
// published within a source, and as the clock did from one to the next.
func (d *viewed) inOrder(a arrival, adjacent bool) {
	last, w := d.last, d.v.w
	if last.s == nil {
		return
	}
	step := int32(a.ts - last.ts)
	if a.ts < last.ts {
		d.wraps++
	}
	if last.s.src == a.s.src {
		if want := int32(a.s.ts - last.s.ts); step != want || step < 0 {
			w.fail("timestamps", "viewer %v: %d after packet %d of source %d, want %d", d.v.id, step, last.s.seq, last.s.src.id, want)
		}
		return
	}
	if step <= 0 {
		w.fail("timestamps", "viewer %v: source %d goes back behind source %d by %d", d.v.id, a.s.src.id, last.s.src.id, -step)
	}
	// The splice was made where both came in, or where the viewer is.
	took := time.Duration(step) * time.Millisecond / time.Duration(d.track.rate/1000)
	atHome, here := gap(last.s, a.s, a.s.src.pub.id.Shard()), gap(last.s, a.s, d.v.id.Shard())
	if adjacent && !near(took, atHome) && !near(took, here) {
		w.fail("timestamps", "viewer %v: source %d follows %d after %v or %v, its time after %v", d.v.id, a.s.src.id, last.s.src.id, atHome, here, took)
	}
	w.counts.splices++
}

// gap returns the time between the arrival of two packets at a shard.
func gap(a, b *sent, shard int) time.Duration { return b.came[shard].Sub(a.came[shard]) }

// near allows for the tick of the RTP clock and what a relay takes.
func near(a, b time.Duration) bool { return max(a-b, b-a) <= time.Millisecond }

// byTCP reports whether media comes on a connection, which may be late.
func (v *viewer) byTCP() bool { return v.w.pipes[v.host.Addr()] != nil }

// excuse accepts that a number never came, if the engine never had its packet,
// or left it out because a connection was too slow.
func (d *viewed) excuse(index uint64) {
	if d.v.byTCP() {
		return
	}
	shard := d.v.id.Shard()
	for id, offset := range d.offsets {
		s := d.v.w.sourceByID[id].packets[index-offset]
		if s != nil && s.kept[shard] != 0 {
			d.v.w.fail("complete with NACK", "viewer %v lacks number %d, packet %d of source %d, kept at %v, sent %v",
				d.v.id, index, s.seq, id, time.Duration(s.kept[shard]), d.sent[index] == s)
		}
	}
}

// reports takes the engine's RTCP: sender reports whose two clocks agree.
func (v *viewer) reports(packets []rtcp.Packet) {
	for _, packet := range packets {
		sr, ok := packet.(*rtcp.SenderReport)
		if !ok {
			continue
		}
		d, _ := v.find(sr.SSRC)
		a, has := d.got[d.highest]
		if !has {
			continue
		}
		v.w.counts.senderReports++
		now := ntpOrigin.Add(time.Duration(v.w.net.Now()))
		age := now.Sub(clock.NTP(sr.NTPTime))
		if age > time.Second && v.byTCP() {
			continue // it waited in the connection
		}
		if age < 0 || age > time.Second {
			v.w.fail("sender reports", "viewer %v: a report is %v old", v.id, age)
		}
		elapsed := v.w.net.Now().Sub(a.s.at)
		ahead := time.Duration(int32(sr.RTPTime-a.ts)) * time.Millisecond / time.Duration(d.track.rate/1000)
		if off := ahead - elapsed; off > time.Second || off < -time.Second {
			v.w.fail("sender reports", "viewer %v: a report of %v is %v off the media", v.id, d.track.kind, off)
		}
	}
}

// settled judges everything that is left. While the stream is live, what was
// published since the calm began must have come.
func (v *viewer) settled(calm clock.Time) {
	for _, d := range v.streams {
		if !d.any {
			if v.stream.pub != nil {
				v.w.fail("media flows", "viewer %v has no %v", v.id, d.track.kind)
			}
			continue
		}
		d.judge(d.highest + 1)
		if v.stream.pub != nil && d.last.s.at < calm {
			v.w.fail("media flows", "viewer %v got its last %v at %v", v.id, d.track.kind, time.Duration(d.last.s.at))
		}
	}
}
