package load

import (
	"bytes"
	"encoding/binary"
)

// kind tells the two streams of a publisher apart.
type kind byte

const (
	audio kind = iota
	video
	kinds
)

// markerSize is the length of a marker: 7 bytes of magic, the kind, the packet's number from 0, the send stamp.
const markerSize = 24

// magic starts every marker. The filler around markers never contains it.
var magic = []byte{0xF5, 'l', 'o', 'a', 'd', 0x1C, 0xE5}

// marker is what each packet's payload says about itself.
type marker struct {
	kind  kind
	seq   uint64 // counts the packets of this kind, from 0
	stamp int64  // CLOCK_REALTIME in ns, taken before the packet's burst was protected
}

// put writes the marker to the first markerSize bytes of b.
func (m marker) put(b []byte) {
	copy(b, magic)
	b[7] = byte(m.kind)
	binary.BigEndian.PutUint64(b[8:], m.seq)
	binary.BigEndian.PutUint64(b[16:], uint64(m.stamp))
}

// findMarker returns the first marker in a payload and what follows it. A server may have moved it, or may have put several
// packets' payloads into one.
func findMarker(b []byte) (m marker, rest []byte, ok bool) {
	i := bytes.Index(b, magic)
	if i < 0 || len(b)-i < markerSize || kind(b[i+7]) >= kinds {
		return marker{}, nil, false
	}
	b = b[i:]
	m = marker{kind: kind(b[7]), seq: binary.BigEndian.Uint64(b[8:]), stamp: int64(binary.BigEndian.Uint64(b[16:]))}
	return m, b[markerSize:], true
}
