package load

import "testing"

func TestTracker(t *testing.T) {
	far := uint64(10 * windowBits)
	for _, c := range []struct {
		name                                string
		arrivals                            []uint64
		unique, lost, duplicates, reordered uint64
	}{
		{"in order from any number", []uint64{7, 8, 9}, 3, 0, 0, 0},
		{"gap", []uint64{7, 8, 11}, 3, 2, 0, 0},
		{"gap filled late", []uint64{7, 9, 8, 10}, 4, 0, 0, 1},
		{"duplicate of the newest", []uint64{7, 8, 8}, 2, 0, 1, 0},
		{"duplicate of an older one", []uint64{7, 8, 9, 7}, 3, 0, 1, 0},
		{"late one twice", []uint64{7, 9, 8, 8}, 3, 0, 1, 1},
		{"before the first one", []uint64{7, 5}, 1, 0, 1, 0},
		{"jump over the whole window", []uint64{7, far}, 2, far - 8, 0, 0},
		{"same slot of the window is another number", []uint64{0, windowBits, 2 * windowBits}, 3, 2*windowBits - 2, 0, 0},
		{"too late to tell", []uint64{0, far, 1}, 2, far - 1, 1, 0},
		{"slots are cleared on the way", []uint64{0, 1, windowBits + 2, windowBits + 1, windowBits}, 5, windowBits - 2, 0, 2},
	} {
		var tr tracker
		for _, seq := range c.arrivals {
			tr.add(seq)
		}
		if tr.unique != c.unique || tr.lost() != c.lost || tr.duplicates != c.duplicates || tr.reordered != c.reordered {
			t.Errorf("%s: unique %d lost %d duplicates %d reordered %d, want %d %d %d %d", c.name,
				tr.unique, tr.lost(), tr.duplicates, tr.reordered, c.unique, c.lost, c.duplicates, c.reordered)
		}
	}
}

func TestFullViewersAreSpread(t *testing.T) {
	for _, c := range []struct{ full, all int }{{0, 10}, {1, 10}, {3, 10}, {10, 100}, {7, 200}, {10, 10}, {50, 10}} {
		n, last, widest := 0, -1, 0
		for i := range c.all {
			if IsFull(i, c.full, c.all) {
				n, widest, last = n+1, max(widest, i-last), i
			}
		}
		if n != min(c.full, c.all) {
			t.Errorf("%d of %d: %d are full", c.full, c.all, n)
		}
		if c.full > 0 && widest > (c.all+c.full-1)/c.full {
			t.Errorf("%d of %d: %d between two", c.full, c.all, widest)
		}
	}
}
