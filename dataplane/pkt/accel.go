package pkt

import "time"

// Accel says which of the kernel's accelerators are wished, or in use. Each is
// only speed: without any of them the same packets come and go.
type Accel struct {
	GSO        bool // a run leaves as one message (UDP_SEGMENT)
	GRO        bool // what came as one train is received as one (UDP_GRO)
	Timestamps bool // receive times are the kernel's (SO_TIMESTAMPNS)
}

// BusyPoll says how a thread looks for work in a network device's queue itself
// instead of waiting to be interrupted (socket(7), SO_BUSY_POLL).
type BusyPoll struct {
	For    time.Duration // before it sleeps, in whole microseconds; 0 is not at all
	Budget int           // packets that one look takes at most
	Prefer bool          // the device need not interrupt meanwhile (SO_PREFER_BUSY_POLL)
}
