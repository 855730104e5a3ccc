package keying

import (
	"slices"

	"sluice/dataplane/pkt"
)

// turns decides whose handshake runs, who waits, and who is turned away. A source
// gets its share of the places only, so that a network of peers that stall
// leaves room for others. Not safe for concurrent use.
type turns struct {
	all, each room // for all sessions, and for those of each source
	taken     room
	sources   map[source]room // taken by source
	queue     []*session
}

// room counts places: to run a handshake, and to wait for one to run.
type room struct{ running, waiting int }

// place is what becomes of a session that comes in.
type place uint8

const (
	runs place = iota
	waits
	full     // nobody more can wait
	fullOfIt // nobody more of this source can
)

// source is where datagrams come from: an IPv4 address, or a network of 64 bits
// of IPv6, which a single host may have for itself.
type source [16]byte

func sourceOf(p *pkt.Path) source {
	s := source(p.Remote.IP)
	if !p.Remote.Is4() {
		clear(s[8:])
	}
	return s
}

func newTurns(all room, percent int) *turns {
	share := func(places int) int { return max(places*percent/100, 1) }
	return &turns{all: all, each: room{share(all.running), share(all.waiting)}, sources: map[source]room{}}
}

// enter gives a session its place. One that waits for us to begin is never
// turned away: nobody would say anything again, and it waits as nothing but itself.
func (t *turns) enter(s *session) place {
	of := t.sources[s.source]
	switch {
	case t.taken.running < t.all.running && of.running < t.each.running:
		t.count(s, room{running: 1})
		return runs
	case s.role == Active:
	case t.taken.waiting >= t.all.waiting:
		return full
	case of.waiting >= t.each.waiting:
		return fullOfIt
	}
	t.count(s, room{waiting: 1})
	t.queue = append(t.queue, s)
	return waits
}

// leave gives up the place of a session that ran. It returns the one whose turn
// it is now and that runs from then on, nil for none: the first whose source has
// room. If one waits though places are free, then only because its source has
// used up its share, and it is taken when another of that source leaves.
func (t *turns) leave(s *session) (next *session) {
	t.count(s, room{running: -1})
	i := slices.IndexFunc(t.queue, func(q *session) bool { return t.sources[q.source].running < t.each.running })
	if i < 0 {
		return nil
	}
	next = t.queue[i]
	t.queue = slices.Delete(t.queue, i, i+1)
	t.count(next, room{running: 1, waiting: -1})
	return next
}

// withdraw takes a session out of the queue, if it is there.
func (t *turns) withdraw(s *session) {
	if i := slices.Index(t.queue, s); i >= 0 {
		t.queue = slices.Delete(t.queue, i, i+1)
		t.count(s, room{waiting: -1})
	}
}

func (t *turns) count(s *session, change room) {
	t.taken = t.taken.plus(change)
	of := t.sources[s.source].plus(change)
	if of == (room{}) {
		delete(t.sources, s.source)
		return
	}
	t.sources[s.source] = of
}

func (r room) plus(o room) room { return room{r.running + o.running, r.waiting + o.waiting} }
