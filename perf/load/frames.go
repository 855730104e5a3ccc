package load

// frames counts the video frames of one viewer by how much of them arrived. Each frame has the same number of packets, so a packet's
// number says which frame it is of. A packet that comes later than one of the next frame counts as missing.
type frames struct {
	whole, broken, missing uint64 // frames with all, some and none of their packets

	started bool
	current uint64
	got     int
}

// add takes the number of a packet in the order of arrival.
func (f *frames) add(seq uint64, ppf int) {
	n := seq / uint64(ppf)
	if !f.started {
		f.started, f.current = true, n
	}
	if n > f.current {
		f.finish(ppf)
		f.missing += n - f.current - 1
		f.current, f.got = n, 0
	}
	if n == f.current {
		f.got++
	}
}

func (f *frames) finish(ppf int) {
	if f.got == ppf {
		f.whole++
	} else {
		f.broken++
	}
}

// Frames is what became of the video frames of the full viewers.
type Frames struct {
	Whole   uint64 `json:"whole"`
	Broken  uint64 `json:"broken"`  // some packets are missing
	Missing uint64 `json:"missing"` // all are
}

func (f *Frames) add(after, before frames) {
	f.Whole += after.whole - before.whole
	f.Broken += after.broken - before.broken
	f.Missing += after.missing - before.missing
}
