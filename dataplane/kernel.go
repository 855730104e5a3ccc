package dataplane

import "sluice/dataplane/internal/udp"

// Finding is what a test of the running kernel showed.
type Finding struct {
	Name string // of an accelerator
	Err  error  // nil where it works, else what happened instead
}

// TestKernel tries the accelerators that the packet path uses, as Start does, on
// sockets of the loopback device. What does not work is not used.
func TestKernel() []Finding {
	a := udp.SelfTest()
	return []Finding{
		{"UDP segmentation (GSO)", a.ShortTails},
		{"UDP segmentation of packets of one size", a.EqualTrains},
		{"merged receive (GRO)", a.GRO},
		{"receive times", a.Timestamps},
	}
}
