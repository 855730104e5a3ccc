package engine

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/history"
	"sluice/dataplane/pkt"
)

// served says what of a route went into the transmit batch: the packets from
// one position to another, once for each of so many viewers.
type served struct {
	route    *route
	from, to uint64
	viewers  uint64
	oldest   clock.Time // when the packet at from was received
}

// noteServed records that a viewer's packets of r, from a position up to its
// cursor, are in the transmit batch. Viewers served one after the other with the
// same packets are one entry, so what this costs does not grow with them. What a
// viewer gets to begin with is older than the viewer, and no measure of anything.
//
//hot:path
func (e *Engine) noteServed(r *route, eg *egress, from uint64, path *pkt.Path, tx *pkt.Batch) {
	from = max(from, eg.measured)
	if from >= eg.cursor {
		return
	}
	e.askStamp(r, from, path, tx)
	if n := len(e.served); n > 0 {
		if last := &e.served[n-1]; last.route == r && last.from == from && last.to == eg.cursor {
			last.viewers++
			return
		}
	}
	p, _ := r.ring.At(from)
	e.served = append(e.served, served{r, from, eg.cursor, 1, p.Received})
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
			received := s.oldest
			if at >= tail { // else it was overwritten meanwhile, and is as old as that at least
				p, _ := s.route.ring.At(at)
				received = p.Received
			}
			e.measure(s.route, now.Sub(received), s.viewers)
		}
	}
	e.served = e.served[:0]
}

// stamp is a run whose handing to the network device the kernel was asked to tell
// of. There is one at a time, so answers need no names.
type stamp struct {
	pending  bool
	received clock.Time // the oldest packet of the run
	asked    clock.Time
	skipped  int // runs since
}

// stampPatience is how long the kernel may take to answer; a queueing discipline
// may hold a run back, or drop it.
const stampPatience = time.Second

// askStamp asks for one viewer's packets out of so many.
//
//hot:path
func (e *Engine) askStamp(r *route, from uint64, path *pkt.Path, tx *pkt.Batch) {
	s := &e.stamp
	s.skipped++
	if e.set.StampEvery == 0 || s.skipped < e.set.StampEvery || s.pending && e.now.Sub(s.asked) < stampPatience || !tx.Stamp(path) {
		return
	}
	p, _ := r.ring.At(from)
	*s = stamp{pending: true, received: p.Received, asked: e.now}
}

// AwaitsStamp reports whether the shell should ask the kernel for an answer.
//
//hot:path
func (e *Engine) AwaitsStamp() bool { return e.stamp.pending }

// HandleStamp takes the kernel's answer. One from before the question is of a run
// that was given up.
//
//hot:path
func (e *Engine) HandleStamp(at clock.Time) {
	if e.stamp.pending && at >= e.stamp.asked {
		e.stamp.pending = false
		e.stamped.Record(at.Sub(e.stamp.received), 1)
	}
}

// measure counts so many packets that took so long.
//
//hot:path
func (e *Engine) measure(r *route, latency time.Duration, packets uint64) {
	e.latency.Record(latency, packets)
	r.latency.Record(latency, packets)
	r.sent += packets
	if budget := e.budget(r); budget > 0 && latency > budget {
		r.late += packets
		e.Counters.Late += packets
	}
}

//hot:path
func (e *Engine) budget(r *route) time.Duration {
	if r.tuning.Budget > 0 {
		return r.tuning.Budget
	}
	return e.set.Deadlines.Budget
}

//hot:path
func (e *Engine) lateDrop(r *route) time.Duration {
	if r.tuning.LateDrop > 0 {
		return r.tuning.LateDrop
	}
	return e.set.Deadlines.LateDrop
}

// overdue reports whether the packet at a viewer's cursor comes too late to be
// sent. The first packet decides for its whole frame: half a frame is of no use.
// What a viewer is given to begin with is older than the viewer, and not late.
//
//hot:path
func (e *Engine) overdue(r *route, eg *egress, p *history.Packet) bool {
	limit := e.lateDrop(r)
	if limit == 0 || eg.cursor < eg.measured {
		return false
	}
	if !eg.inFrame || p.TS != eg.frame {
		eg.inFrame, eg.frame = true, p.TS
		eg.leaveOut = e.now.Sub(p.Received) > limit
	}
	if eg.leaveOut {
		eg.measured = eg.cursor + 1
	}
	return eg.leaveOut
}
