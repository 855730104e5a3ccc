package history

// Shape bounds the trains that Level makes: packets of one size, of which only
// the last may be shorter.
type Shape struct {
	Packets int // of one train at most
	Pad     int // bytes that one packet may grow by
	Size    int // of a packet with padding at most, counted as size does
	// ShortTail makes the last packet of a train shorter than the others.
	ShortTail bool
}

// Level gives the packets in [from, to) padding, so that they line up as few
// trains. Encoders cut a frame into parts that differ by a byte; and one that
// carries a header extension more is longer by that. It is called once for each
// packet, before the packet is sent to anyone: what it decides is part of the
// packet, and comes out again in every retransmission.
//
//hot:path
func (r *Ring) Level(from, to uint64, s Shape) {
	for from < to {
		from = r.levelTrain(from, to, s)
	}
}

// levelTrain levels the train that begins at from, and returns where it ends.
//
//hot:path
func (r *Ring) levelTrain(from, to uint64, s Shape) uint64 {
	low := r.size(from)
	high, next := low, from+1
	for end := min(to, from+uint64(s.Packets)); next < end; next++ {
		size := r.size(next)
		if size > high && (size > s.Size || size-low > s.Pad) {
			break
		}
		if size < high && (high > s.Size || high-size > s.Pad) {
			next++ // the short last one
			break
		}
		low, high = min(size, low), max(size, high)
	}
	last := next - 1
	if s.ShortTail && last > from && r.size(last) == high && high < s.Size {
		high++
	}
	if low < high {
		r.fill(from, last, high)
	}
	return next
}

// fill brings the packets in [from, to) to a size.
//
//hot:path
func (r *Ring) fill(from, to uint64, size int) {
	for ; from < to; from++ {
		if r.size(from) < size {
			r.packets[from%uint64(len(r.packets))].Fill = uint16(size)
		}
	}
}

// size is what a packet needs beside the fixed header and what a viewer adds,
// with all of its header extension elements (whole words after a word of head,
// RFC 8285 section 4).
//
//hot:path
func (r *Ring) size(position uint64) int {
	p := &r.packets[position%uint64(len(r.packets))]
	size := int(p.Len) - int(p.ExtLen)
	if p.ExtLen > 0 {
		size += 4 + (int(p.ExtLen)+3)&^3
	}
	return size
}
