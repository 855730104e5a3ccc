package srtp

import (
	"encoding/binary"

	"sluice/dataplane/msg"
)

// windowBits is the size of the replay list. RFC 3711 section 3.3.2 asks for
// 64; bursts of retransmissions and reordering exceed that.
const windowBits = 1024

// Stream is the receiving state of one SSRC: the highest packet index and the
// replay list behind it (RFC 3711 sections 3.3.1 and 3.3.2). Flat; the zero
// value is ready. Check with Index and Fresh, and Commit only what then
// authenticated.
type Stream struct {
	started bool
	highest uint64
	seen    [windowBits / 64]uint64 // a ring over the index, modulo windowBits
}

// Index estimates the 48-bit index of a packet: the one nearest to the highest
// seen (RFC 3711 appendix A). The rollover counter starts at 0.
//
//hot:path
func (s *Stream) Index(seq uint16) uint64 {
	if !s.started {
		return uint64(seq)
	}
	diff := int64(int16(seq - uint16(s.highest)))
	if diff < 0 && uint64(-diff) > s.highest {
		return uint64(seq) // before the first rollover there is nothing earlier
	}
	return s.highest + uint64(diff)
}

// Highest returns the highest committed index.
func (s *Stream) Highest() uint64 { return s.highest }

// Started reports whether any packet was committed.
func (s *Stream) Started() bool { return s.started }

// Fresh reports whether the index was not committed before and is not older
// than the replay list.
//
//hot:path
func (s *Stream) Fresh(index uint64) bool {
	if !s.started || index > s.highest {
		return true
	}
	if s.highest-index >= windowBits {
		return false
	}
	return s.seen[index%windowBits/64]>>(index%64)&1 == 0
}

// Commit enters an index of an authenticated packet.
//
//hot:path
func (s *Stream) Commit(index uint64) {
	switch {
	case !s.started:
		s.started, s.highest = true, index
	case index > s.highest:
		s.forget(index)
		s.highest = index
	}
	s.seen[index%windowBits/64] |= 1 << (index % 64)
}

// forget clears the places of the indexes between the highest and the new one.
func (s *Stream) forget(index uint64) {
	if index-s.highest >= windowBits {
		s.seen = [windowBits / 64]uint64{}
		return
	}
	for i := s.highest + 1; i <= index; i++ {
		s.seen[i%windowBits/64] &^= 1 << (i % 64)
	}
}

// controlSSRCs is how many RTCP senders one peer may be: each m-section has a new
// one whenever its encoder starts again, and none is ever forgotten, or what it sent
// could be replayed.
const controlSSRCs = 40

// Control is the receiving state of a session's SRTCP (RFC 3711 section 3.3.2
// for the explicit index of section 3.4), per sender SSRC. Flat; the zero value
// is ready.
type Control struct {
	count   uint8
	senders [controlSSRCs]controlSender
}

type controlSender struct {
	ssrc, highest uint32
	seen          uint64 // bit i: highest-i
}

// Header reads the sender SSRC and SRTCP index of a protected compound without
// believing them; ok is false when it is too short.
//
//hot:path
func Header(b []byte, p msg.Profile) (ssrc, index uint32, ok bool) {
	trailer := 4
	if p == msg.ProfileAES128CMSHA180 {
		trailer += 10 // the tag stands behind the index
	}
	if len(b) < 8+trailer {
		return 0, 0, false
	}
	index = binary.BigEndian.Uint32(b[len(b)-trailer:]) &^ (1 << 31)
	return binary.BigEndian.Uint32(b[4:]), index, true
}

// Fresh reports whether this index of this sender was not committed before, and
// whether there is room for the sender.
//
//hot:path
func (c *Control) Fresh(ssrc, index uint32) bool {
	s := c.find(ssrc)
	if s == nil {
		return c.count < controlSSRCs
	}
	if index > s.highest {
		return true
	}
	age := s.highest - index
	return age < 64 && s.seen>>age&1 == 0
}

// Knows reports whether a compound of this sender was committed before.
//
//hot:path
func (c *Control) Knows(ssrc uint32) bool { return c.find(ssrc) != nil }

// Commit enters an index that Fresh allowed and whose compound authenticated.
//
//hot:path
func (c *Control) Commit(ssrc, index uint32) {
	s := c.find(ssrc)
	if s == nil {
		c.senders[c.count] = controlSender{ssrc: ssrc, highest: index, seen: 1}
		c.count++
		return
	}
	if index <= s.highest {
		s.seen |= 1 << (s.highest - index)
		return
	}
	s.seen = s.seen<<(index-s.highest) | 1
	s.highest = index
}

func (c *Control) find(ssrc uint32) *controlSender {
	for i := range c.senders[:c.count] {
		if c.senders[i].ssrc == ssrc {
			return &c.senders[i]
		}
	}
	return nil
}
