package engine

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/histogram"
	"sluice/dataplane/msg"
)

// served says what of a route went into the transmit batch: the packets from
// one position to another, once for each of so many viewers.
type served struct {
	route    *route
	from, to uint64
	viewers  uint64
	oldest   clock.Time // when the packet at from arrived
}

// noteServed records that a viewer's packets of r, from a position up to its
// cursor, are in the transmit batch. Viewers served one after the other with the
// same packets are one entry, so what this costs does not grow with them. What a
// viewer gets to begin with is older than the viewer, and no measure of anything.
//
//hot:path
func (e *Engine) noteServed(r *route, eg *egress, from uint64) {
	from = max(from, eg.joined)
	if from >= eg.cursor {
		return
	}
	if n := len(e.served); n > 0 {
		if last := &e.served[n-1]; last.route == r && last.from == from && last.to == eg.cursor {
			last.viewers++
			return
		}
	}
	p, _ := r.ring.At(from)
	e.served = append(e.served, served{r, from, eg.cursor, 1, p.Arrived})
}

// HandleSent is told that the batch PollTransmit filled last was taken by the
// kernel, at the instant now: how long its packets took from the kernel to the
// kernel is known then.
//
//hot:path
func (e *Engine) HandleSent(now clock.Time) {
	for i := range e.served {
		s := &e.served[i]
		tail := s.route.ring.Tail()
		for at := s.from; at < s.to; at++ {
			arrived := s.oldest
			if at >= tail { // else it was overwritten meanwhile, and is as old as that at least
				p, _ := s.route.ring.At(at)
				arrived = p.Arrived
			}
			e.measure(s.route, now.Sub(arrived), s.viewers)
		}
	}
	e.served = e.served[:0]
}

// measure counts so many packets that took so long.
//
//hot:path
func (e *Engine) measure(r *route, latency time.Duration, packets uint64) {
	e.latency.Record(latency, packets)
	r.latency.Record(latency, packets)
}

// Latency returns how long the packets of a route took on this shard, nil when
// there were none.
func (e *Engine) Latency(id msg.RouteID) *histogram.Histogram {
	r := e.routes[id]
	if r == nil || r.latency == nil {
		return nil
	}
	h := *r.latency
	return &h
}
