package feedback

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// Reported is what the receiver of a stream that we send said of it last, and what
// follows from that: its word, which nothing else here goes by. The zero value is
// that of one that has said nothing.
type Reported struct {
	At       clock.Time // when
	Fraction uint8      // lost since the report before, in 1/256
	Lost     int32      // lost in all; below zero when duplicates came
	Jitter   uint32     // in units of the RTP clock
	RTT      time.Duration
	some     bool
}

// maxRTT bounds what is believed: beyond, somebody's arithmetic is wrong.
const maxRTT = time.Minute

// Block takes a report block that arrived at an instant, which is wall by the clock
// that our sender reports tell. The round-trip time is as in RFC 3550 section 6.4.1,
// at least one unit of 1/65536 s; where the block names no sender report, or one
// that cannot have been, the last one stays.
//
//hot:path
func (r *Reported) Block(b *wire.ReportBlock, arrived clock.Time, wall clock.NTP) {
	r.some, r.At = true, arrived
	r.Fraction, r.Lost, r.Jitter = b.Fraction, b.Lost, b.Jitter
	if b.LSR == 0 {
		return
	}
	units := int64(int32(wall.Mid()-b.LSR)) - int64(b.DLSR)
	rtt := time.Duration(max(units, 1)) * time.Second >> 16
	if units >= -1 && rtt <= maxRTT { // two clocks' rounding
		r.RTT = rtt
	}
}

// Some reports whether there was a report.
func (r *Reported) Some() bool { return r.some }

// Delay converts a time in units of an RTP clock of rate Hz.
func Delay(units, rate uint32) time.Duration {
	if rate == 0 {
		return 0
	}
	return time.Duration(uint64(units) * uint64(time.Second) / uint64(rate))
}
