package wire

import "encoding/binary"

// RTP is a checked view of an RTP header (RFC 3550 section 5.1). Offsets refer
// to the packet it was parsed from.
type RTP struct {
	Marker  bool
	Padding bool // the last payload byte says how many bytes are padding
	PT      uint8
	Seq     uint16
	TS      uint32
	SSRC    uint32
	CSRC    uint8 // number of contributing sources, 4 bytes each from offset 12

	ExtProfile uint16 // valid iff HasExt
	HasExt     bool
	extOff     int // of the first element
	extEnd     int
	HeaderLen  int // the payload starts here
}

const rtpFixedHeader = 12

// ParseRTP reads a header and checks every length in it against the packet.
// It does not look at the payload, which may still be encrypted.
//
//hot:path
func ParseRTP(b []byte, h *RTP) bool {
	if len(b) < rtpFixedHeader || b[0]>>6 != 2 {
		return false
	}
	h.Padding = b[0]&0x20 != 0
	h.HasExt = b[0]&0x10 != 0
	h.CSRC = b[0] & 0x0f
	h.Marker = b[1]&0x80 != 0
	h.PT = b[1] & 0x7f
	h.Seq = binary.BigEndian.Uint16(b[2:])
	h.TS = binary.BigEndian.Uint32(b[4:])
	h.SSRC = binary.BigEndian.Uint32(b[8:])
	h.HeaderLen = rtpFixedHeader + 4*int(h.CSRC)
	h.extOff, h.extEnd = h.HeaderLen, h.HeaderLen
	if h.HasExt {
		if len(b) < h.HeaderLen+4 {
			return false
		}
		h.ExtProfile = binary.BigEndian.Uint16(b[h.HeaderLen:])
		words := int(binary.BigEndian.Uint16(b[h.HeaderLen+2:]))
		h.extOff = h.HeaderLen + 4
		h.extEnd = h.extOff + 4*words
		h.HeaderLen = h.extEnd
	}
	return h.HeaderLen <= len(b)
}

// PayloadLen returns the length of the payload without padding in a decrypted
// packet, and false when the padding count lies (RFC 3550 section 5.1).
//
//hot:path
func (h *RTP) PayloadLen(b []byte) (int, bool) {
	n := len(b) - h.HeaderLen
	if !h.Padding {
		return n, true
	}
	if n == 0 {
		return 0, false
	}
	pad := int(b[len(b)-1])
	return n - pad, pad > 0 && pad <= n
}

// Header extension profiles (RFC 8285 sections 4.2 and 4.3).
const (
	ExtProfileOneByte = 0xBEDE
	ExtProfileTwoByte = 0x1000 // the lower four bits are "appbits"
)

// ExtReader walks the elements of a header extension.
type ExtReader struct {
	b       []byte
	twoByte bool
}

// Exts returns a reader over the packet's extension elements; empty when there
// is none or it is not of RFC 8285's forms.
//
//hot:path
func (h *RTP) Exts(b []byte) ExtReader {
	if !h.HasExt {
		return ExtReader{}
	}
	switch {
	case h.ExtProfile == ExtProfileOneByte:
		return ExtReader{b: b[h.extOff:h.extEnd]}
	case h.ExtProfile&0xfff0 == ExtProfileTwoByte:
		return ExtReader{b: b[h.extOff:h.extEnd], twoByte: true}
	}
	return ExtReader{}
}

// Next returns the next element; ok is false at the end, or where an element
// claims more bytes than there are. In the one-byte form id 15, and id 0 with a
// length, end the walk (RFC 8285 section 4.2).
//
//hot:path
func (r *ExtReader) Next() (id uint8, data []byte, ok bool) {
	for len(r.b) > 0 && r.b[0] == 0 { // padding
		r.b = r.b[1:]
	}
	if len(r.b) == 0 {
		return 0, nil, false
	}
	var start, n int
	if r.twoByte {
		if len(r.b) < 2 {
			return 0, nil, false
		}
		id, n, start = r.b[0], int(r.b[1]), 2
	} else {
		id, n, start = r.b[0]>>4, int(r.b[0]&0x0f)+1, 1
	}
	if start+n > len(r.b) || !r.twoByte && (id == 15 || id == 0) {
		r.b = nil
		return 0, nil, false
	}
	data = r.b[start : start+n]
	r.b = r.b[start+n:]
	return id, data, true
}
