package codec

// startVP8 looks for the first partition of a key frame: it walks over the
// payload descriptor (RFC 7741 section 4.2) to the payload header (section 4.3).
func startVP8(b []byte) bool {
	const (
		extended  = 0x80 // X
		start     = 0x10 // S: start of a partition
		partition = 0x07 // PID
	)
	if len(b) == 0 || b[0]&start == 0 || b[0]&partition != 0 {
		return false
	}
	n := 1
	if b[0]&extended != 0 {
		n = extensionVP8(b)
	}
	// P is inverted: clear means a key frame.
	return n < len(b) && b[n]&0x01 == 0
}

// extensionVP8 returns the length of a descriptor that has the X bit; it may lie
// beyond the end of b.
func extensionVP8(b []byte) int {
	const (
		pictureID = 0x80 // I
		tl0PicIdx = 0x40 // L
		tidKeyIdx = 0x30 // T or K: both share a byte
		longID    = 0x80 // M: the picture id takes two bytes
	)
	if len(b) < 3 {
		return len(b)
	}
	n := 2
	if b[1]&pictureID != 0 {
		n++
		if b[2]&longID != 0 {
			n++
		}
	}
	if b[1]&tl0PicIdx != 0 {
		n++
	}
	if b[1]&tidKeyIdx != 0 {
		n++
	}
	return n
}
