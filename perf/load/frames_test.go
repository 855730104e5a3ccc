package load

import "testing"

func TestFrames(t *testing.T) {
	var f frames
	// Frame 0 is whole but for its start, 1 whole, 2 lacks one, 3 and 4 are missing, 5 is still open; a late packet changes nothing.
	for _, seq := range []uint64{1, 2, 3, 4, 5, 6, 8, 15, 7} {
		f.add(seq, 3)
	}
	if f.whole != 1 || f.broken != 2 || f.missing != 2 {
		t.Fatalf("frames are %+v", f)
	}
}
