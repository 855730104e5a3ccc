package drop

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
)

// Where the fields lie in an Ethernet frame with an IPv4 header without options, and how much of it the program looks at.
const (
	etherType   = 12
	version     = 14
	protocol    = 23
	destination = 30
	payload     = 42
	looked      = 44

	// On the program's stack: the copy of it, and of the beginning of the last datagram.
	frame = -48
	last  = -56
)

const (
	tcxNext = -1 // enum tcx_action_base, linux/bpf.h
	tcxDrop = 2

	gsoSegs = 164 // offsets of fields of struct __sk_buff, linux/bpf.h
	gsoSize = 176
)

// program discards RTP and RTCP (first payload byte 128 to 191, RFC 7983) to an address that has an entry in the map, and passes
// everything else. It counts what it discards, a train as the packets that it stands for, but leaves out the last one where that is RTCP
// (second byte 192 to 223, RFC 5761): a report in a train of media is its short tail, and a single packet is its own last. The payload of
// a train lies in fragments, hence the copies.
func program(counts *ebpf.Map) asm.Instructions {
	const pass = "pass"
	field := func(at int16, size asm.Size) asm.Instruction { return asm.LoadMem(asm.R1, asm.RFP, frame+at, size) }
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1),
		asm.Mov.Imm(asm.R2, 0),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, frame),
		asm.Mov.Imm(asm.R4, looked),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, pass),

		field(etherType, asm.Half),
		asm.HostTo(asm.BE, asm.R1, asm.Half),
		asm.JNE.Imm(asm.R1, 0x0800, pass),
		field(version, asm.Byte),
		asm.JNE.Imm(asm.R1, 0x45, pass),
		field(protocol, asm.Byte),
		asm.JNE.Imm(asm.R1, 17, pass),
		field(payload, asm.Byte),
		asm.And.Imm(asm.R1, 0xc0),
		asm.JNE.Imm(asm.R1, 0x80, pass),

		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, frame+destination),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, pass),
		asm.Mov.Reg(asm.R7, asm.R0),
		asm.LoadMem(asm.R8, asm.R6, gsoSegs, asm.Word),
		asm.JNE.Imm(asm.R8, 0, "train"),
		asm.Mov.Imm(asm.R8, 1),

		asm.Mov.Reg(asm.R1, asm.R6).WithSymbol("train"),
		asm.LoadMem(asm.R2, asm.R6, gsoSize, asm.Word),
		asm.Mov.Reg(asm.R3, asm.R8),
		asm.Sub.Imm(asm.R3, 1),
		asm.Mul.Reg(asm.R2, asm.R3),
		asm.Add.Imm(asm.R2, payload),
		asm.Mov.Reg(asm.R3, asm.RFP),
		asm.Add.Imm(asm.R3, last),
		asm.Mov.Imm(asm.R4, 2),
		asm.FnSkbLoadBytes.Call(),
		asm.JNE.Imm(asm.R0, 0, "count"),
		asm.LoadMem(asm.R1, asm.RFP, last+1, asm.Byte),
		asm.Sub.Imm(asm.R1, 192),
		asm.JGT.Imm(asm.R1, 223-192, "count"), // unsigned: what was below 192 is huge now
		asm.Sub.Imm(asm.R8, 1),

		asm.LoadMem(asm.R1, asm.R7, 0, asm.DWord).WithSymbol("count"),
		asm.Add.Reg(asm.R1, asm.R8),
		asm.StoreMem(asm.R7, 0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, tcxDrop),
		asm.Return(),

		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol(pass),
		asm.Return(),
	}
}
