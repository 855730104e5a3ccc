package codec

// startVP9 looks for the beginning of a frame of the lowest spatial layer that
// is predicted from no other picture (RFC 9628 section 4.2).
func startVP9(b []byte) bool {
	const (
		pictureID = 0x80 // I
		predicted = 0x40 // P: inter-picture predicted
		layers    = 0x20 // L
		begin     = 0x08 // B: start of a frame
		longID    = 0x80 // M: the picture id takes two bytes
		spatial   = 0x0e // SID
	)
	if len(b) < 2 || b[0]&begin == 0 || b[0]&predicted != 0 {
		return false
	}
	if b[0]&layers == 0 {
		return true
	}
	n := 1
	if b[0]&pictureID != 0 {
		n++
		if b[1]&longID != 0 {
			n++
		}
	}
	return n < len(b) && b[n]&spatial == 0
}
