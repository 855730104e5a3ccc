package engine

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/history"
	"sluice/dataplane/pkt"
)

// A viewer that starts on a keyframe of some age has a backlog. It gets it spread
// evenly over half that age, which is three times the stream's rate, but within
// maxCatchUp in any case; the stream goes on behind it meanwhile.
const (
	maxCatchUp = 1500 * time.Millisecond
	paceTick   = 20 * time.Millisecond
)

// young reports whether a new viewer may start on the route's keyframe: it is no
// older than the settings say, or has just come.
func (e *Engine) young(r *route, key *history.Packet) bool {
	age := e.now.Sub(key.Received)
	return age <= e.set.StartAge || r.keyAt >= r.fresh && age <= justCame
}

// justCame is how long a keyframe may have been on its way through the machine.
const justCame = 100 * time.Millisecond

// gopBytes is how far the history of a route reaches back at least whose source
// cannot be asked for keyframes; 0: nobody starts on an old one.
func (e *Engine) gopBytes(r *route) int {
	if own := r.tuning.GOPBytes; own != 0 {
		return max(own, 0)
	}
	return e.set.GOPBytes
}

// beginPacing spreads what a viewer has to catch up with, whose first packet has
// the given age.
func (e *Engine) beginPacing(r *route, eg *egress, h pkt.Handle, age time.Duration) {
	eg.behind, eg.until = true, e.now.Add(min(age/2, maxCatchUp))
	if age > 0 {
		eg.perTick = (r.ring.Head() - eg.cursor) * uint64(paceTick) / uint64(age)
	}
	if e.pace(r, eg); !eg.behind {
		return
	}
	if len(e.paced) == 0 {
		e.nextPace = e.now.Add(paceTick)
	}
	e.paced = append(e.paced, h)
}

// pace says how far a viewer that is behind may go until the next tick: by its
// share of the backlog, and by what the stream goes on meanwhile. In the last tick
// it gets the rest.
func (e *Engine) pace(r *route, eg *egress) {
	left := eg.until.Sub(e.now)
	if left <= paceTick {
		eg.behind = false
		return
	}
	backlog := r.ring.Head() - max(eg.cursor, r.ring.Tail())
	eg.limit = eg.cursor + backlog*uint64(paceTick)/uint64(left) + eg.perTick + 1
}

// tickPaced lets those who are behind go on.
func (e *Engine) tickPaced() {
	still := e.paced[:0]
	for _, h := range e.paced {
		eg := e.egresses.Get(h)
		if eg == nil {
			continue
		}
		r := e.routes[eg.route]
		if e.pace(r, eg); eg.behind {
			still = append(still, h)
		}
		e.markDirty(r)
	}
	e.paced = still
}

// pacedUntil is when tickPaced is due.
func (e *Engine) pacedUntil() clock.Time {
	if len(e.paced) == 0 {
		return clock.Never
	}
	return e.nextPace
}

// reach is the position up to which a viewer is served now. What waits for its
// turn is not late.
//
//hot:path
func (e *Engine) reach(r *route, eg *egress) uint64 {
	if !eg.behind {
		return r.ready
	}
	eg.measured = r.ring.Head()
	return min(eg.limit, r.ready)
}
