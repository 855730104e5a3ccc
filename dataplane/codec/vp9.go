package codec

// Bits of the VP9 payload descriptor (RFC 9628 section 4.2).
const (
	vp9PictureID = 0x80 // I
	vp9Predicted = 0x40 // P: inter-picture predicted
	vp9Layers    = 0x20 // L
	vp9Flexible  = 0x10 // F
	vp9Begin     = 0x08 // B: start of a frame
	vp9Structure = 0x02 // V: a scalability structure follows
	vp9LongID    = 0x80 // M: the picture id takes two bytes
	vp9Spatial   = 0x0e // SID
)

// startVP9 looks for the beginning of a key frame of the lowest spatial layer.
// The P bit alone does not tell: FFmpeg's packetizer never sets it, and frames
// that are coded without prediction need not be key frames. So the descriptor
// is walked over, and the frame's own header has the last word.
func startVP9(b []byte) bool {
	if len(b) < 2 || b[0]&vp9Begin == 0 || b[0]&vp9Predicted != 0 {
		return false
	}
	n := 1
	if b[0]&vp9PictureID != 0 {
		if b[1]&vp9LongID != 0 {
			n++
		}
		n++
	}
	if b[0]&vp9Layers != 0 {
		if n >= len(b) || b[n]&vp9Spatial != 0 {
			return false
		}
		if b[0]&vp9Flexible == 0 {
			n++ // TL0PICIDX
		}
		n++
	}
	if b[0]&vp9Structure != 0 {
		n += structureVP9(b[min(n, len(b)):])
	}
	return n < len(b) && keyVP9(b[n])
}

// structureVP9 returns the length of the scalability structure at the start of
// b (section 4.2.1); it may lie beyond the end.
func structureVP9(b []byte) int {
	const (
		sizes    = 0x10 // Y: each layer's resolution follows
		pictures = 0x08 // G: a picture group follows
	)
	if len(b) == 0 {
		return 1
	}
	n := 1
	if b[0]&sizes != 0 {
		n += 4 * (int(b[0]>>5) + 1) // N_S
	}
	if b[0]&pictures == 0 || n >= len(b) {
		return n
	}
	group := int(b[n]) // N_G
	n++
	for ; group > 0 && n < len(b); group-- {
		n += 1 + int(b[n]>>2&0x03) // R: how many references follow
	}
	return n
}

// keyVP9 reads the first byte of a frame's header (VP9 bitstream specification
// section 6.2): frame marker, profile, show_existing_frame, frame_type.
func keyVP9(b byte) bool {
	const profile3 = 0x30
	if b&profile3 == profile3 {
		b = b&0xf0 | b<<1&0x0e // a reserved bit follows this profile
	}
	return b>>6 == 2 && b&0x0c == 0
}
