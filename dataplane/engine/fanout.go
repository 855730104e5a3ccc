package engine

import (
	"sluice/dataplane/history"
	"sluice/dataplane/internal/prefetch"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// markDirty notes that a route has something its viewers have not got.
//
//hot:path
func (e *Engine) markDirty(r *route) {
	e.markRemotes(r)
	if !r.dirty {
		r.dirty = true
		d := &e.dirty[r.kind]
		d.routes = append(d.routes, r)
	}
}

// share is how many messages of fan-outs go into a batch. Between batches the shell
// looks what came meanwhile: sound goes ahead of what is left, and more of the frame
// that is being sent joins the trains of those whose turn has not come.
const share = 64

// PollTransmit adds to tx what is to be sent, grouped by destination: audio
// first, also in the midst of a large video fan-out. It returns true when there is
// more: tx was full, or a fan-out has had its share of it.
//
//hot:path
func (e *Engine) PollTransmit(tx *pkt.Batch) (more bool) {
	tx.Limit(e.set.TrainMax)
	e.served = e.served[:0]
	if !e.drainControl(tx) || !e.serveWritable(tx) {
		return true
	}
	e.most = tx.Messages() + share
	return !e.serveDirty(msg.Audio, tx) || !e.serveDirty(msg.Video, tx)
}

// serveDirty serves the viewers of all routes of a kind that have something new;
// false when tx is full.
//
//hot:path
func (e *Engine) serveDirty(kind msg.Kind, tx *pkt.Batch) bool {
	d := &e.dirty[kind]
	for len(d.routes) > 0 {
		last := len(d.routes) - 1
		r := d.routes[last]
		if !e.fanOut(r, tx) {
			return false
		}
		if r.ring != nil && (r.ready > r.round || e.releasable(r) > r.ready) {
			continue // for some, more came meanwhile
		}
		r.dirty = false
		d.routes = d.routes[:last]
	}
	return true
}

// drainControl copies the answers, reports and retransmissions to tx; false
// when they do not fit.
//
//hot:path
func (e *Engine) drainControl(tx *pkt.Batch) bool {
	if !e.copyRuns(e.control, e.control.Runs(), tx) || !e.copyRuns(e.control, e.control.Streams(), tx) {
		return false
	}
	e.control.Reset()
	return true
}

// copyRuns copies packets from one batch to another, and takes them off their
// runs; false when they do not fit.
//
//hot:path
func (e *Engine) copyRuns(from *pkt.Batch, runs []pkt.Run, to *pkt.Batch) bool {
	for i := range runs {
		for run := &runs[i]; run.Len > 0; {
			b := from.Bytes(run)[:min(run.Segment, run.Len)]
			slot := to.Reserve(len(b))
			if slot == nil {
				return false
			}
			to.Mark(run.Mark)
			to.Commit(&run.Path, copy(slot, b))
			e.Counters.TxPackets++
			e.Counters.TxBytes += uint64(len(b))
			run.Off, run.Len = run.Off+int32(len(b)), run.Len-int32(len(b))
		}
	}
	return true
}

// fanOut serves a route's viewers, subscriber-major: one viewer's key schedule
// stays hot over the burst, and its packets line up in one run. Who is served
// first rotates, so that nobody is always last. False when tx has enough; what is
// left goes on from the cursors.
//
//hot:path
func (e *Engine) fanOut(r *route, tx *pkt.Batch) bool {
	e.release(r)
	for n := len(r.egresses); r.turn < n; r.turn++ {
		if tx.Messages() >= e.most {
			return false
		}
		e.fetch(r)
		if !e.serve(r, r.egresses[(r.first+r.turn)%n], tx) {
			return false
		}
	}
	r.turn = 0
	r.first++
	return true
}

// fetch has the processor get what the next viewers need: of many viewers it is
// not in the cache, and each is found by what is in the one before, so serving
// would wait for one after the other.
//
//hot:path
func (e *Engine) fetch(r *route) {
	n, next := len(r.egresses), r.first+r.turn+1
	if l := &e.links[e.egresses.Get(r.egresses[next%n]).session.Index()]; l.ciphers != nil {
		l.ciphers.Fetch()
	}
	after := e.egresses.Get(r.egresses[(next+1)%n]).session
	prefetch.Of(&e.sessions.Get(after).agent)
	prefetch.Of(&e.links[after.Index()])
	e.egresses.Fetch(r.egresses[(next+2)%n])
}

// serve sends one viewer what it has not got yet.
//
//hot:path
func (e *Engine) serve(r *route, h pkt.Handle, tx *pkt.Batch) bool {
	eg := e.egresses.Get(h)
	s := e.sessions.Get(eg.session)
	l := &e.links[eg.session.Index()]
	path := s.agent.Selected()
	if l.ciphers == nil || path == nil || r.ring == nil {
		return true
	}
	if path.Remote.Stream() && !e.roomFor(l, r.kind) {
		return true
	}
	if !eg.started && !e.start(r, eg, h) {
		return true
	}
	tx.Mark(e.mark(r))
	switch {
	case path.Remote.Stream():
		e.keepUp(r, eg)
	case eg.cursor < r.ring.Tail():
		e.fellBehind(r, eg)
	}
	if eg.waitKey && !e.awaitKey(r, eg) {
		return true
	}
	from := eg.cursor
	done := e.catchUp(r, eg, l, path, tx)
	r.noteFrame(eg)
	e.noteServed(r, eg, from, path, tx)
	if eg.cursor != from && eg.reportNo != r.reportNo {
		e.sendReport(r, eg, s, l, path, tx)
	}
	return done
}

// catchUp sends a viewer everything from its cursor on that may be sent. False
// when tx is full.
//
//hot:path
func (e *Engine) catchUp(r *route, eg *egress, l *link, path *pkt.Path, tx *pkt.Batch) bool {
	to, whole := e.reach(r, eg), eg.cursor
	punctual := e.punctual(r, eg, path)
	for ; eg.cursor < to; eg.cursor++ {
		if eg.cursor == whole { // a train in two batches is two messages
			whole = min(to, whole+uint64(e.set.TrainMax))
			if !tx.Fits(int(whole-eg.cursor) * e.set.MTU) {
				return false
			}
		}
		p, data := r.ring.At(eg.cursor)
		if p.Seq < eg.startSeq {
			e.Counters.Drops[wire.DropLate]++
			continue
		}
		if !punctual {
			if drop := e.overdue(r, eg, path, p); drop != wire.Kept {
				e.Counters.Drops[drop]++
				continue
			}
		}
		if path.Remote.Stream() && !e.roomFor(l, r.kind) {
			return true
		}
		slot := tx.Reserve(e.set.MTU)
		if slot == nil {
			return false
		}
		n := e.write(eg, l, slot, p, data)
		if n == 0 {
			e.Counters.Drops[wire.DropMTU]++
			continue
		}
		tx.Commit(path, n)
		l.room -= wire.FrameHead + n
		eg.packets++
		eg.octets += uint32(len(p.Payload(data)))
		e.Counters.TxPackets++
		e.Counters.TxBytes += uint64(n)
		e.Counters.Forwarded++
	}
	return true
}

// start decides where a viewer begins: on the newest keyframe if that is young
// enough or no other can be asked for, else when the next one comes, which is
// asked for; audio at once.
func (e *Engine) start(r *route, eg *egress, h pkt.Handle) bool {
	at := r.ring.Head() - 1
	if r.kind == msg.Video {
		kept := r.hasKey && r.keyAt >= r.ring.Tail()
		if !kept || !e.young(r, r.keyframe()) && !(r.deaf && e.gopBytes(r) > 0) {
			e.requestKeyframe(r)
			return false
		}
		at = r.keyAt
	}
	if at < r.ring.Tail() || at >= r.ring.Head() {
		return false
	}
	p, _ := r.ring.At(at)
	eg.started, eg.cursor, eg.startSeq = true, at, p.Seq
	eg.measured = r.ring.Head()
	// Half of the sequence space stays in front of the first rollover
	// (RFC 3711 section 3.3.1 guesses a rollover counter of 0 for the first packet).
	eg.view.SeqDelta = e.rand()&0x7fff - p.Seq
	if r.kind == msg.Video {
		e.beginPacing(r, eg, h, e.now.Sub(p.Received))
	}
	return true
}

// keyframe is the first packet of the newest one.
func (r *route) keyframe() *history.Packet {
	p, _ := r.ring.At(r.keyAt)
	return p
}

// fellBehind moves a viewer whose backlog was overwritten to what is left. It
// sees a gap, and will ask for a keyframe itself.
func (e *Engine) fellBehind(r *route, eg *egress) {
	e.Counters.Drops[wire.DropViewerBehind] += r.ring.Tail() - eg.cursor
	eg.cursor = r.ring.Tail()
}

// write makes a viewer's packet in slot: rewritten, protected. 0 when it does
// not fit.
//
//hot:path
func (e *Engine) write(eg *egress, l *link, slot []byte, p *history.Packet, data []byte) int {
	header, payload, index := eg.view.Write(slot[:len(slot)-rtpOverhead], p, data)
	if header == 0 {
		return 0
	}
	return l.ciphers.ProtectRTP(slot, header, payload, eg.view.SSRC, index)
}

// writeAgain makes a retransmission in slot.
//
//hot:path
func (e *Engine) writeAgain(eg *egress, l *link, slot []byte, p *history.Packet, data []byte) int {
	if eg.rtxPT == 0 {
		return e.write(eg, l, slot, p, data)
	}
	header, payload := eg.view.WriteRTX(slot[:len(slot)-rtpOverhead], p, data, uint16(eg.rtxIndex), eg.rtxSSRC, eg.rtxPT)
	if header == 0 {
		return 0
	}
	n := l.ciphers.ProtectRTP(slot, header, payload, eg.rtxSSRC, eg.rtxIndex)
	eg.rtxIndex++
	return n
}

// rtpOverhead is by how much protection grows an RTP packet: the longest tag.
const rtpOverhead = 16

// sendReport passes the source's last sender report on in the viewer's terms
// (RFC 3550 section 6.4.1), behind media: shorter than that, it is mostly the last
// packet of a train, and no message of its own. Where there is no room, it goes
// behind the next media.
func (e *Engine) sendReport(r *route, eg *egress, s *session, l *link, path *pkt.Path, tx *pkt.Batch) {
	if path.Remote.Stream() && !e.roomFor(l, r.kind) {
		return
	}
	slot := tx.Reserve(e.set.MTU)
	if slot == nil {
		return
	}
	now := e.wall(e.now)
	elapsed := uint64(now - r.report.ntp)
	b := wire.AppendSenderReport(slot[:0], &wire.SenderReport{
		SSRC:    eg.view.SSRC,
		NTP:     now,
		RTP:     r.report.rtp + uint32(elapsed>>32)*r.clockRate + uint32(elapsed&0xffffffff*uint64(r.clockRate)>>32),
		Packets: eg.packets, Octets: eg.octets,
	})
	b = wire.AppendDescription(b, eg.view.SSRC, msg.CNAME)
	if n := e.protectRTCP(s, l, slot, len(b), eg.view.SSRC); n > 0 {
		tx.Commit(path, n)
		l.room -= wire.FrameHead + n
		e.Counters.TxPackets++
		e.Counters.TxBytes += uint64(n)
	}
	eg.reportNo = r.reportNo
}
