package feedback

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// How the offset of a Timeline follows its publisher.
const (
	// maxSlew is how far one report moves the offset. At a report every few
	// seconds it follows clocks that differ by some 400 parts per million,
	// while audio and video reports that are one move apart stay far below
	// the 20 ms that a viewer could notice.
	maxSlew = time.Millisecond
	// maxError is from where on the publisher must have set its clock.
	maxError = time.Second
)

// Timeline relates the NTP clock of a publishing session to ours, so that the
// sender reports of all its streams can be told to viewers in our time base.
// There is one for a session, and that is what keeps audio and video together:
// whatever the offset is, it is the same for both.
//
// The offset is that of the first report, network delay included, which moves
// both streams alike. It must not stay there for ever: clocks drift apart, by
// seconds in a day, and players refuse reports that run ahead of the media. So
// each report moves it a little, and a clock that was set is taken anew.
type Timeline struct {
	offset clock.NTP // ours less theirs, modulo 2^64
	epoch  uint32    // counts the times it was taken anew, 0 for never taken
}

// observe takes note of a report that says theirs and came when our clock said
// ours.
func (t *Timeline) observe(theirs, ours clock.NTP) {
	seen := ours - theirs
	off := seen.Sub(t.offset)
	if t.epoch == 0 || off > maxError || off < -maxError {
		t.offset = seen
		t.epoch++
		return
	}
	t.offset = t.offset.Add(min(max(off, -maxSlew), maxSlew))
}

// SenderClock tells the RTP timestamp of a received stream at any time, from
// the last sender report of its source (RFC 3550 section 6.4.1).
type SenderClock struct {
	ntp   clock.NTP // of the report, the publisher's clock
	rtp   uint32    // of the report
	epoch uint32    // of the timeline at the report, 0 before the first
}

// Observe takes note of a sender report that came when our clock said local.
// t is the timeline of the session that the stream belongs to.
func (c *SenderClock) Observe(t *Timeline, sr *wire.SenderReport, local clock.NTP) {
	t.observe(sr.NTP, local)
	c.ntp, c.rtp, c.epoch = sr.NTP, sr.RTP, t.epoch
}

// At returns the RTP timestamp that the stream, of rate Hz, has when our clock
// says local. It is false before the first sender report, and after the
// publisher set its clock until the stream's next one.
func (c *SenderClock) At(t *Timeline, local clock.NTP, rate uint32) (rtp uint32, ok bool) {
	if c.epoch == 0 || c.epoch != t.epoch {
		return 0, false
	}
	elapsed := local - t.offset - c.ntp // modulo 2^64, as RTP time is modulo 2^32
	secs, fraction := uint32(elapsed>>32), uint64(uint32(elapsed))
	return c.rtp + secs*rate + uint32(fraction*uint64(rate)>>32), true
}
