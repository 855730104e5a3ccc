package feedback

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// receive feeds packets by sequence number, one each 20 ms of media and wall
// clock at 90 kHz.
func receive(r *Reception, exts ...uint64) {
	for _, ext := range exts {
		r.Received(ext, uint32(ext)*1800, 90000, after(20*float64(ext)))
	}
}

func report(t *testing.T, r *Reception, now clock.Time) wire.ReportBlock {
	t.Helper()
	b, ok := r.Report(1, now)
	if !ok {
		t.Fatal("no report")
	}
	return b
}

func TestReceptionBeforeTheFirstPacket(t *testing.T) {
	var r Reception
	r.SenderReport(1<<40, start)
	if b, ok := r.Report(1, start); ok {
		t.Errorf("reported %+v", b)
	}
}

func TestReceptionLoss(t *testing.T) {
	const first = cycle + 65530
	var r Reception
	receive(&r, first, first+1, first+2, first+3)
	if b := report(t, &r, start); b != (wire.ReportBlock{SSRC: 1, Highest: 65533}) {
		t.Errorf("without loss: %+v", b)
	}

	// Eight more, two of them lost, across the wrap of the sequence number.
	receive(&r, first+4, first+6, first+7, first+9, first+10, first+11)
	b := report(t, &r, start)
	if b.Fraction != 2*256/8 || b.Lost != 2 || b.Highest != 0x10005 {
		t.Errorf("2 of 8 lost: %+v", b)
	}

	// Both come as retransmissions, next to two new packets.
	r.Repaired(first + 5)
	r.Repaired(first + 8)
	receive(&r, first+12, first+13)
	if b := report(t, &r, start); b.Fraction != 0 || b.Lost != 0 || b.Highest != 0x10007 {
		t.Errorf("after repair: %+v", b)
	}
	if r.Highest() != first+13 {
		t.Errorf("highest %#x, want %#x", r.Highest(), uint64(first+13))
	}

	// An interval without a packet is no loss that anyone knows of.
	if b := report(t, &r, start); b.Fraction != 0 {
		t.Errorf("idle: %+v", b)
	}
}

func TestReceptionReorderedStart(t *testing.T) {
	var r Reception
	receive(&r, cycle+1, cycle, cycle+2)
	if b := report(t, &r, start); b.Lost != 0 || b.Fraction != 0 || b.Highest != 2 {
		t.Errorf("%+v, want nothing lost", b)
	}
}

func TestReceptionLostIsClamped(t *testing.T) {
	var r Reception
	receive(&r, cycle, cycle+1<<24)
	if b := report(t, &r, start); b.Lost != 1<<23-1 || b.Fraction != 255 {
		t.Errorf("%+v, want lost %d and fraction 255", b, 1<<23-1)
	}
}

func TestReceptionLastSenderReport(t *testing.T) {
	for _, v := range []struct {
		ntp   clock.NTP
		delay time.Duration
		lsr   uint32
		dlsr  uint32
	}{
		// The example of RFC 3550 section 6.4.1, figure 2: 5.25 s.
		{0xb44db705_20000000, 5250 * time.Millisecond, 0xb7052000, 0x00054000},
		{0x00010001_00000000, 0, 0x00010000, 0},
		{0x00010001_00000000, 24 * time.Hour, 0x00010000, math.MaxUint32},
		{0x00010001_00000000, -time.Second, 0x00010000, 0},
	} {
		var r Reception
		receive(&r, cycle)
		r.SenderReport(v.ntp, start)
		b := report(t, &r, start.Add(v.delay))
		if b.LSR != v.lsr || b.DLSR != v.dlsr {
			t.Errorf("%#x after %v: LSR %#x DLSR %#x, want %#x and %#x", v.ntp, v.delay, b.LSR, b.DLSR, v.lsr, v.dlsr)
		}
	}
}

func TestReceptionJitterOfRepairs(t *testing.T) {
	var r Reception
	r.Repaired(cycle + 3)
	receive(&r, cycle+4, cycle+5, cycle+6)
	if b := report(t, &r, start); b.Jitter != 0 {
		t.Errorf("jitter %d from an even stream, want 0", b.Jitter)
	}
}

// slowReception computes the same from the whole list of packets, the jitter in
// floating point as RFC 3550 section 6.4.1 writes it.
type slowReception struct {
	seen    map[uint64]bool
	jitter  float64
	transit float64
	rate    float64
}

func (s *slowReception) received(ext uint64, rtp uint64, arrived clock.Time) {
	transit := time.Duration(arrived).Seconds()*s.rate - float64(rtp)
	if len(s.seen) > 0 {
		s.jitter += (math.Abs(transit-s.transit) - s.jitter) / 16
	}
	s.transit = transit
	s.seen[ext] = true
}

// lost counts the missing ones between the lowest and the highest seen.
func (s *slowReception) lost() (lost int32, highest uint64) {
	lowest := uint64(math.MaxUint64)
	for ext := range s.seen {
		lowest, highest = min(lowest, ext), max(highest, ext)
	}
	for ext := lowest; ext <= highest; ext++ {
		if !s.seen[ext] {
			lost++
		}
	}
	return lost, highest
}

func TestReceptionAgainstSlowTwin(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		rate := []uint32{8000, 48000, 90000}[seed%3]
		var r Reception
		slow := slowReception{seen: map[uint64]bool{}, rate: float64(rate)}
		first := cycle + rnd.Uint64N(cycle)
		var highest uint64
		var lostBefore int32
		var expectedBefore uint64
		lowest := uint64(math.MaxUint64)
		for i := range 3000 {
			if rnd.IntN(10) == 0 {
				continue
			}
			ext := first + uint64(i)
			if rnd.IntN(10) == 0 && i > 10 {
				ext -= rnd.Uint64N(10)
			}
			if slow.seen[ext] {
				continue
			}
			rtp := uint64(math.MaxUint32) - 1000000 + ext*uint64(rate)/50 // wraps within the run
			arrived := after(20*float64(i) + 10*rnd.Float64())
			if got := Extend(highest, uint16(ext)); highest != 0 && got != ext {
				t.Fatalf("Extend(%#x, %#x) = %#x", highest, uint16(ext), got)
			}
			highest, lowest = max(highest, ext), min(lowest, ext)
			r.Received(ext, uint32(rtp), rate, arrived)
			slow.received(ext, rtp, arrived)

			if i%100 != 99 {
				continue
			}
			b := report(t, &r, arrived)
			lost, high := slow.lost()
			expected := high - lowest + 1
			wantFraction := max(0, float64(lost-lostBefore)*256/float64(expected-expectedBefore))
			lostBefore, expectedBefore = lost, expected
			if b.Lost != lost || b.Highest != uint32(high-cycle) || float64(b.Fraction) != math.Floor(wantFraction) {
				t.Fatalf("seed %d, packet %d: %+v, want lost %d, highest %#x, fraction %v", seed, i, b, lost, high-cycle, wantFraction)
			}
			// Integer steps round each time; they stay within a unit or two.
			if math.Abs(float64(b.Jitter)-slow.jitter) > 2 {
				t.Fatalf("seed %d, packet %d: jitter %d, want %.1f", seed, i, b.Jitter, slow.jitter)
			}
		}
	}
}
