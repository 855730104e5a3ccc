package feedback

// cycle is the size of the 16-bit sequence number space.
const cycle = 1 << 16

// Extend returns the extended sequence number for seq: the one nearest to the
// highest seen, 0 for none yet. The first lies in the second cycle, so that
// packets older than the first one have a number too. Extended sequence
// numbers are therefore never 0.
//
//hot:path
func Extend(highest uint64, seq uint16) uint64 {
	if highest == 0 {
		return cycle + uint64(seq)
	}
	return highest + uint64(int64(int16(seq-uint16(highest))))
}
