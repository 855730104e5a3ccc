// Package codec reads what a forwarder must know of a payload, which is little:
// whether a decoder can start here. Payloads are never changed.
package codec

// Codec is a media format that Sluice forwards.
type Codec uint8

// The codecs.
const (
	Unknown Codec = iota
	Opus
	PCMU
	PCMA
	G722
	VP8
	VP9
	H264
	H265
	AV1
)

var names = [...]string{
	Unknown: "unknown",
	Opus:    "opus",
	PCMU:    "PCMU",
	PCMA:    "PCMA",
	G722:    "G722",
	VP8:     "VP8",
	VP9:     "VP9",
	H264:    "H264",
	H265:    "H265",
	AV1:     "AV1",
}

// String returns the encoding name as SDP has it (RFC 8866 section 6.6).
func (c Codec) String() string {
	if int(c) < len(names) {
		return names[c]
	}
	return names[Unknown]
}

// KeyframeStart reports whether an RTP payload begins a point where a decoder
// can start: always for audio, never for an unknown codec or a payload without
// media. Several packets of one keyframe may say so, the parameter sets and the
// picture for one; a decoder wants the first of its RTP timestamp.
//
//hot:path
func KeyframeStart(c Codec, payload []byte) bool {
	switch c {
	case Opus, PCMU, PCMA, G722:
		return true
	case VP8:
		return startVP8(payload)
	case VP9:
		return startVP9(payload)
	case H264:
		return startH264(payload)
	case H265:
		return startH265(payload)
	case AV1:
		return startAV1(payload)
	}
	return false
}

// nalUnits walks over the NAL units of an aggregation packet, each after its
// length in two bytes (RFC 6184 section 5.7.1, RFC 7798 section 4.4.2).
type nalUnits []byte

// next takes the first unit off; false at the end and at a length that is too
// great.
func (n *nalUnits) next() (unit []byte, ok bool) {
	b := *n
	if len(b) < 2 {
		return nil, false
	}
	size := int(b[0])<<8 | int(b[1])
	if size > len(b)-2 {
		return nil, false
	}
	*n = b[2+size:]
	return b[2 : 2+size], true
}
