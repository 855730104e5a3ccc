package dataplane

import (
	"sluice/dataplane/aesgcm"
	"sluice/dataplane/internal/udp"
)

// Finding is what a test of the running kernel or of the processor showed.
type Finding struct {
	Name   string // of an accelerator
	Err    error  // nil where it works, else what happened instead
	Switch string // the attribute that turns it off
}

// TestKernel tries the accelerators that the packet path uses, as Start does, on
// sockets of the loopback device. What does not work is not used.
func TestKernel() []Finding {
	a := udp.SelfTest()
	gso, gro, timestamps := gsoAttr.Decl().Path, groAttr.Decl().Path, timestampsAttr.Decl().Path
	return []Finding{
		{"UDP segmentation (GSO)", a.ShortTails, gso},
		{"UDP segmentation of packets of one size", a.EqualTrains, gso},
		{"merged receive (GRO)", a.GRO, gro},
		{"receive times", a.Timestamps, timestamps},
		{"AES with vector instructions", aesgcm.Err, vectorsAttr.Decl().Path},
		{"priority of each packet", a.Priorities, audioPriorityAttr.Decl().Path},
	}
}
