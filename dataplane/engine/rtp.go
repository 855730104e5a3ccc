package engine

import (
	"encoding/binary"
	"math"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/feedback"
	"sluice/dataplane/histogram"
	"sluice/dataplane/history"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// rtp takes a protected RTP packet: which stream, not seen before, authentic;
// then it is either media or a retransmission of it.
//
//hot:path
func (e *Engine) rtp(s *session, l *link, d *pkt.Datagram) wire.Drop {
	var h wire.RTP
	if !wire.ParseRTP(d.Data, &h) {
		return wire.DropMalformed
	}
	in, retransmission := e.streamOf(s, &h, d.Data)
	if in == nil {
		return wire.DropUnexpected
	}
	stream := &in.stream
	known := h.SSRC == in.ssrc
	if retransmission {
		stream, known = &in.rtxStream, h.SSRC == in.rtxSSRC
	}
	var fresh srtp.Stream // for an SSRC that is not known to be real
	if !known {
		stream = &fresh
	}
	index := stream.Index(h.Seq)
	if !stream.Fresh(index) {
		return wire.DropReplay
	}
	if e.refused(s, known && stream.Started()) {
		return wire.DropAuthBudget
	}
	plain, ok := l.ciphers.UnprotectRTP(d.Data, h.SSRC, index, known && stream.Started())
	if !ok {
		return s.forgery()
	}
	if !known {
		e.latch(in, h.SSRC, retransmission)
		stream = &in.stream
		if retransmission {
			stream = &in.rtxStream
		}
	}
	stream.Commit(index)
	e.authentic(s, &d.Path)
	return e.authenticRTP(l, in, &h, plain, index, retransmission, d)
}

// streamOf finds the ingress a packet belongs to: by SSRC; else, among those
// that may take a new SSRC, by MID; else by payload type (RFC 9143 section 9.2).
//
//hot:path
func (e *Engine) streamOf(s *session, h *wire.RTP, b []byte) (in *ingress, retransmission bool) {
	for i := range s.nIn {
		in := e.ingresses.Get(s.ingress[i])
		if h.SSRC == in.ssrc {
			return in, false
		}
		if h.SSRC == in.rtxSSRC && in.rtxPT != 0 {
			return in, true
		}
	}
	for i := range s.nIn {
		in := e.ingresses.Get(s.ingress[i])
		retransmission := h.PT == in.rtxPT && in.rtxPT != 0
		if in.latches < maxLatches && (h.PT == in.pt || retransmission) && !in.left(h.SSRC) && in.midFits(h, b) {
			return in, retransmission
		}
	}
	return nil, false
}

// midFits reports whether the packet's MID is the ingress's, or absent.
func (in *ingress) midFits(h *wire.RTP, b []byte) bool {
	if in.midExt == 0 {
		return true
	}
	r := h.Exts(b)
	for id, value, ok := r.Next(); ok; id, value, ok = r.Next() {
		if id == in.midExt {
			return string(value) == string(in.mid[:in.midLen])
		}
	}
	return true
}

// latch gives an ingress the SSRC of an authentic packet. A new media SSRC is a
// new source: its numbering has nothing to do with the old one's, and what the old
// one's retransmissions repeat has no number any more.
func (e *Engine) latch(in *ingress, ssrc uint32, retransmission bool) {
	in.latches++
	if retransmission {
		in.leave(in.rtxSSRC, &in.rtxStream)
		in.rtxSSRC, in.rtxStream = ssrc, srtp.Stream{}
		return
	}
	if in.rtxStream.Started() && in.stream.Started() {
		in.leave(in.rtxSSRC, &in.rtxStream)
		in.rtxSSRC, in.rtxStream = 0, srtp.Stream{}
	}
	in.leave(in.ssrc, &in.stream)
	in.ssrc, in.stream = ssrc, srtp.Stream{}
	in.broken, in.beforeKey = false, 0
	in.reception, in.nack, in.clock = feedback.Reception{}, feedback.Nack{}, feedback.SenderClock{}
	in.source = e.newSource()
}

// leave notes an SSRC that another takes the place of.
func (in *ingress) leave(ssrc uint32, stream *srtp.Stream) {
	if stream.Started() {
		in.former[in.formers] = ssrc
		in.formers++
	}
}

// newSource names a numbering, across shards: a reign of an SSRC, or a route's
// own.
func (e *Engine) newSource() uint64 {
	e.serial++
	return uint64(e.cfg.Shard)<<56 | e.serial
}

// authenticRTP takes a decrypted packet.
//
//hot:path
func (e *Engine) authenticRTP(l *link, in *ingress, h *wire.RTP, plain []byte, index uint64, retransmission bool, d *pkt.Datagram) wire.Drop {
	e.arrived(l, in, h, plain, d)
	if _, ok := h.PayloadLen(plain); !ok {
		return wire.DropMalformed
	}
	if retransmission {
		return e.retransmitted(in, h, plain, d)
	}
	if h.PT != in.pt {
		return wire.DropUnexpected
	}
	ext := index + sequenceCycle
	in.reception.Received(ext, h.TS, in.clockRate, d.Arrived)
	if in.fb.NACK || in.kind == msg.Video {
		e.expect(in, ext)
	}
	return e.keep(in, h, plain, ext, d.Arrived)
}

// expect notes what is missing now that a packet came.
//
//hot:path
func (e *Engine) expect(in *ingress, ext uint64) {
	if in.nack.Received(ext, e.now, &e.set.Nack) {
		in.broken = true
		e.feedbackDue(e.now)
	}
	e.feedbackDue(in.nack.Next())
}

// sequenceCycle is the size of the sequence number space; extended sequence
// numbers begin in the second cycle (feedback.Extend).
const sequenceCycle = 1 << 16

// arrived records the packet for transport-wide feedback.
//
//hot:path
func (e *Engine) arrived(l *link, in *ingress, h *wire.RTP, b []byte, d *pkt.Datagram) {
	if l.arrivals == nil || in.ccExt == 0 {
		return
	}
	r := h.Exts(b)
	for id, value, ok := r.Next(); ok; id, value, ok = r.Next() {
		if id == in.ccExt && len(value) >= 2 {
			l.arrivals.Received(binary.BigEndian.Uint16(value), d.Arrived)
			e.feedbackDue(e.sessions.Get(in.session).arrivalsSent.Add(e.set.FeedbackEvery))
			return
		}
	}
}

// retransmitted takes the packet inside a retransmission (RFC 4588 section 4).
// Padding-only ones are a sender's bandwidth probes and end here.
func (e *Engine) retransmitted(in *ingress, h *wire.RTP, plain []byte, d *pkt.Datagram) wire.Drop {
	n, _ := h.PayloadLen(plain)
	if n < 2 || !in.stream.Started() {
		return wire.Kept
	}
	index := in.stream.Index(binary.BigEndian.Uint16(plain[h.HeaderLen:]))
	if !in.stream.Fresh(index) {
		return wire.DropDuplicate
	}
	in.stream.Commit(index)
	ext := index + sequenceCycle
	in.reception.Repaired(ext)
	e.expect(in, ext)
	e.Counters.Repaired++
	// The header moves up over the original sequence number.
	copy(plain[2:], plain[:h.HeaderLen])
	return e.keep(in, h, plain[2:], ext, d.Arrived)
}

// keep puts a packet of an ingress into its route's history.
//
//hot:path
func (e *Engine) keep(in *ingress, h *wire.RTP, plain []byte, ext uint64, received clock.Time) wire.Drop {
	r := e.routes[in.route]
	if r.home != e.cfg.Shard || e.ingresses.Get(r.ingress) != in {
		in.broken = false
		return wire.DropUnexpected // a publisher that another has replaced
	}
	n, _ := h.PayloadLen(plain)
	payload := plain[h.HeaderLen : h.HeaderLen+n]
	key := codec.KeyframeStart(r.codec, payload)
	p, room, drop := e.open(r, in.source, ext, h.TS, len(plain), key)
	if drop == wire.DropBeforeKey {
		in.beforeKey = max(in.beforeKey, ext)
	}
	if drop != wire.Kept {
		return drop
	}
	if key {
		e.keyframeCame(in, ext)
	}
	p.Received, p.CSRC, p.Marker = received, h.CSRC, h.Marker
	used := copy(room, plain[12:12+4*int(h.CSRC)])
	extLen := keepExts(room[used:], in, h, plain)
	p.ExtLen = uint16(extLen)
	used += extLen
	used += copy(room[used:], payload)
	e.close(r, p, used)
	return wire.Kept
}

// keepExts copies the header extension elements that travel with the media, by
// our own ids. The kept form of an element is at most one byte longer than the
// wire's, which the block's four bytes of head, not kept, and its own head make
// up for: what was received fits. Those that do not fit are left out.
//
//hot:path
func keepExts(room []byte, in *ingress, h *wire.RTP, b []byte) int {
	r := h.Exts(b)
	n := 0
	for id, value, ok := r.Next(); ok; id, value, ok = r.Next() {
		if int(id) >= len(in.exts) || in.exts[id] == wire.ExtNone {
			continue
		}
		if n+2+len(value)+len(b)-h.HeaderLen > len(room) {
			break
		}
		room[n], room[n+1] = byte(in.exts[id]), byte(len(value))
		n += 2 + copy(room[n+2:], value)
	}
	return n
}

// keyframeCame notes that a keyframe begins. Where something of it came before its
// first packet and was dropped, which nobody can know it is of a keyframe without,
// another one is asked for.
func (e *Engine) keyframeCame(in *ingress, ext uint64) {
	in.keyframe.Satisfied()
	in.broken = in.beforeKey > ext
	in.beforeKey = 0
	if in.broken {
		e.feedbackDue(e.now)
	}
}

// open makes room in a route's history for a packet of a source; size bounds
// its bytes. It was received now, unless the caller knows better, who fills the packet and the room, then calls close.
//
//hot:path
func (e *Engine) open(r *route, source, seq uint64, ts uint32, size int, key bool) (*history.Packet, []byte, wire.Drop) {
	if r.splice.Source(source) {
		r.waitKey = r.kind == msg.Video
		e.refit(r)
	}
	if r.waitKey && !key {
		e.requestKeyframe(r)
		return nil, nil, wire.DropBeforeKey
	}
	r.waitKey = false
	if r.ring == nil {
		r.ring, r.latency, r.stamped = e.newRing(r, 0), newHistogram(), newHistogram()
	}
	seq, ts, ok := r.splice.Map(seq, ts, e.now, r.clockRate)
	if !ok {
		return nil, nil, wire.DropLate
	}
	if _, kept := r.ring.Find(seq); kept {
		return nil, nil, wire.DropDuplicate
	}
	p, room := r.ring.Append(e.now, seq, size)
	if p == nil {
		return nil, nil, wire.DropMTU
	}
	p.TS, p.Received, p.KeyStart = ts, e.now, key
	return p, room, wire.Kept
}

// close ends what open began: the packet is there for all who have the route.
//
//hot:path
func (e *Engine) close(r *route, p *history.Packet, used int) {
	r.ring.Close(p, used)
	r.packets++
	r.bytes += uint64(used)
	if p.KeyStart {
		r.noteKeyframe(p)
	}
	if p.Marker || !e.holds(r) {
		e.markDirty(r)
		return
	}
	e.hold(r)
}

// noteKeyframe notes where the newest keyframe is, of which p is the newest packet.
// Its first packet may come after others, when it was lost and sent again: a viewer
// that begins with it asks for those.
func (r *route) noteKeyframe(p *history.Packet) {
	at := r.ring.Head() - 1
	if r.hasKey && p.TS == r.keyTS {
		if r.keyAt >= r.ring.Tail() && p.Seq < r.keyframe().Seq {
			r.keyAt = at
		}
		return
	}
	r.hasKey, r.keyAt, r.keyFrom, r.keyTS = true, at, at, p.TS
	for r.keyFrom > r.ring.Tail() {
		if before, _ := r.ring.At(r.keyFrom - 1); before.Seq < p.Seq {
			return
		}
		r.keyFrom--
	}
}

// newRing makes a route's history: audio, with its small packets, needs less; the
// video of a source that cannot be asked reaches back to its last keyframe. Others
// reach back as far as a viewer may start or lag, and a second for retransmissions.
// It runs once a route, and stays out of the function that calls it for each
// packet, so that what that one allocates is plain to see.
//
//go:noinline
func (e *Engine) newRing(r *route, first uint64) *history.Ring {
	r.reaches = r.deaf
	packets, bytes := e.set.HistoryPackets, e.set.HistoryBytes
	reach := max(e.set.StartAge, e.set.StreamLag) + time.Second
	switch {
	case r.kind == msg.Audio:
		packets, bytes = packets/4, bytes/16
	case r.deaf:
		bytes, reach = max(bytes, e.gopBytes(r)), math.MaxInt64
		for packets < bytes/1024 {
			packets *= 2
		}
	}
	return history.New(packets, bytes, reach, first)
}

// refit gives a route the history that a new source needs, where the former one's was
// another: positions go on, and what is before them is gone.
func (e *Engine) refit(r *route) {
	if r.ring == nil || r.deaf == r.reaches {
		return
	}
	r.ring = e.newRing(r, r.ring.Head())
	r.hasKey = false
}

// newHistogram likewise.
//
//go:noinline
func newHistogram() *histogram.Histogram { return new(histogram.Histogram) }
