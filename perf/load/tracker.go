package load

// windowBits is how far back a packet may arrive late and still be told from a duplicate.
const windowBits = 4096

// tracker follows the markers of one stream at one viewer.
type tracker struct {
	started    bool
	first      uint64 // number of the first packet seen
	next       uint64 // one above the highest number seen
	unique     uint64
	duplicates uint64
	reordered  uint64 // arrived after a higher number
	seen       [windowBits / 64]uint64
}

// add takes the number of a packet in the order of arrival.
func (t *tracker) add(seq uint64) {
	if !t.started {
		t.started, t.first, t.next = true, seq, seq
	}
	switch {
	case seq >= t.next:
		t.advance(seq)
	case seq < t.first || t.next-seq > windowBits || t.has(seq):
		t.duplicates++
		return
	default:
		t.reordered++
	}
	t.mark(seq)
	t.unique++
}

// lost is how many numbers between the first and the highest one never came.
func (t *tracker) lost() uint64 { return t.next - t.first - t.unique }

// advance moves the window up to seq, and forgets what leaves it.
func (t *tracker) advance(seq uint64) {
	if seq-t.next >= windowBits {
		clear(t.seen[:])
	} else {
		for n := t.next; n <= seq; n++ {
			t.seen[n%windowBits/64] &^= 1 << (n % 64)
		}
	}
	t.next = seq + 1
}

func (t *tracker) mark(seq uint64)     { t.seen[seq%windowBits/64] |= 1 << (seq % 64) }
func (t *tracker) has(seq uint64) bool { return t.seen[seq%windowBits/64]&(1<<(seq%64)) != 0 }
