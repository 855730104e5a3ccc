package history

import (
	"bytes"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// keep puts a packet of content into the ring, asking for more room than used.
func keep(r *Ring, now clock.Time, seq uint64, content []byte, spare int) bool {
	p, room := r.Append(now, seq, len(content)+spare)
	if p == nil {
		return false
	}
	r.Close(p, copy(room, content))
	return true
}

// TestRingAgainstList keeps everything in a list as well and compares what the
// ring still has after each packet.
func TestRingAgainstList(t *testing.T) {
	for seed := range uint64(40) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		packets, size := 1<<(2+rnd.IntN(6)), 200+rnd.IntN(8000)
		first := uint64(rnd.IntN(500))
		ring := New(packets, size, time.Duration(1+rnd.IntN(100)), first)
		type kept struct {
			seq     uint64
			content []byte
		}
		var all []kept
		seq := uint64(1 << 17)
		for range 2000 {
			seq++
			if rnd.IntN(30) == 0 {
				seq += uint64(rnd.IntN(300)) // a gap
			}
			number := seq
			if rnd.IntN(10) == 0 {
				number -= uint64(rnd.IntN(20)) // late: may repeat a number
			}
			content := bytes.Repeat([]byte{byte(rnd.Uint32())}, rnd.IntN(190))
			now := clock.Time(len(all))
			if !keep(ring, now, number, content, rnd.IntN(10)) {
				t.Fatalf("seed %d: no room for %d of %d bytes", seed, len(content), size)
			}
			all = append(all, kept{number, content})
			if ring.Head() != first+uint64(len(all)) || ring.Tail() >= ring.Head() || ring.Head()-ring.Tail() > uint64(packets) {
				t.Fatalf("seed %d: from %d to %d of %d", seed, ring.Tail(), ring.Head(), len(all))
			}
			total := 0
			last := map[uint64]uint64{}
			for at := ring.Tail(); at < ring.Head(); at++ {
				p, data := ring.At(at)
				if want := all[at-first]; p.Seq != want.seq || !bytes.Equal(data, want.content) {
					t.Fatalf("seed %d: position %d holds %d (%d bytes), want %d (%d bytes)", seed, at, p.Seq, len(data), want.seq, len(want.content))
				}
				total += len(data)
				last[p.Seq] = at
			}
			if total > size {
				t.Fatalf("seed %d: %d bytes in %d", seed, total, size)
			}
			for probe := seq - 20; probe <= seq+2; probe++ {
				at, ok := ring.Find(probe)
				want, has := last[probe]
				// Numbers a ring's length apart share a place: the one kept last has it.
				if ok && (!has || at != want) {
					t.Fatalf("seed %d: %d found at %d, want %d (%v)", seed, probe, at, want, has)
				}
				if has && !ok && !shared(ring, probe) {
					t.Fatalf("seed %d: %d is kept but not found", seed, probe)
				}
			}
		}
	}
}

// shared reports whether another kept number has the place of seq.
func shared(r *Ring, seq uint64) bool {
	for at := r.Tail(); at < r.Head(); at++ {
		if p, _ := r.At(at); p.Seq != seq && p.Seq%uint64(len(r.bySeq)) == seq%uint64(len(r.bySeq)) {
			return true
		}
	}
	return false
}

func TestRingBounds(t *testing.T) {
	r := New(4, 100, math.MaxInt64, 0)
	if r.Head() != 0 || r.Tail() != 0 {
		t.Error("a new ring holds something")
	}
	if _, ok := r.Find(0); ok {
		t.Error("a new ring finds number 0")
	}
	if keep(r, 0, 1, make([]byte, 101), 0) || r.Head() != 0 {
		t.Error("a packet larger than the ring is kept")
	}
	if !keep(r, 0, 1, make([]byte, 100), 0) || !keep(r, 0, 2, []byte{7}, 99) || r.Tail() != 1 {
		t.Error("a packet as large as the ring does not make way")
	}
	for i := range uint64(5) {
		keep(r, 0, 10+i, nil, 0)
	}
	if r.Head()-r.Tail() != 4 {
		t.Errorf("%d packets in a ring for 4", r.Head()-r.Tail())
	}
	if _, ok := r.Find(10); ok {
		t.Error("an overwritten packet is found")
	}
}

func TestPacketParts(t *testing.T) {
	data := []byte{1, 1, 1, 1, 2, 2, 2, 2, byte(wire.ExtAudioLevel), 1, 9, byte(wire.ExtOffset), 0, 5, 6, 7}
	p := Packet{CSRC: 2, ExtLen: 5}
	if got := p.Payload(data); !bytes.Equal(got, []byte{5, 6, 7}) {
		t.Errorf("payload % x", got)
	}
	r := p.Exts(data)
	if e, v, ok := r.Next(); !ok || e != wire.ExtAudioLevel || !bytes.Equal(v, []byte{9}) {
		t.Errorf("first element %v % x %v", e, v, ok)
	}
	if e, v, ok := r.Next(); !ok || e != wire.ExtOffset || len(v) != 0 {
		t.Errorf("second element %v % x %v", e, v, ok)
	}
	if _, _, ok := r.Next(); ok {
		t.Error("a third element")
	}
}

// TestReach: at a steady rate a ring uses the bytes that it needs to reach back, and at
// a higher rate more, up to all of them; only then does it reach back less far.
func TestReach(t *testing.T) {
	const size, bytes, reach = 100, 1 << 20, 2 * time.Second
	r := New(1<<14, bytes, reach, 0)
	now, seq, touched := clock.Time(0), uint64(0), uint64(0)
	run := func(rate int) (back time.Duration) {
		back = math.MaxInt64
		for range 20 * rate {
			now = now.Add(time.Second / time.Duration(rate))
			seq++
			p, room := r.Append(now, seq, size)
			r.Close(p, len(room))
			touched = max(touched, p.pos%bytes+size)
			oldest, _ := r.At(r.Tail())
			if now > clock.Time(3*reach) {
				back = min(back, now.Sub(oldest.Arrived))
			}
		}
		return back
	}
	for _, c := range []struct{ rate, touched int }{
		{1000, 2000 * size},
		{400, 2000 * size}, // no more than before
		{100, 2000 * size}, // a lap of an eighth, which is longer
	} {
		if back := run(c.rate); back < reach-time.Second/time.Duration(c.rate) || touched > uint64(c.touched+2*size) {
			t.Errorf("%d packets/s: it reaches back %v and has touched %d bytes, want %v and %d", c.rate, back, touched, reach, c.touched)
		}
	}
	// Twice the rate: nothing that fits is lost once the longer lap is there.
	run(2000)
	if back := run(2000); back < reach-time.Millisecond || touched > 4002*size {
		t.Errorf("twice the rate: %v, %d bytes", back, touched)
	}
	if run(8000); touched < bytes-size {
		t.Errorf("more than fits: %d bytes", touched)
	}
}

func TestRingAllocatesNothing(t *testing.T) {
	r, seq, found := New(64, 1<<14, math.MaxInt64, 0), uint64(0), 0
	allocs := testing.AllocsPerRun(500, func() {
		seq++
		p, room := r.Append(0, seq, 300)
		r.Close(p, len(room))
		if _, ok := r.Find(seq - 3); ok {
			found++
		}
		r.At(r.Tail())
	})
	if allocs != 0 || found == 0 {
		t.Errorf("%v allocations, %d found", allocs, found)
	}
}
