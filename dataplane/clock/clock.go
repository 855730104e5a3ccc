// Package clock holds the only notion of time below the data plane's door.
//
// Nothing in the sans-IO packages reads a clock: the shell reads one once per
// batch and passes the value in, simulations pass whatever they like.
package clock

import "time"

// Time is a monotonic instant in nanoseconds since an arbitrary origin that is
// fixed for the life of a process. It says nothing about the wall clock.
type Time int64

// Never lies after every instant; a timer that is not armed is due then.
const Never = Time(1<<63 - 1)

// Add returns the instant d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns the time from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// NTP is a 64-bit NTP timestamp: seconds since 1900 in the upper 32 bits,
// fractions of a second in the lower (RFC 3550 section 4).
type NTP uint64

// Add returns the timestamp d after n; d may be negative.
func (n NTP) Add(d time.Duration) NTP { return n + NTP(ntpFraction(d)) }

// Sub returns the time from m to n, good for spans below 68 years.
func (n NTP) Sub(m NTP) time.Duration {
	diff := int64(n - m)
	secs, frac := diff>>32, diff&0xffffffff
	return time.Duration(secs)*time.Second + time.Duration(frac*int64(time.Second)>>32)
}

// Mid returns the middle 32 bits, as receiver reports echo them.
func (n NTP) Mid() uint32 { return uint32(n >> 16) }

// FromWall converts a wall-clock time.
func FromWall(t time.Time) NTP {
	const unixToNTP = 2208988800
	return NTP(uint64(t.Unix()+unixToNTP) << 32).Add(time.Duration(t.Nanosecond()))
}

// ntpFraction converts a duration to NTP units of 2^-32 s, seconds and
// remainder apart so that neither overflows.
func ntpFraction(d time.Duration) int64 {
	secs, rest := int64(d/time.Second), int64(d%time.Second)
	return secs<<32 + rest<<32/int64(time.Second)
}
