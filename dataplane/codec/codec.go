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
