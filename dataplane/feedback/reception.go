package feedback

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// Reception is what a receiver report says of one received stream (RFC 3550
// section 6.4.1, appendices A.3 and A.8).
type Reception struct {
	base, highest uint64 // extended sequence numbers, 0 before the first packet
	received      uint64 // packets, repaired ones included
	reported      struct{ expected, received uint64 }

	timed   bool   // transit is set
	transit uint32 // arrival less RTP timestamp of the last packet, RTP clock units
	jitter  uint64 // 16 times the interarrival jitter

	reportNTP     uint32 // middle bits of the last sender report, 0 for none
	reportArrived clock.Time
}

// Received takes note of a packet that arrived on the stream itself. ext is its
// extended sequence number (Extend), rtp its timestamp, rate the clock rate in
// Hz. Duplicates must have been dropped before.
//
//hot:path
func (r *Reception) Received(ext uint64, rtp, rate uint32, arrived clock.Time) {
	r.count(ext)
	transit := rtpUnits(arrived, rate) - rtp
	if !r.timed {
		r.timed, r.transit = true, transit
	}
	d := int64(int32(transit - r.transit))
	r.transit = transit
	// Each step closes 1/16 of the distance to |d|, rounded as in appendix A.8.
	r.jitter += uint64(max(d, -d)) - (r.jitter+8)>>4
}

// Repaired takes note of a packet that was missing and came as a retransmission
// (RFC 4588). It counts as received; its arrival says nothing about jitter.
//
//hot:path
func (r *Reception) Repaired(ext uint64) { r.count(ext) }

func (r *Reception) count(ext uint64) {
	r.received++
	r.highest = max(r.highest, ext)
	if r.base == 0 || ext < r.base {
		r.base = ext
	}
}

// SenderReport takes note of a sender report of the stream.
func (r *Reception) SenderReport(ntp clock.NTP, arrived clock.Time) {
	r.reportNTP, r.reportArrived = ntp.Mid(), arrived
}

// Highest returns the highest extended sequence number seen, 0 for none.
func (r *Reception) Highest() uint64 { return r.highest }

// Totals returns how many packets were received, repaired ones included, and how
// many there are from the first to the highest sequence number.
func (r *Reception) Totals() (received, expected uint64) {
	if r.base == 0 {
		return 0, 0
	}
	return r.received, r.highest - r.base + 1
}

// Jitter returns the interarrival jitter in units of the RTP clock.
func (r *Reception) Jitter() uint32 { return uint32(r.jitter >> 4) }

// Report returns the report block for the stream ssrc and begins the next
// interval of its loss fraction. It is false before the first packet.
func (r *Reception) Report(ssrc uint32, now clock.Time) (b wire.ReportBlock, ok bool) {
	if r.base == 0 {
		return wire.ReportBlock{}, false
	}
	expected := r.highest - r.base + 1
	b = wire.ReportBlock{
		SSRC:     ssrc,
		Fraction: fraction(expected-r.reported.expected, r.received-r.reported.received),
		Lost:     int32(min(max(int64(expected-r.received), -1<<23), 1<<23-1)),
		Highest:  uint32(r.highest - cycle),
		Jitter:   r.Jitter(),
	}
	r.reported.expected, r.reported.received = expected, r.received
	if r.reportNTP != 0 {
		b.LSR, b.DLSR = r.reportNTP, shortNTP(now.Sub(r.reportArrived))
	}
	return b, true
}

// fraction returns the lost part of an interval in 1/256, 0 when more came than
// was expected. A loss of everything does not fit and reads as 255/256.
func fraction(expected, received uint64) uint8 {
	if received >= expected {
		return 0
	}
	return uint8(min((expected-received)<<8/expected, 255))
}

// rtpUnits converts an instant to units of an RTP clock, modulo 2^32 as RTP
// timestamps are.
func rtpUnits(t clock.Time, rate uint32) uint32 {
	secs, rest := uint64(t)/uint64(time.Second), uint64(t)%uint64(time.Second)
	return uint32(secs)*rate + uint32(rest*uint64(rate)/uint64(time.Second))
}

// shortNTP converts a delay to units of 1/65536 s; what does not fit, from about
// 18 hours on, reads as the longest.
func shortNTP(d time.Duration) uint32 {
	if d >= 1<<16*time.Second {
		return 1<<32 - 1
	}
	return uint32(max(d, 0) << 16 / time.Second)
}
