package engine

import (
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// rtcp takes a protected compound: not seen before, authentic; then each packet
// in it touches only streams of its own session.
//
//hot:path
func (e *Engine) rtcp(s *session, l *link, d *pkt.Datagram) wire.Drop {
	ssrc, index, ok := srtp.Header(d.Data, s.keys.Profile)
	switch {
	case !ok:
		return wire.DropMalformed
	case !s.rtcp.Fresh(ssrc, index):
		return wire.DropReplay
	case e.refused(s, s.rtcp.Knows(ssrc)):
		return wire.DropAuthBudget
	}
	plain, ok := l.ciphers.UnprotectRTCP(d.Data)
	if !ok {
		return s.forgery()
	}
	s.rtcp.Commit(ssrc, index)
	e.authentic(s, &d.Path)
	compound := wire.Compound(plain)
	for p, ok := compound.Next(); ok; p, ok = compound.Next() {
		e.report(s, l, p, d)
	}
	if len(compound) > 0 {
		return wire.DropMalformed
	}
	return wire.Kept
}

//hot:path
func (e *Engine) report(s *session, l *link, p wire.RTCP, d *pkt.Datagram) {
	e.reported(s, p.ReportBlocks(), d)
	if sr, ok := p.SenderReport(); ok {
		e.senderReport(s, &sr, d)
		return
	}
	if media, lost, ok := p.NACK(); ok {
		e.nacked(s, l, media, lost)
		return
	}
	if media, ok := p.PLI(); ok {
		e.Counters.PLIIn++
		if eg := e.egressOf(s, media); eg != nil {
			e.requestKeyframe(e.routes[eg.route])
		}
		return
	}
	fir := p.FIR()
	for i := range fir.Len() {
		e.fullIntra(s, fir.At(i))
	}
}

// reported takes what a viewer says of what it receives: at most 31 blocks.
//
//hot:path
func (e *Engine) reported(s *session, blocks wire.ReportBlocks, d *pkt.Datagram) {
	for i := range blocks.Len() {
		block := blocks.At(i)
		if eg := e.egressOf(s, block.SSRC); eg != nil {
			eg.reported.Block(&block, d.Arrived, e.wall(d.Arrived))
		}
	}
}

func (e *Engine) egressOf(s *session, ssrc uint32) *egress {
	for i := range s.nOut {
		if eg := e.egresses.Get(s.egress[i]); eg.view.SSRC == ssrc {
			return eg
		}
	}
	return nil
}

func (e *Engine) ingressOf(s *session, ssrc uint32) *ingress {
	for i := range s.nIn {
		if in := e.ingresses.Get(s.ingress[i]); in.ssrc == ssrc {
			return in
		}
	}
	return nil
}

// senderReport takes a publisher's clock, and has it told to the viewers.
func (e *Engine) senderReport(s *session, sr *wire.SenderReport, d *pkt.Datagram) {
	in := e.ingressOf(s, sr.SSRC)
	if in == nil {
		return
	}
	in.reception.SenderReport(sr.NTP, d.Arrived)
	now := e.wall(e.now)
	in.clock.Observe(&s.timeline, sr, e.wall(d.Arrived))
	ts, ok := in.clock.At(&s.timeline, now, in.clockRate)
	r := e.routes[in.route]
	if mapped, live := r.splice.TS(ts); ok && live && r.splice.From(in.source) {
		e.setReport(r, senderReport{ntp: now, rtp: mapped})
	}
}

// setReport makes a report the route's current one. Each viewer gets it behind
// its next packets, each shard that follows the route at once.
func (e *Engine) setReport(r *route, report senderReport) {
	r.report = report
	r.reportNo++
	for i := range r.remotes {
		e.relay(r.remotes[i].shard, Relay{Kind: RelayReport, Route: r.id, Space: r.space, Report: report}, nil)
	}
}

// fullIntra takes a FIR entry; a repetition asks for nothing new.
func (e *Engine) fullIntra(s *session, fir wire.FIREntry) {
	eg := e.egressOf(s, fir.SSRC)
	if eg == nil || eg.firSeen && eg.firSeq == fir.Seq {
		return
	}
	e.Counters.PLIIn++
	eg.firSeen, eg.firSeq = true, fir.Seq
	e.requestKeyframe(e.routes[eg.route])
}

// nacked sends again what a viewer lacks and the history has: on the
// retransmission stream where there is one, else the very same bytes.
//
//hot:path
func (e *Engine) nacked(s *session, l *link, media uint32, lost wire.Lost) {
	eg := e.egressOf(s, media)
	path := s.agent.Selected()
	if eg == nil || !eg.started || path == nil {
		return
	}
	r := e.routes[eg.route]
	for seq, ok := lost.Next(); ok; seq, ok = lost.Next() {
		e.Counters.NACKIn++
		if int(eg.resent) >= e.set.ResendPerSecond || !e.resend(r, eg, l, path, seq) {
			e.Counters.NACKMissed++
		}
	}
}

//hot:path
func (e *Engine) resend(r *route, eg *egress, l *link, path *pkt.Path, seq uint16) bool {
	newest := r.splice.Highest() + eg.view.SeqDelta
	at, ok := r.ring.Find(newest + uint64(int64(int16(seq-uint16(newest)))) - eg.view.SeqDelta)
	if !ok || at >= eg.cursor || at >= eg.gap && at < eg.skipped {
		return false
	}
	if path.Remote.Stream() {
		return false // by TCP, what was sent arrives
	}
	p, data := r.ring.At(at)
	slot := e.control.Reserve(e.set.MTU)
	if limit := e.lateDrop(r); p.Seq < eg.startSeq || slot == nil || limit > 0 && e.now.Sub(p.Received) > limit {
		return false
	}
	n := e.writeAgain(eg, l, slot, p, data)
	if n == 0 {
		return false
	}
	e.control.Mark(e.mark(r))
	e.control.Commit(path, n)
	e.control.Mark(pkt.Mark{})
	eg.resent++
	e.Counters.Resent++
	return true
}
