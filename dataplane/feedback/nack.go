package feedback

import (
	"sort"
	"time"

	"sluice/dataplane/clock"
)

// maxMissing is how many packets of a stream may be missing at a time. More is
// no longer a loss that retransmission should repair.
const maxMissing = 256

// Limits say how retransmissions are asked for. They are attributes: the caller
// may change them at any time.
type Limits struct {
	Reorder   time.Duration // how long a gap may be mere reordering
	Retry     time.Duration // wait after the first request, and so much more after each one
	GiveUp    time.Duration // how long a missing packet is worth asking for
	Tries     int           // requests for one packet at most; 0 for a source that answers none: what is missing is given up after Reorder
	PerSecond int           // requests for packets of one stream at most
}

// DefaultLimits returns limits for live video: ten tries fit into the second that
// they give a packet.
func DefaultLimits() Limits {
	return Limits{
		Reorder:   10 * time.Millisecond,
		Retry:     20 * time.Millisecond,
		GiveUp:    time.Second,
		Tries:     10,
		PerSecond: 1000,
	}
}

// Nack knows which packets of a stream are missing and when to ask for them
// (RFC 4585 section 6.2.1).
type Nack struct {
	highest uint64 // highest extended sequence number seen, 0 for none
	missing [maxMissing]missing
	count   int // of missing, which is in ascending order of ext
	next    clock.Time

	second clock.Time // when the current second of PerSecond began
	asked  int        // requests in it
}

type missing struct {
	ext   uint64
	found clock.Time // when the gap was seen
	due   clock.Time // when to ask next
	tries int
}

// hopeless reports whether the limits give the packet up.
func (m *missing) hopeless(now clock.Time, l *Limits) bool {
	return now.Sub(m.found) >= l.GiveUp || m.tries >= l.Tries
}

// Received takes note of a packet, original or retransmitted, by its extended
// sequence number (Extend). It is true when so much is missing that only a
// keyframe helps: everything missing is then given up and the caller asks for
// one.
//
//hot:path
func (n *Nack) Received(ext uint64, now clock.Time, l *Limits) (overrun bool) {
	switch {
	case n.highest == 0 || ext == n.highest+1:
		n.highest = ext
	case ext > n.highest:
		overrun = n.gap(ext, now, l)
	case n.count > 0:
		n.fill(ext)
	}
	return overrun
}

// gap adds what lies between the highest packet and ext.
func (n *Nack) gap(ext uint64, now clock.Time, l *Limits) (overrun bool) {
	first := n.highest + 1
	n.highest = ext
	if ext-first > uint64(maxMissing-n.count) {
		n.count = 0
		return true
	}
	due := now.Add(l.Reorder)
	if n.count == 0 || due < n.next {
		n.next = due
	}
	for ; first < ext; first++ {
		n.missing[n.count] = missing{ext: first, found: now, due: due}
		n.count++
	}
	return false
}

// fill removes a packet that came.
func (n *Nack) fill(ext uint64) {
	list := n.missing[:n.count]
	i := sort.Search(len(list), func(i int) bool { return list[i].ext >= ext })
	if i < len(list) && list[i].ext == ext {
		copy(list[i:], list[i+1:])
		n.count--
	}
}

// Due appends to out the sequence numbers to ask for now, in ascending order,
// as many as fit its capacity. What was asked for is asked for again, after longer
// and longer waits, until the limits give it up. A receiver does not know the round
// trip, and to wait for it would be a mistake: where requests and answers are lost
// too, a request that comes while another is under way is what keeps the picture
// moving (TestLoss of package engine), at the price of a few bytes; browsers send
// nothing twice within a round trip. It is true when something was given up, which
// only a keyframe makes good.
func (n *Nack) Due(now clock.Time, l *Limits, out []uint16) (asked []uint16, gaveUp bool) {
	if n.count == 0 || now < n.next {
		return out, false
	}
	if now.Sub(n.second) >= time.Second {
		n.second, n.asked = now, 0
	}
	n.next = clock.Never
	kept := 0
	for _, m := range n.missing[:n.count] {
		if m.hopeless(now, l) {
			gaveUp = true
			continue
		}
		switch {
		case m.due > now:
		case n.asked >= l.PerSecond:
			m.due = n.second.Add(time.Second)
		case len(out) < cap(out):
			out = append(out, uint16(m.ext))
			n.asked++
			m.tries++
			m.due = now.Add(l.Retry * time.Duration(m.tries))
		}
		n.next = min(n.next, m.due)
		n.missing[kept] = m
		kept++
	}
	n.count = kept
	return out, gaveUp
}

// Next returns when to call Due next, clock.Never when nothing is missing.
func (n *Nack) Next() clock.Time {
	if n.count == 0 {
		return clock.Never
	}
	return n.next
}

// Missing returns how many packets are missing and not given up.
func (n *Nack) Missing() int { return n.count }
