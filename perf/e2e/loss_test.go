package e2e

import (
	"net"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// losses are percentages of the packets that do not arrive: of UDP, of ICE-TCP,
// and of all other TCP.
type losses struct{ udp, iceTCP, tcp int }

// lossyLink is a program of the kernel that loses packets over IPv4 at random as
// they come in by a namespace's link.
type lossyLink struct {
	lost *ebpf.Map // packets so far
	prog *ebpf.Program
	link link.Link
}

// lose attaches the program until the test ends.
func (ns *netns) lose(t *testing.T, part losses) *lossyLink {
	t.Helper()
	var err error
	must := func(e error) {
		if e != nil {
			t.Fatalf("losing %+v %%: %v", part, e)
		}
	}
	// A train of segments counts as one packet, so there are to be none.
	must(ns.ip("link set eth0 gso_max_segs 1"))
	l := &lossyLink{}
	l.lost, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(err)
	l.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: lossProgram(l.lost, part)})
	must(err)
	must(ns.do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l.link, err = link.AttachTCX(link.TCXOptions{Interface: eth0.Index, Program: l.prog, Attach: ebpf.AttachTCXIngress})
		return err
	}))
	t.Cleanup(func() {
		l.link.Close()
		l.prog.Close()
		l.lost.Close()
	})
	return l
}

// lossProgram drops a part of what has EtherType IPv4 and one of the protocols.
func lossProgram(lost *ebpf.Map, part losses) asm.Instructions {
	const (
		etherType, protocol = 12, 23 // offsets in the frame
		source, destination = 34, 36 // ports, behind an IP header without options
		next, drop          = -1, 2  // enum tcx_action_base, linux/bpf.h
		key                 = -4     // on the stack
	)
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // where the loads below look for the packet
		asm.LoadAbs(etherType, asm.Half),
		asm.JNE.Imm(asm.R0, unix.ETH_P_IP, "pass"),
		asm.LoadAbs(protocol, asm.Byte),
		asm.Mov.Imm(asm.R7, int32(part.udp)),
		asm.JEq.Imm(asm.R0, unix.IPPROTO_UDP, "draw"),
		asm.JNE.Imm(asm.R0, unix.IPPROTO_TCP, "pass"),
		asm.Mov.Imm(asm.R7, int32(part.iceTCP)),
		asm.LoadAbs(source, asm.Half),
		asm.JEq.Imm(asm.R0, mediaPort, "draw"),
		asm.LoadAbs(destination, asm.Half),
		asm.JEq.Imm(asm.R0, mediaPort, "draw"),
		asm.Mov.Imm(asm.R7, int32(part.tcp)),
		asm.FnGetPrandomU32.Call().WithSymbol("draw"),
		asm.Mod.Imm(asm.R0, 100),
		asm.JGE.Reg(asm.R0, asm.R7, "pass"),
		asm.StoreImm(asm.RFP, key, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, lost.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, next).WithSymbol("pass"),
		asm.Return(),
	}
}

// packets is how many were lost.
func (l *lossyLink) packets(t *testing.T) (n uint64) {
	t.Helper()
	if err := l.lost.Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	return n
}
