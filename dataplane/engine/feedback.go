package engine

import (
	"time"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// requestKeyframe asks the source of a route for a keyframe, at most once an
// interval however many want one.
func (e *Engine) requestKeyframe(r *route) {
	if r.kind != msg.Video {
		return
	}
	if r.home != e.cfg.Shard {
		// Its home asks no more often than it should, and forgets nobody.
		if r.wantKey.Request(e.now, fastTick) {
			e.relayKeyframe(r)
		}
		return
	}
	if in := e.ingresses.Get(r.ingress); in != nil {
		e.askKeyframe(in)
	}
}

// askKeyframe asks a publisher for a keyframe, now or when it may be asked again.
func (e *Engine) askKeyframe(in *ingress) {
	if in.keyframe.Request(e.now, e.set.KeyframeEvery) {
		e.sendKeyframeRequest(in)
	}
	e.feedbackDue(in.keyframe.Next())
}

func (e *Engine) sendKeyframeRequest(in *ingress) {
	s := e.sessions.Get(in.session)
	b := e.beginFeedback(s)
	switch {
	case in.fb.PLI:
		b = wire.AppendPLI(b, s.feedbackSSRC, in.ssrc)
	case in.fb.FIR:
		in.firSeq++
		b = wire.AppendFIR(b, s.feedbackSSRC, in.ssrc, in.firSeq)
	default:
		return
	}
	e.Counters.PLIOut++
	e.sendFeedback(in.session, b)
}

// reportIngress sends what is due to the publisher of a stream: NACKs and
// keyframe requests that waited. Where a packet will not come any more, those are
// due until a keyframe comes: a viewer would find that out by itself after seconds.
func (e *Engine) reportIngress(in *ingress) {
	if in.keyframe.Due(e.now, e.set.KeyframeEvery) {
		e.sendKeyframeRequest(in)
	}
	limits := e.set.Nack
	if !in.fb.NACK {
		limits.Tries = 0
	}
	lost, gaveUp := in.nack.Due(e.now, &limits, e.nackScratch[:0])
	in.broken = in.broken || gaveUp
	if in.broken && in.kind == msg.Video {
		e.askKeyframe(in)
		e.feedbackDue(e.now.Add(e.set.KeyframeEvery))
	}
	e.feedbackDue(min(in.keyframe.Next(), in.nack.Next()))
	if len(lost) == 0 {
		return
	}
	s := e.sessions.Get(in.session)
	e.Counters.NACKOut += uint64(len(lost))
	e.sendFeedback(in.session, wire.AppendNACK(e.beginFeedback(s), s.feedbackSSRC, in.ssrc, lost))
}

// reportReception sends a publisher its receiver report (RFC 3550 section 6.4.2).
func (e *Engine) reportReception(h pkt.Handle, s *session) {
	e.sendFeedback(h, e.appendReception(e.scratch[:0], s))
}

func (e *Engine) appendReception(b []byte, s *session) []byte {
	var blocks [maxMedia]wire.ReportBlock
	n := 0
	for i := range s.nIn {
		in := e.ingresses.Get(s.ingress[i])
		if block, ok := in.reception.Report(in.ssrc, e.now); ok {
			blocks[n] = block
			n++
		}
	}
	b = wire.AppendReceiverReport(b, s.feedbackSSRC, blocks[:n])
	return wire.AppendDescription(b, s.feedbackSSRC, msg.CNAME)
}

// reportArrivals sends a publisher its transport-wide feedback, when that is due.
func (e *Engine) reportArrivals(h pkt.Handle, s *session, l *link) {
	if l.arrivals == nil || !l.arrivals.Pending() {
		return
	}
	if next := s.arrivalsSent.Add(e.set.FeedbackEvery); e.now < next {
		e.feedbackDue(next)
		return
	}
	s.arrivalsSent = e.now
	for l.arrivals.Pending() {
		b := e.beginFeedback(s)
		media := e.ingresses.Get(s.ingress[0]).ssrc
		e.sendFeedback(h, l.arrivals.AppendFeedback(b, s.feedbackSSRC, media, maxFeedback))
	}
}

// maxFeedback bounds one feedback packet, so that a compound stays below any MTU.
const maxFeedback = 1000

// beginFeedback starts a datagram of feedback in the scratch buffer: alone
// where reduced-size RTCP was agreed on (RFC 5506), else behind a report.
func (e *Engine) beginFeedback(s *session) []byte {
	if s.reducedSize {
		return e.scratch[:0]
	}
	b := wire.AppendReceiverReport(e.scratch[:0], s.feedbackSSRC, nil)
	return wire.AppendDescription(b, s.feedbackSSRC, msg.CNAME)
}

// sendFeedback protects a compound and queues it for the session's peer.
func (e *Engine) sendFeedback(h pkt.Handle, b []byte) {
	s, l := e.sessions.Get(h), &e.links[h.Index()]
	path := s.agent.Selected()
	if l.ciphers == nil || path == nil {
		return
	}
	slot := e.control.Reserve(len(b) + srtp.MaxOverhead)
	if slot == nil {
		e.Counters.Drops[wire.DropTransmit]++
		return
	}
	copy(slot, b)
	if n := e.protectRTCP(s, l, slot, len(b), s.feedbackSSRC); n > 0 {
		e.control.Commit(path, n)
	}
}

// maxRTCPIndex is where SRTCP's 31-bit index ends, and the key with it
// (RFC 3711 section 9.2).
const maxRTCPIndex = 1<<31 - 1

// protectRTCP protects the compound b[:n] of a sender with the session's next
// index; 0 when there is none left.
func (e *Engine) protectRTCP(s *session, l *link, b []byte, n int, sender uint32) int {
	if s.rtcpIndex == maxRTCPIndex {
		return 0
	}
	s.rtcpIndex++
	return l.ciphers.ProtectRTCP(b, n, sender, s.rtcpIndex)
}

// Periods of the engine's two ticks. Few things are due more often than once a
// second, and those are a publisher's: walking flat state twice a second or
// fifty times costs less than keeping a timer for each.
const (
	fastTick = 20 * time.Millisecond
	slowTick = time.Second
)
