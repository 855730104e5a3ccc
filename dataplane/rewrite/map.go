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

// Write writes the packet's header for this viewer into b and returns its
// length, 0 when b is too small for the packet, what belongs behind it, and the
// SRTP index. The payload stays where data has it, so that protecting it is the
// only copy, unless the history gave the packet padding: then it is in b.
//
//hot:path
func (m *Map) Write(b []byte, p *history.Packet, data []byte) (header int, payload []byte, index uint64) {
	index = p.Seq + m.SeqDelta
	header = m.header(b, p, data, uint16(index), m.SSRC, m.PT)
	payload = p.Payload(data)
	pad := m.padding(header+len(payload), p)
	if header == 0 || header+len(payload)+pad > len(b) {
		return 0, nil, index
	}
	if pad > 0 {
		payload = padded(b, header, payload, pad)
	}
	return header, payload, index
}

// padding is how much RTP padding (RFC 3550 section 5.1) a packet of n bytes
// gets, to have the size that its train has for this viewer. It depends on the
// packet and on constants of the viewer, and on nothing else: the same packet is
// padded the same again. A viewer who leaves so much out that a byte cannot count
// it gets no padding.
//
//hot:path
func (m *Map) padding(n int, p *history.Packet) int {
	pad := fixedHeader + int(m.midRoom) + int(p.Fill) - n
	if p.Fill == 0 || pad <= 0 || pad > 255 {
		return 0
	}
	return pad
}

// padded copies the payload behind the header in b, with padding.
//
//hot:path
func padded(b []byte, header int, payload []byte, pad int) []byte {
	b[0] |= paddingBit
	b = b[header : header+len(payload)+pad]
	clear(b[copy(b, payload):])
	b[len(b)-1] = byte(pad)
	return b
}

// WriteRTX writes the packet as a retransmission (RFC 4588 section 4): its own
// SSRC, payload type and sequence number, the original one before the payload,
// and no padding. It returns the header's length, 0 when b is too small, and what
// is behind it in b.
//
//hot:path
func (m *Map) WriteRTX(b []byte, p *history.Packet, data []byte, seq uint16, ssrc uint32, pt uint8) (header int, payload []byte) {
	header = m.header(b, p, data, seq, ssrc, pt)
	original := p.Payload(data)
	if header == 0 || header+2+len(original) > len(b) {
		return 0, nil
	}
	payload = b[header : header+2+len(original)]
	binary.BigEndian.PutUint16(payload, uint16(p.Seq+m.SeqDelta))
	copy(payload[2:], original)
	return header, payload
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
