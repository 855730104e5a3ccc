package pkt

// Accel says which of the kernel's accelerators are wished, or in use. Each is
// only speed: without any of them the same packets come and go.
type Accel struct {
	GSO        bool // a run leaves as one message (UDP_SEGMENT)
	GRO        bool // what came as one train is received as one (UDP_GRO)
	Timestamps bool // receive times are the kernel's (SO_TIMESTAMPNS)
}
