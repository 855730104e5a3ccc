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

	frame = -48 // the copy of it on the program's stack
)

const (
	tcxNext = -1 // enum tcx_action_base, linux/bpf.h
	tcxDrop = 2

	gsoSegs = 164 // offset of gso_segs in struct __sk_buff, linux/bpf.h
)

// program passes everything but RTP (first payload byte 128 to 191, RFC 7983; second one outside 192 to 223, RFC 5761) to an address
// that has an entry in the map; that it counts and discards. The payload of a train lies in fragments, hence the copy.
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
		field(payload+1, asm.Byte),
		asm.Sub.Imm(asm.R1, 192),
		asm.JLE.Imm(asm.R1, 223-192, pass), // unsigned: what was below 192 is huge now

		asm.LoadMapPtr(asm.R1, counts.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, frame+destination),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, pass),
		asm.LoadMem(asm.R1, asm.R6, gsoSegs, asm.Word),
		asm.JNE.Imm(asm.R1, 0, "count"),
		asm.Mov.Imm(asm.R1, 1),
		asm.LoadMem(asm.R2, asm.R0, 0, asm.DWord).WithSymbol("count"),
		asm.Add.Reg(asm.R2, asm.R1),
		asm.StoreMem(asm.R0, 0, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, tcxDrop),
		asm.Return(),

		asm.Mov.Imm(asm.R0, tcxNext).WithSymbol(pass),
		asm.Return(),
	}
}
