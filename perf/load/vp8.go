package load

import "encoding/binary"

const (
	descriptorSize = 4  // X, I and a 15-bit picture id (RFC 7741 section 4.2)
	keyHeaderSize  = 10 // frame tag, start code, width and height (RFC 6386 section 9.1)
	frameWidth     = 1280
	frameHeight    = 720
	filler         = 0xA5
)

// vp8Payload fills one RTP payload of a frame with a VP8 payload descriptor, in the frame's first packet a frame header, the
// marker and filler. To anything that does not decode it is VP8. It needs at least descriptorSize+keyHeaderSize+markerSize bytes.
func vp8Payload(b []byte, picture uint16, first, key bool, m marker) {
	b[0] = 0x80
	if first {
		b[0] |= 0x10
	}
	b[1] = 0x80
	binary.BigEndian.PutUint16(b[2:], picture|0x8000)
	rest := b[descriptorSize:]
	if first {
		frameHeader(rest[:keyHeaderSize], key)
		rest = rest[keyHeaderSize:]
	}
	m.put(rest)
	for i := markerSize; i < len(rest); i++ {
		rest[i] = filler
	}
}

// frameHeader writes the uncompressed chunk of a shown frame with a first partition of 1000 bytes. An interframe's chunk has only
// the tag, the rest of the ten bytes is filler there.
func frameHeader(b []byte, key bool) {
	for i := range b {
		b[i] = filler
	}
	const show, partition = 1 << 4, 1000 << 5
	tag := uint32(show | partition)
	if !key {
		tag |= 1
	}
	b[0], b[1], b[2] = byte(tag), byte(tag>>8), byte(tag>>16)
	if key {
		copy(b[3:], []byte{0x9d, 0x01, 0x2a})
		binary.LittleEndian.PutUint16(b[6:], frameWidth)
		binary.LittleEndian.PutUint16(b[8:], frameHeight)
	}
}

// startsKeyframe reads a VP8 payload: the S bit of partition 0 and the P bit of the frame tag, behind whatever descriptor the
// server wrote.
func startsKeyframe(b []byte) bool {
	n := 1
	if len(b) < 1 || b[0]&0x17 != 0x10 {
		return false
	}
	if b[0]&0x80 != 0 {
		if len(b) < 3 {
			return false
		}
		n = extendedSize(b)
	}
	return len(b) > n && b[n]&1 == 0
}

// extendedSize is the length of a descriptor with the X bit set; b has at least 3 bytes.
func extendedSize(b []byte) int {
	flags, n := b[1], 2
	if flags&0x80 != 0 {
		n += 1 + int(b[2]>>7)
	}
	if flags&0x40 != 0 {
		n++
	}
	if flags&0x30 != 0 {
		n++
	}
	return n
}
