package feedback

import (
	"encoding/binary"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// arrivalWindow is how many transport-wide sequence numbers are remembered: at
// 10000 packets a second the reports of a fifth of a second.
const arrivalWindow = 2048

// tick is the unit of arrival times in transport-wide feedback. A report's
// reference time counts 256 ticks in 24 bits, so a tick count modulo 2^32 is
// exactly what the wire can say: reference time above, first delta below.
const tick = 250 * time.Microsecond

// Arrivals remembers when the packets of one session arrived and reports it to
// their sender, who estimates the bandwidth from it
// (draft-holmer-rmcat-transport-wide-cc-extensions-01).
type Arrivals struct {
	highest uint64 // highest extended transport-wide sequence number, 0 for none
	next    uint64 // lowest one not reported yet
	reports uint8  // feedback packets sent, modulo 256
	arrived [arrivalWindow / 64]uint64
	ticks   [arrivalWindow]uint32 // valid where arrived has a bit
}

// Received takes note of a packet's transport-wide sequence number. Of
// duplicates the first counts; what is older than the window is ignored.
//
//hot:path
func (a *Arrivals) Received(seq uint16, arrived clock.Time) {
	ext := Extend(a.highest, seq)
	switch {
	case a.highest == 0:
		a.highest, a.next = ext, ext
	case ext > a.highest:
		a.advance(ext)
	case ext+arrivalWindow <= a.highest || a.has(ext):
		return
	case ext < a.next:
		// It was reported lost: report again from there on.
		a.next = ext
	}
	slot := ext % arrivalWindow
	a.arrived[slot/64] |= 1 << (slot % 64)
	a.ticks[slot] = uint32(arrived / clock.Time(tick))
}

// advance moves the window up to ext, with nothing arrived in the new part.
func (a *Arrivals) advance(ext uint64) {
	first := a.highest + 1
	if oldest := ext - arrivalWindow + 1; first < oldest {
		first = oldest
	}
	for ; first <= ext; first++ {
		slot := first % arrivalWindow
		a.arrived[slot/64] &^= 1 << (slot % 64)
	}
	a.highest = ext
	if oldest := ext - arrivalWindow + 1; a.next < oldest {
		a.next = oldest
	}
}

func (a *Arrivals) has(ext uint64) bool {
	slot := ext % arrivalWindow
	return a.arrived[slot/64]>>(slot%64)&1 != 0
}

// Pending reports whether there is something to report.
func (a *Arrivals) Pending() bool { return a.highest != 0 && a.next <= a.highest }

// minFeedback is the least room for feedback that gets anywhere: the fixed
// part, a run of lost packets, a chunk and a large delta with its padding.
const minFeedback = 28

// AppendFeedback appends one feedback packet of at most size bytes, at least 28,
// about what was not reported yet, and nothing when that is nothing. Pending
// says whether more is left for another call. media is the SSRC of one of the
// session's streams.
func (a *Arrivals) AppendFeedback(b []byte, sender, media uint32, size int) []byte {
	if !a.Pending() {
		return b
	}
	start := len(b)
	first := a.cursor()
	reference := first.last >> 8

	b = wire.OpenRTCP(b, wire.RTCPTransportFeedback, wire.FormatTransportCC)
	b = binary.BigEndian.AppendUint32(b, sender)
	b = binary.BigEndian.AppendUint32(b, media)
	b = binary.BigEndian.AppendUint16(b, uint16(first.ext))
	b = append(b, 0, 0) // packet status count, set below
	b = binary.BigEndian.AppendUint32(b, reference<<8|uint32(a.reports))

	first.last = reference << 8
	room := max(size, minFeedback)&^3 - (len(b) - start)
	end := first
	for {
		look := a.lookAhead(end, room-2)
		if look.known == 0 {
			break
		}
		word, n := look.chunk()
		b = binary.BigEndian.AppendUint16(b, word)
		room -= 2
		for range n {
			s, _ := a.step(&end)
			room -= int(s)
		}
	}
	binary.BigEndian.PutUint16(b[start+14:], uint16(end.ext-first.ext))
	b = a.appendDeltas(b, first, end.ext)
	a.next = end.ext
	a.reports++
	return wire.CloseRTCP(b, start)
}

// appendDeltas appends the deltas of the packets from c up to end.
func (a *Arrivals) appendDeltas(b []byte, c cursor, end uint64) []byte {
	for c.ext < end {
		switch s, delta := a.step(&c); s {
		case smallDelta:
			b = append(b, uint8(delta))
		case largeDelta:
			b = binary.BigEndian.AppendUint16(b, uint16(delta))
		}
	}
	return b
}

// cursor walks over the packets to report.
type cursor struct {
	ext  uint64
	last uint32 // arrival of the last packet before ext that arrived, in ticks
}

// cursor returns one at the first packet to report, with the first arrival at
// or after it as its time. There is one: the highest packet has arrived.
func (a *Arrivals) cursor() cursor {
	ext := a.next
	for !a.has(ext) {
		ext++
	}
	return cursor{ext: a.next, last: a.ticks[ext%arrivalWindow]}
}

// symbol is a packet status (section 3.1.1); its value is the number of bytes
// that the packet's delta takes.
type symbol uint8

const (
	lost       symbol = iota
	smallDelta        // 0 to 255 ticks after the last arrival
	largeDelta        // -32768 to 32767 ticks
	farDelta          // more: the packet needs a report of its own
)

// step returns the status of the packet at c and its delta, and moves c on.
func (a *Arrivals) step(c *cursor) (s symbol, delta int32) {
	ext := c.ext
	c.ext++
	if !a.has(ext) {
		return lost, 0
	}
	at := a.ticks[ext%arrivalWindow]
	delta = int32(at - c.last)
	c.last = at
	switch {
	case delta == int32(uint8(delta)):
		return smallDelta, delta
	case delta == int32(int16(delta)):
		return largeDelta, delta
	}
	return farDelta, delta
}

// Packets that one status vector chunk covers (section 3.1.4).
const (
	oneBitVector = 14
	twoBitVector = 7
)

// lookAhead is what the choice of the next chunk depends on.
type lookAhead struct {
	symbols [oneBitVector]symbol
	known   int // of symbols; fewer than all only where the report must end
	run     int // packets from the first on with its status
}

// lookAhead looks at the packets from c on whose deltas fit into room bytes.
func (a *Arrivals) lookAhead(c cursor, room int) (l lookAhead) {
	running := true
	for c.ext <= a.highest && (running || l.known < oneBitVector) {
		s, _ := a.step(&c)
		room -= int(s)
		if s == farDelta || room < 0 {
			break
		}
		if l.known < oneBitVector {
			l.symbols[l.known] = s
			l.known++
		}
		if running = running && s == l.symbols[0]; running {
			l.run++
		}
	}
	return l
}

// chunk returns the chunk that covers the most packets, and how many. All
// chunks are two bytes long, so that is the shortest way to say it; no run
// outgrows its 13 bits, since the window is smaller.
func (l *lookAhead) chunk() (word uint16, covered int) {
	oneBit, twoBit := uint16(0), uint16(0)
	widest := lost
	for i, s := range l.symbols[:l.known] {
		widest = max(widest, s)
		oneBit |= uint16(s&1) << (oneBitVector - 1 - i)
		if i < twoBitVector {
			twoBit |= uint16(s) << (2 * (twoBitVector - 1 - i))
		}
	}
	covered = min(l.known, twoBitVector)
	if widest < largeDelta {
		covered = l.known
	}
	switch {
	case l.run >= covered:
		return uint16(l.symbols[0])<<13 | uint16(l.run), l.run
	case widest < largeDelta:
		return 1<<15 | oneBit, covered
	}
	return 1<<15 | 1<<14 | twoBit, covered
}
