package codec

// NAL unit types (ITU-T H.264 table 7-1, RFC 6184 section 5.2).
const (
	h264IDR   = 5
	h264SPS   = 7
	h264STAPA = 24
	h264FUA   = 28
)

// startH264 looks for a sequence parameter set or the first slice of an IDR
// picture, alone, in a STAP-A or at the start of an FU-A, which is what packets
// of modes 0 and 1 hold (RFC 6184 section 6).
func startH264(b []byte) bool {
	if len(b) < 2 {
		return false
	}
	switch b[0] & 0x1f {
	case h264STAPA:
		units := nalUnits(b[1:])
		for unit, ok := units.next(); ok; unit, ok = units.next() {
			if len(unit) >= 2 && startsH264(unit[0], unit[1]) {
				return true
			}
		}
		return false
	case h264FUA:
		const start = 0x80 // S: the first fragment (section 5.8)
		return len(b) >= 3 && b[1]&start != 0 && startsH264(b[1], b[2])
	}
	return startsH264(b[0], b[1])
}

// startsH264 judges a NAL unit by the byte that holds its type and the first of
// its content. A slice begins with first_mb_in_slice, in which a set first bit
// says 0: later slices of a picture are no place to start.
func startsH264(header, content byte) bool {
	switch header & 0x1f {
	case h264SPS:
		return true
	case h264IDR:
		return content&0x80 != 0
	}
	return false
}

// H264Profile returns the profile-level-id (RFC 6184 section 8.1: profile_idc,
// constraint flags, level_idc, in 24 bits) of the first sequence parameter set
// in an RTP payload, alone or in a STAP-A.
func H264Profile(payload []byte) (profileLevelID uint32, ok bool) {
	if len(payload) == 0 || payload[0]&0x1f != h264STAPA {
		return profileH264(payload)
	}
	units := nalUnits(payload[1:])
	for unit, more := units.next(); more; unit, more = units.next() {
		if profileLevelID, ok = profileH264(unit); ok {
			return profileLevelID, true
		}
	}
	return 0, false
}

func profileH264(unit []byte) (profileLevelID uint32, ok bool) {
	if len(unit) < 4 || unit[0]&0x1f != h264SPS {
		return 0, false
	}
	return uint32(unit[1])<<16 | uint32(unit[2])<<8 | uint32(unit[3]), true
}
