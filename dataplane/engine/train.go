package engine

import (
	"sluice/dataplane/clock"
	"sluice/dataplane/history"
	"sluice/dataplane/msg"
)

// holds reports whether the route's packets wait for the end of their frame.
//
//hot:path
func (e *Engine) holds(r *route) bool {
	return e.set.TrainHold > 0 && r.kind == msg.Video && len(r.egresses) > 0
}

// hold lets a route's newest packets wait. Other shards get them at once: they
// hold them for their own viewers.
//
//hot:path
func (e *Engine) hold(r *route) {
	e.markRemotes(r)
	if !r.held {
		r.held = true
		e.held = append(e.held, r)
	}
}

// nextHeld is when the first of what is held has waited long enough. What is
// served already waits for the socket, not for time.
func (e *Engine) nextHeld() clock.Time {
	due := clock.Never
	for _, r := range e.held {
		if !r.dirty {
			due = min(due, e.heldUntil(r))
		}
	}
	return due
}

// heldUntil is when the oldest packet that the route's viewers have not been
// offered has waited long enough.
//
//hot:path
func (e *Engine) heldUntil(r *route) clock.Time {
	at := max(r.ready, r.ring.Tail())
	if at == r.ring.Head() {
		return clock.Never
	}
	p, _ := r.ring.At(at)
	return p.Arrived.Add(e.set.TrainHold)
}

// endHolds serves the viewers of what has waited long enough.
func (e *Engine) endHolds() {
	for _, r := range e.held {
		if e.now >= e.heldUntil(r) {
			e.markDirty(r)
		}
	}
}

// release shapes what has come since the last time into trains, and has it
// served: all of it, or where packets wait for the end of their frame, all
// complete frames.
//
//hot:path
func (e *Engine) release(r *route) {
	if r.ring == nil {
		return
	}
	to := e.releasable(r)
	if r.turn == 0 {
		r.fresh, r.round = r.round, to
	}
	if from := max(r.ready, r.ring.Tail()); to > from+1 && e.set.PadMax > 0 {
		r.ring.Level(from, to, history.Shape{Packets: e.set.TrainMax, Pad: e.set.PadMax, Size: e.set.MTU - rtpOverhead - viewerOverhead, ShortTail: e.set.ShortTails})
	}
	r.ready = to
	if r.held && to == r.ring.Head() {
		e.endHold(r)
	}
}

// viewerOverhead is what a viewer adds to the size that the history counts: the
// fixed header and a header extension block with the longest MID.
const viewerOverhead = 12 + 4 + 20

// releasable is the position up to which a route's viewers may be served.
//
//hot:path
func (e *Engine) releasable(r *route) uint64 {
	head := r.ring.Head()
	if !e.holds(r) || e.now >= e.heldUntil(r) {
		return head
	}
	for at := head; at > max(r.ready, r.ring.Tail()); at-- {
		if p, _ := r.ring.At(at - 1); p.Marker {
			return at
		}
	}
	return r.ready
}

// endHold takes a route from the list of those that hold.
//
//hot:path
func (e *Engine) endHold(r *route) {
	r.held = false
	last := len(e.held) - 1
	for i := range e.held {
		if e.held[i] == r {
			e.held[i] = e.held[last]
			break
		}
	}
	e.held[last] = nil
	e.held = e.held[:last]
}
