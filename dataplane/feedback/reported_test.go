package feedback

import (
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// The example of RFC 3550 section 6.4.1, figure 2, and what is not to be believed.
func TestReportedRoundTrip(t *testing.T) {
	const wall, lsr, dlsr = clock.NTP(0xb710_8000_0000), 0xb705_2000, 0x0005_4000 // seconds 0xb710, fraction 0x8000
	for _, c := range []struct {
		what      string
		lsr, dlsr uint32
		want      time.Duration
	}{
		{"the RFC's", lsr, dlsr, 6125 * time.Millisecond},
		{"no sender report", 0, dlsr, 0},
		{"of the future", 0xb711_0000, 0, 0},
		{"held for longer than it is old", lsr, 0x000b_6002, 0},
		{"rounded below zero", lsr, 0x000b_6001, time.Second >> 16},
		{"at once", lsr, 0x000b_6000, time.Second >> 16},
		{"of an hour ago", 0xb710_8000 - 3600<<16, 0, 0},
		{"of half a cycle ago", 0xb710_8000 ^ 1<<31, 0, 0},
		{"held for ever", lsr, 1<<32 - 1, 0},
	} {
		var r Reported
		r.Block(&wire.ReportBlock{LSR: c.lsr, DLSR: c.dlsr}, 5, wall)
		if r.RTT != c.want || !r.Some() || r.At != 5 {
			t.Errorf("%s: %v, want %v", c.what, r.RTT, c.want)
		}
	}
}

// What a report does not say stays as the last one had it, the rest does not.
func TestReportedLast(t *testing.T) {
	var r Reported
	if r.Some() {
		t.Error("a report of nobody")
	}
	r.Block(&wire.ReportBlock{Fraction: 64, Lost: 9, Jitter: 90, LSR: 1<<16 | 1, DLSR: 0}, 1, 2<<32)
	rtt := r.RTT
	r.Block(&wire.ReportBlock{Lost: -3, Jitter: 45}, 2, 3<<32)
	if r.Fraction != 0 || r.Lost != -3 || r.Jitter != 45 || r.RTT != rtt || rtt == 0 || r.At != 2 {
		t.Errorf("%+v", r)
	}
}

func TestDelay(t *testing.T) {
	for _, c := range []struct {
		units, rate uint32
		want        time.Duration
	}{{90, 90000, time.Millisecond}, {1<<32 - 1, 8000, 536870911875 * time.Microsecond}, {5, 0, 0}} {
		if got := Delay(c.units, c.rate); got != c.want {
			t.Errorf("%d at %d Hz: %v, want %v", c.units, c.rate, got, c.want)
		}
	}
}
