package wire

// Proto is what a datagram speaks.
type Proto uint8

// The protocols that share the media port.
const (
	ProtoUnknown Proto = iota
	ProtoSTUN
	ProtoDTLS
	ProtoRTP
	ProtoRTCP
)

// Classify tells protocols apart by their first byte (RFC 7983 section 7), and
// RTCP from RTP by the second (RFC 5761 section 4). ZRTP and TURN ChannelData
// count as unknown: nothing here speaks them.
//
//hot:path
func Classify(b []byte) Proto {
	if len(b) == 0 {
		return ProtoUnknown
	}
	switch first := b[0]; {
	case first < 4:
		return ProtoSTUN
	case first >= 20 && first < 64:
		return ProtoDTLS
	case first < 128 || first >= 192:
		return ProtoUnknown
	}
	if len(b) > 1 && b[1] >= 192 && b[1] < 224 {
		return ProtoRTCP
	}
	return ProtoRTP
}
