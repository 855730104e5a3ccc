// Package feedback holds what receivers and senders owe each other over RTCP:
// reception statistics, retransmission requests, keyframe request throttling,
// transport-wide arrival reports and the time base of sender reports.
//
// Each is a small struct without pointers whose zero value is ready for use, so
// that it can live in a slab and be handed over as it is. Instants come in as
// arguments and lie after the origin of clock.Time. Nothing here is safe for
// concurrent use.
package feedback
