package main

import "testing"

func TestRollovers(t *testing.T) {
	r := rollovers{last: 65530}
	for _, c := range []struct {
		seq  uint16
		want uint32
	}{{65531, 0}, {65535, 0}, {2, 1}, {1, 1}, {40000, 1}, {65535, 1}, {0, 2}} {
		if got := r.next(c.seq); got != c.want {
			t.Fatalf("after %d the counter is %d, want %d", c.seq, got, c.want)
		}
	}
}

func TestHeaderSize(t *testing.T) {
	plain := make([]byte, 40)
	plain[0] = 0x80
	csrcs := append([]byte{0x82}, plain[1:]...)
	extended := append([]byte{0x91}, plain[1:]...)
	extended[16+3] = 2 // words after the extension's own header
	for want, p := range map[int][]byte{12: plain, 20: csrcs, 28: extended} {
		if got := headerSize(p); got != want {
			t.Errorf("header of %x is %d bytes, want %d", p[:1], got, want)
		}
	}
	if got := headerSize([]byte{0x90, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}); got != 12 {
		t.Errorf("a cut header is %d bytes", got)
	}
}
