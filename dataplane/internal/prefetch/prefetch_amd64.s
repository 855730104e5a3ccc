#include "textflag.h"

// func lines(p unsafe.Pointer, size int)
TEXT ·lines(SB), NOSPLIT, $0-16
	MOVQ p+0(FP), SI
	MOVQ size+8(FP), CX
	LEAQ (SI)(CX*1), CX
	ANDQ $-64, SI

fetching:
	PREFETCHT0 (SI)
	ADDQ       $64, SI
	CMPQ       SI, CX
	JLO        fetching
	RET
