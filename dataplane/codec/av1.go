package codec

// startAV1 looks for the first packet of a coded video sequence, by the
// aggregation header (AV1 RTP specification 1.0, section 4.4) or, where a sender
// leaves the N bit clear, by a sequence header as the first OBU.
func startAV1(b []byte) bool {
	const (
		continued   = 0x80 // Z: begins with the rest of an OBU
		elements    = 0x30 // W: number of OBU elements, 0 for each with a length
		newSequence = 0x08 // N
		oneElement  = 0x10 // W = 1
	)
	if len(b) < 2 || b[0]&continued != 0 {
		return false
	}
	if b[0]&newSequence != 0 {
		return true
	}
	n := 1
	if b[0]&elements != oneElement { // the last of W has no length
		for n < len(b) && b[n]&0x80 != 0 {
			n++ // leb128: the last byte has the top bit clear
		}
		n++
	}
	return n < len(b) && b[n]>>3&0x0f == obuSequenceHeader
}

// obuSequenceHeader is an OBU type (AV1 bitstream specification section 6.2.2).
const obuSequenceHeader = 1
