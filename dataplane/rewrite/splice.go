// Package rewrite translates between the numbering of a source, of a route and
// of a viewer.
//
// A route has a sequence and time space of its own. Splice joins one source
// after another into it, so that viewers never see a publisher restart; Map is
// one viewer's constant view of it. Keeping the viewer's part constant makes a
// retransmission the same bytes again, which AES-GCM asks for.
package rewrite

import (
	"time"

	"sluice/dataplane/clock"
)

// routeStart is where a route's extended sequence numbers begin: past the
// first 2^16, so that packets from just before the first one stay positive.
const routeStart = 1 << 17

// Splice maps the current source of a route into the route's space. Flat; the
// zero value is ready for the first source.
type Splice struct {
	source   uint64 // who sends; 0 for nobody yet
	pending  bool   // the next packet is the first of its source
	seqDelta uint64 // route = source + delta, modulo 2^64
	tsDelta  uint32
	first    uint64 // lowest sequence number that is this source's to use

	highest uint64 // highest sequence number handed out
	lastTS  uint32 // of the packet that had it
	lastAt  clock.Time
}

// Source says who sends now; a change makes the next packet a splice point. It
// reports whether it was one.
func (s *Splice) Source(id uint64) (changed bool) {
	if s.source == id {
		return false
	}
	s.source, s.pending = id, true
	return true
}

// Map returns the route's numbers for a packet of the current source. At a
// splice point sequence numbers go on by one, and time goes on by what passed
// since the last packet (RFC 3550 knows no other common clock yet: the new
// source's sender reports come later, and are mapped the same way). What comes
// late from before the splice point has no number: ok is false. Its number is
// the former source's, and one number means one packet.
//
//hot:path
func (s *Splice) Map(seq uint64, ts uint32, now clock.Time, clockRate uint32) (routeSeq uint64, routeTS uint32, ok bool) {
	if s.pending {
		s.join(seq, ts, now, clockRate)
	}
	seq += s.seqDelta
	ts += s.tsDelta
	if seq < s.first {
		return 0, 0, false
	}
	if seq > s.highest {
		s.highest, s.lastTS, s.lastAt = seq, ts, now
	}
	return seq, ts, true
}

func (s *Splice) join(seq uint64, ts uint32, now clock.Time, clockRate uint32) {
	s.pending = false
	if s.highest == 0 {
		s.seqDelta = routeStart - seq
		return
	}
	s.first = s.highest + 1
	s.seqDelta = s.first - seq
	gap := now.Sub(s.lastAt)
	ticks := uint32(gap/time.Second)*clockRate + uint32(int64(gap%time.Second)*int64(clockRate)/int64(time.Second))
	s.tsDelta = s.lastTS + max(ticks, 1) - ts
}

// TS maps a timestamp of the current source, as its sender reports need it; ok
// is false before the source's first packet.
func (s *Splice) TS(ts uint32) (uint32, bool) { return ts + s.tsDelta, s.source != 0 && !s.pending }

// From reports whether a source is the current one.
func (s *Splice) From(id uint64) bool { return s.source == id }

// Highest returns the highest sequence number handed out, 0 for none.
func (s *Splice) Highest() uint64 { return s.highest }
