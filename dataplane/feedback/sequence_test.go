package feedback

import (
	"math/rand/v2"
	"testing"
)

func TestExtend(t *testing.T) {
	for _, v := range []struct {
		name    string
		highest uint64
		seq     uint16
		want    uint64
	}{
		{"first", 0, 0, 0x10000},
		{"first, end of the cycle", 0, 65535, 0x1ffff},
		{"next", 0x10005, 6, 0x10006},
		{"same", 0x10005, 5, 0x10005},
		{"late", 0x10005, 2, 0x10002},
		{"before the first at 0", 0x10000, 65535, 0x0ffff},
		{"wrap", 0x1fffe, 1, 0x20001},
		{"late across the wrap", 0x20001, 65535, 0x1ffff},
		{"farthest ahead", 0x10000, 32767, 0x17fff},
		{"farthest behind", 0x20000, 32768, 0x18000},
		{"far on", 1<<40 | 0xffff, 0, 1<<40 + 1<<16},
	} {
		if got := Extend(v.highest, v.seq); got != v.want {
			t.Errorf("%s: Extend(%#x, %d) = %#x, want %#x", v.name, v.highest, v.seq, got, v.want)
		}
	}
}

// TestExtendNearest holds that the result has the sequence number and that no
// number with it is nearer.
func TestExtendNearest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 10000 {
		highest, seq := cycle+r.Uint64N(1<<40), uint16(r.Uint32())
		got := Extend(highest, seq)
		if uint16(got) != seq || got+cycle/2 < highest || highest+cycle/2 < got {
			t.Fatalf("Extend(%#x, %d) = %#x", highest, seq, got)
		}
	}
}
