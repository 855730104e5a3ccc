package engine

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/history"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
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
	e.now = now
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
	route    *route
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
	*s = stamp{pending: true, route: r, received: p.Received, asked: e.now}
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
		e.Times.Stamped.Record(at.Sub(e.stamp.received), 1)
		e.stamp.route.stamped.Record(at.Sub(e.stamp.received), 1)
	}
}

// measure counts so many packets that took so long.
//
//hot:path
func (e *Engine) measure(r *route, latency time.Duration, packets uint64) {
	e.Times.Latency.Record(latency, packets)
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

// lastShed is how many times later than other video what should be left out last
// may be: sound, and keyframes, without which what follows them is of no use.
const lastShed = 4

// shedRelief is which part of the limit has to be won back once frames are left out.
// Leaving out no more than must be would send each batch's younger end alone, by
// trains of half the length at nearly the same cost.
const shedRelief = 8

// shedLead is which part of the limit is left to other shards with viewers of a
// route. How old media is when it comes in is up to the shard where it does, by what
// that leaves out. By the same limit, others would leave out as much as that one is
// behind, and then wait for it.
const shedLead = 8

// tooLate says how old a frame may be that is sent to a viewer, and what it counts
// as when it is left out; 0 is however old. A connection that takes no more has
// rules of its own (keepUp).
//
//hot:path
func (e *Engine) tooLate(r *route, eg *egress, path *pkt.Path, key bool) (limit time.Duration, why wire.Drop) {
	limit, why = e.lateDrop(r), wire.DropOverdue
	shed := e.set.Shed
	if len(r.remotes) > 0 {
		shed -= shed / shedLead
	}
	if eg.leaveOut == wire.DropShed {
		shed -= shed / shedRelief
	}
	if r.kind == msg.Audio || key {
		shed *= lastShed
	}
	if shed > 0 && !path.Remote.Stream() && (limit == 0 || shed < limit) {
		limit, why = shed, wire.DropShed
	}
	return limit, why
}

// punctual reports whether nothing that waits for a viewer can be too late, so
// that nobody need ask for each packet. It is asked before a viewer is served: what
// is next is the oldest that waits.
//
//hot:path
func (e *Engine) punctual(r *route, eg *egress, path *pkt.Path) bool {
	if eg.leaveOut != wire.Kept || eg.cursor >= r.ring.Head() {
		return eg.leaveOut == wire.Kept
	}
	p, _ := r.ring.At(eg.cursor)
	limit, _ := e.tooLate(r, eg, path, false)
	return limit == 0 || e.now.Sub(p.Received) <= limit
}

// overdue says why the packet at a viewer's cursor is not sent: it comes too late.
// The first packet decides for its whole frame: half a frame is of no use. What a
// viewer is given to begin with is older than the viewer, and not late. What was
// left out is not sent again either, or who misses it would bring it all back.
//
//hot:path
func (e *Engine) overdue(r *route, eg *egress, path *pkt.Path, p *history.Packet) wire.Drop {
	if eg.cursor < eg.measured {
		return wire.Kept
	}
	if !eg.inFrame || p.TS != eg.frame {
		limit, why := e.tooLate(r, eg, path, p.KeyStart)
		eg.inFrame, eg.frame, eg.leaveOut = true, p.TS, wire.Kept
		if limit > 0 && e.now.Sub(p.Received) > limit {
			eg.leaveOut = why
		}
	}
	if eg.leaveOut != wire.Kept {
		eg.measured = eg.cursor + 1
		eg.leave(eg.cursor + 1)
	}
	return eg.leaveOut
}

// leave notes that packets from the cursor to a position are dropped on purpose: who
// misses them does not get them again. Only the last such gap is known.
//
//hot:path
func (eg *egress) leave(to uint64) {
	if to <= eg.cursor {
		return
	}
	if eg.skipped != eg.cursor {
		eg.gap = eg.cursor
	}
	eg.skipped = to
}

// noteFrame notes whose packets a viewer got last without being asked for each: the
// rest of that frame is not left out.
//
//hot:path
func (r *route) noteFrame(eg *egress) {
	if eg.cursor > r.ring.Tail() {
		p, _ := r.ring.At(eg.cursor - 1)
		eg.inFrame, eg.frame = true, p.TS
	}
}
