package rewrite

import (
	"encoding/binary"

	"sluice/dataplane/history"
	"sluice/dataplane/wire"
)

// maxMID bounds the MID that can be sent with each packet; browsers use one or
// two characters, GStreamer up to eight.
const maxMID = 16

// Map is one viewer's view of one route: constant from its first packet on, so
// that the same packet always becomes the same bytes. Flat.
type Map struct {
	SSRC     uint32
	PT       uint8
	SeqDelta uint64 // viewer = route + delta: the 48-bit SRTP index
	IDs      wire.ExtIDs
	Mixed    bool // two-byte extensions are allowed (RFC 8285 section 4.1.2)
	mid      [maxMID]byte
	midLen   uint8
	midRoom  uint8 // bytes of a header extension block with the MID alone
}

// SetMID makes every packet carry the MID, if the viewer agreed on the
// extension and the MID fits.
func (m *Map) SetMID(mid string) {
	if m.IDs[wire.ExtMID] != 0 && len(mid) <= maxMID {
		m.midLen = uint8(copy(m.mid[:], mid))
		m.midRoom = 4 + (1+m.midLen+3)&^3
	}
}

// Write writes the packet for this viewer into b, with the padding that the
// history gave it, and returns its length and SRTP index; 0 when b is too small.
//
//hot:path
func (m *Map) Write(b []byte, p *history.Packet, data []byte) (n int, index uint64) {
	index = p.Seq + m.SeqDelta
	n = m.header(b, p, data, uint16(index), m.SSRC, m.PT)
	payload := p.Payload(data)
	if n == 0 || n+len(payload) > len(b) {
		return 0, index
	}
	return m.pad(b, n+copy(b[n:], payload), p), index
}

// pad adds RTP padding (RFC 3550 section 5.1) to the packet of n bytes in b, up
// to the size that the packet's train has for this viewer, and returns the
// length; 0 when b is too small. It depends on the packet and on constants of
// the viewer, and on nothing else: the same packet is padded the same again. A
// viewer who leaves so much out that a byte cannot count it gets no padding.
//
//hot:path
func (m *Map) pad(b []byte, n int, p *history.Packet) int {
	pad := fixedHeader + int(m.midRoom) + int(p.Fill) - n
	if p.Fill == 0 || pad <= 0 || pad > 255 {
		return n
	}
	if n+pad > len(b) {
		return 0
	}
	b[0] |= paddingBit
	clear(b[n : n+pad-1])
	b[n+pad-1] = byte(pad)
	return n + pad
}

// WriteRTX writes the packet as a retransmission (RFC 4588 section 4): its own
// SSRC, payload type and sequence number, the original one before the payload,
// and no padding.
func (m *Map) WriteRTX(b []byte, p *history.Packet, data []byte, seq uint16, ssrc uint32, pt uint8) (n int) {
	n = m.header(b, p, data, seq, ssrc, pt)
	payload := p.Payload(data)
	if n == 0 || n+2+len(payload) > len(b) {
		return 0
	}
	binary.BigEndian.PutUint16(b[n:], uint16(p.Seq+m.SeqDelta))
	return n + 2 + copy(b[n+2:], payload)
}

const (
	fixedHeader = 12
	paddingBit  = 0x20
)

// header writes everything before the payload and returns its length, 0 when b
// is too small.
func (m *Map) header(b []byte, p *history.Packet, data []byte, seq uint16, ssrc uint32, pt uint8) int {
	csrc := 4 * int(p.CSRC)
	n := fixedHeader + csrc
	if len(b) < n {
		return 0
	}
	b[0] = 2<<6 | p.CSRC
	b[1] = pt
	if p.Marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], p.TS)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	copy(b[fixedHeader:], data[:csrc])
	if p.ExtLen == 0 && m.midLen == 0 {
		return n
	}
	return m.extensions(b, n, p, data)
}

// extensions writes the header extension block at b[n:] and returns where it
// ends; 0 when b is too small. Elements that the viewer did not agree on are
// left out, and so are those that need the two-byte form when it may not be used.
func (m *Map) extensions(b []byte, n int, p *history.Packet, data []byte) int {
	twoByte := m.needsTwoByte(p, data)
	start := n
	n += 4
	if m.midLen > 0 {
		n = putExt(b, n, m.IDs[wire.ExtMID], m.mid[:m.midLen], twoByte)
	}
	r := p.Exts(data)
	for ext, value, ok := r.Next(); ok && n > 0; ext, value, ok = r.Next() {
		if id := m.IDs[ext]; id != 0 && (twoByte || oneByteFits(value)) {
			n = putExt(b, n, id, value, twoByte)
		}
	}
	end := (n + 3) &^ 3
	switch {
	case n == start+4:
		return start // nothing that this viewer agreed on
	case n == 0 || end > len(b):
		return 0
	}
	clear(b[n:end])
	profile := uint16(wire.ExtProfileOneByte)
	if twoByte {
		profile = wire.ExtProfileTwoByte
	}
	binary.BigEndian.PutUint16(b[start:], profile)
	binary.BigEndian.PutUint16(b[start+2:], uint16((end-start)/4-1))
	b[0] |= 0x10
	return end
}

func (m *Map) needsTwoByte(p *history.Packet, data []byte) bool {
	if !m.Mixed {
		return false
	}
	r := p.Exts(data)
	for ext, value, ok := r.Next(); ok; ext, value, ok = r.Next() {
		if m.IDs[ext] != 0 && !oneByteFits(value) {
			return true
		}
	}
	return false
}

func oneByteFits(value []byte) bool { return len(value) >= 1 && len(value) <= 16 }

// putExt writes one element at b[n:] and returns where it ends; 0 when b is too
// small.
func putExt(b []byte, n int, id uint8, value []byte, twoByte bool) int {
	head := 1
	if twoByte {
		head = 2
	}
	if n+head+len(value) > len(b) {
		return 0
	}
	if twoByte {
		b[n], b[n+1] = id, byte(len(value))
	} else {
		b[n] = id<<4 | byte(len(value)-1)
	}
	return n + head + copy(b[n+head:], value)
}
