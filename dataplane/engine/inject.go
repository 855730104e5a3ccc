package engine

import (
	"time"

	"sluice/dataplane/codec"
	"sluice/dataplane/feedback"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// inject takes a packet of a source that is not a WebRTC peer. The source is
// the route's own: one for as long as the route lives.
func (e *Engine) inject(c *msg.Inject) {
	r := e.routes[c.Route]
	var h wire.RTP
	if r == nil || !wire.ParseRTP(c.Packet, &h) {
		e.Counters.Drops[wire.DropMalformed]++
		return
	}
	e.Counters.RxPackets++
	e.Counters.RxBytes += uint64(len(c.Packet))
	e.Counters.Drops[e.keepInjected(r, &h, c.Packet)]++
}

// injectedSource marks source ids that no ingress has.
const injectedSource = 1 << 48

func (e *Engine) keepInjected(r *route, h *wire.RTP, b []byte) wire.Drop {
	n, ok := h.PayloadLen(b)
	if !ok {
		return wire.DropMalformed
	}
	payload := b[h.HeaderLen : h.HeaderLen+n]
	ext := feedback.Extend(r.injected, h.Seq)
	r.injected, r.deaf = max(r.injected, ext), true
	p, room, drop := e.open(r, injectedSource|uint64(r.id), ext, h.TS, len(b), codec.KeyframeStart(r.codec, payload))
	if drop != wire.Kept {
		return drop
	}
	p.Marker = h.Marker
	ts := p.TS
	e.close(r, p, copy(room, payload))
	if now := e.wall(e.now); r.reportNo == 0 || now.Sub(r.report.ntp) >= injectedReportEvery {
		// Its packets come when they are due, so its clock is ours.
		e.setReport(r, senderReport{ntp: now, rtp: ts})
	}
	return wire.Kept
}

// injectedReportEvery is how often viewers are told an injected source's clock.
const injectedReportEvery = 2 * time.Second
