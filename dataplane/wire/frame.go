package wire

import "encoding/binary"

// FrameHead is the size of the length in front of each frame of a stream
// (RFC 4571 section 2, which RFC 6544 section 3 has ICE use for all that a
// connection carries).
const FrameHead = 2

// MaxFrame is the largest frame that is taken: as much as a datagram may hold.
const MaxFrame = 2048

// Frame looks at the first frame of a stream. n is its size with its head, 0
// while it is not whole. It is false for a frame that cannot be taken: then
// whatever follows has no meaning either, since only its length tells where the
// next one begins.
//
//hot:path
func Frame(stream []byte) (n int, ok bool) {
	if len(stream) < FrameHead {
		return 0, true
	}
	n = FrameHead + int(binary.BigEndian.Uint16(stream))
	switch {
	case n > FrameHead+MaxFrame:
		return 0, false
	case n > len(stream):
		return 0, true
	}
	return n, true
}

// PutFrameHead writes the head of a frame of n bytes.
//
//hot:path
func PutFrameHead(head *[FrameHead]byte, n int) { binary.BigEndian.PutUint16(head[:], uint16(n)) }
