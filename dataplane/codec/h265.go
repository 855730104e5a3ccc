package codec

// NAL unit types (ITU-T H.265 table 7-1, RFC 7798 section 4.4).
const (
	h265FirstIRAP = 16 // BLA_W_LP
	h265LastIRAP  = 21 // CRA_NUT
	h265VPS       = 32
	h265SPS       = 33
	h265AP        = 48
	h265FU        = 49
)

// startH265 looks for a video or sequence parameter set or the first slice of an
// intra random access point, alone, in an aggregation packet or at the start of
// a fragmentation unit (RFC 7798 section 4.4), none with the decoding order
// numbers that only sprop-max-don-diff brings.
func startH265(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	switch kindH265(b[0]) {
	case h265AP:
		units := nalUnits(b[2:])
		for unit, ok := units.next(); ok; unit, ok = units.next() {
			if len(unit) >= 3 && startsH265(kindH265(unit[0]), unit[2]) {
				return true
			}
		}
		return false
	case h265FU:
		const start = 0x80 // S: the first fragment (section 4.4.3)
		return len(b) >= 4 && b[2]&start != 0 && startsH265(b[2]&0x3f, b[3])
	}
	return startsH265(kindH265(b[0]), b[2])
}

// kindH265 returns the type in the first byte of a NAL unit header.
func kindH265(header byte) byte { return header >> 1 & 0x3f }

// startsH265 judges a NAL unit by its type and the first byte of its content. A
// slice begins with first_slice_segment_in_pic_flag: later ones are no place to
// start.
func startsH265(kind, content byte) bool {
	switch {
	case kind == h265VPS, kind == h265SPS:
		return true
	case kind >= h265FirstIRAP && kind <= h265LastIRAP:
		return content&0x80 != 0
	}
	return false
}
