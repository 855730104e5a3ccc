#include "textflag.h"

// Registers of all functions: Z27 reverses the bytes of a block.
DATA reverse<>+0(SB)/8, $0x08090a0b0c0d0e0f
DATA reverse<>+8(SB)/8, $0x0001020304050607
GLOBL reverse<>(SB), RODATA|NOPTR, $16

// What makes the counter of the first block those of the next four, and what
// goes from four to the next four.
DATA lanes<>+0(SB)/8, $1
DATA lanes<>+8(SB)/8, $0
DATA lanes<>+16(SB)/8, $2
DATA lanes<>+24(SB)/8, $0
DATA lanes<>+32(SB)/8, $3
DATA lanes<>+40(SB)/8, $0
DATA lanes<>+48(SB)/8, $4
DATA lanes<>+56(SB)/8, $0
GLOBL lanes<>(SB), RODATA|NOPTR, $64
DATA four<>+0(SB)/8, $4
DATA four<>+8(SB)/8, $0
GLOBL four<>(SB), RODATA|NOPTR, $16

// x^63 + x^62 + x^57: what reduces by POLYVAL's polynomial, 64 bits at a time.
DATA poly<>+0(SB)/8, $0xc200000000000000
DATA poly<>+8(SB)/8, $0
GLOBL poly<>(SB), RODATA|NOPTR, $16

// NEXT makes the round key behind X0 in X0 and stores it.
#define NEXT(constant, offset) \
	VAESKEYGENASSIST $constant, X0, X1 \
	VPSHUFD $0xff, X1, X1 \
	VPSLLDQ $4, X0, X2    \
	VPXOR   X2, X0, X0    \
	VPSLLDQ $4, X2, X2    \
	VPXOR   X2, X0, X0    \
	VPSLLDQ $4, X2, X2    \
	VPXOR   X2, X0, X0    \
	VPXOR   X1, X0, X0    \
	VMOVDQU X0, offset(DI)

// func expandKey(key *[KeySize]byte, round *[11][blockSize]byte)
TEXT ·expandKey(SB), NOSPLIT, $0-16
	MOVQ    key+0(FP), SI
	MOVQ    round+8(FP), DI
	VMOVDQU (SI), X0
	VMOVDQU X0, (DI)
	NEXT(0x01, 16)
	NEXT(0x02, 32)
	NEXT(0x04, 48)
	NEXT(0x08, 64)
	NEXT(0x10, 80)
	NEXT(0x20, 96)
	NEXT(0x40, 112)
	NEXT(0x80, 128)
	NEXT(0x1b, 144)
	NEXT(0x36, 160)
	VZEROUPPER
	RET

// MASK makes k the mask of the next 64 bytes of R10 that are left, of which
// there is one at least. R8 is all ones, R11 is 64.
#define MASK(k) \
	MOVQ    R10, R9     \
	CMPQ    R9, R11     \
	CMOVQGT R11, R9     \
	BZHIQ   R9, R8, R9  \
	KMOVQ   R9, k       \
	SUBQ    $64, R10

#define ROUND(key) \
	VAESENC key, Z4, Z4 \
	VAESENC key, Z5, Z5 \
	VAESENC key, Z6, Z6 \
	VAESENC key, Z7, Z7

// ADD adds the key stream of a register to 64 bytes.
#define ADD(offset, k, stream) \
	VMOVDQU8.Z offset(SI), k, Z8   \
	VPXORQ     stream, Z8, Z8      \
	VMOVDQU8   Z8, k, offset(SI)

// func crypt(round *[11][blockSize]byte, b *byte, n int, first, mask *[blockSize]byte)
TEXT ·crypt(SB), NOSPLIT, $0-40
	MOVQ round+0(FP), AX
	MOVQ b+8(FP), SI
	MOVQ n+16(FP), CX
	MOVQ first+24(FP), DX
	MOVQ mask+32(FP), DI

	VBROADCASTI32X4 0(AX), Z16
	VBROADCASTI32X4 16(AX), Z17
	VBROADCASTI32X4 32(AX), Z18
	VBROADCASTI32X4 48(AX), Z19
	VBROADCASTI32X4 64(AX), Z20
	VBROADCASTI32X4 80(AX), Z21
	VBROADCASTI32X4 96(AX), Z22
	VBROADCASTI32X4 112(AX), Z23
	VBROADCASTI32X4 128(AX), Z24
	VBROADCASTI32X4 144(AX), Z25
	VBROADCASTI32X4 160(AX), Z26
	VBROADCASTI32X4 reverse<>(SB), Z27
	VBROADCASTI32X4 four<>(SB), Z28

	VPXORQ      (DX), X16, X1
	VAESENC     X17, X1, X1
	VAESENC     X18, X1, X1
	VAESENC     X19, X1, X1
	VAESENC     X20, X1, X1
	VAESENC     X21, X1, X1
	VAESENC     X22, X1, X1
	VAESENC     X23, X1, X1
	VAESENC     X24, X1, X1
	VAESENC     X25, X1, X1
	VAESENCLAST X26, X1, X1
	VMOVDQU     X1, (DI)
	TESTQ       CX, CX
	JZ          crypted

	VBROADCASTI32X4 (DX), Z0
	VPSHUFB         Z27, Z0, Z0
	VPADDD          lanes<>(SB), Z0, Z0
	MOVQ            $-1, R8
	MOVQ            $64, R11

crypting:
	VPADDD  Z28, Z0, Z1
	VPADDD  Z28, Z1, Z2
	VPADDD  Z28, Z2, Z3
	VPSHUFB Z27, Z0, Z4
	VPSHUFB Z27, Z1, Z5
	VPSHUFB Z27, Z2, Z6
	VPSHUFB Z27, Z3, Z7
	VPADDD  Z28, Z3, Z0
	VPXORQ  Z16, Z4, Z4
	VPXORQ  Z16, Z5, Z5
	VPXORQ  Z16, Z6, Z6
	VPXORQ  Z16, Z7, Z7
	ROUND(Z17)
	ROUND(Z18)
	ROUND(Z19)
	ROUND(Z20)
	ROUND(Z21)
	ROUND(Z22)
	ROUND(Z23)
	ROUND(Z24)
	ROUND(Z25)
	VAESENCLAST Z26, Z4, Z4
	VAESENCLAST Z26, Z5, Z5
	VAESENCLAST Z26, Z6, Z6
	VAESENCLAST Z26, Z7, Z7

	// What is not there is not touched, though a mask would allow it: where the
	// page is not there either, the processor is slow to find that it may.
	MOVQ    CX, R10
	MASK(K1)
	ADD(0, K1, Z4)
	CMPQ R10, $0
	JLE  crypted
	MASK(K1)
	ADD(64, K1, Z5)
	CMPQ R10, $0
	JLE  crypted
	MASK(K1)
	ADD(128, K1, Z6)
	CMPQ R10, $0
	JLE  crypted
	MASK(K1)
	ADD(192, K1, Z7)
	ADDQ $256, SI
	SUBQ $256, CX
	JG   crypting

crypted:
	VZEROUPPER
	RET

// LOAD reads the next 64 bytes of what is left as blocks.
#define LOAD(offset) \
	MASK(K1)                        \
	VMOVDQU8.Z offset(SI), K1, Z1   \
	VPSHUFB    Z27, Z1, Z1

// PRODUCT multiplies without carrying, and adds the low, high and both middle
// halves to the sums in z9, z10, z11 and z12 by way of t.
#define PRODUCT(a, b, t, z9, z10, z11, z12) \
	VPCLMULQDQ $0x00, b, a, t \
	VPXORQ     t, z9, z9      \
	VPCLMULQDQ $0x11, b, a, t \
	VPXORQ     t, z10, z10    \
	VPCLMULQDQ $0x01, b, a, t \
	VPXORQ     t, z11, z11    \
	VPCLMULQDQ $0x10, b, a, t \
	VPXORQ     t, z12, z12

#define BLOCKS(offset) \
	LOAD(offset)                                  \
	VMOVDQU64 offset(R12), Z5                     \
	PRODUCT(Z1, Z5, Z6, Z9, Z10, Z11, Z12)

#define BLOCK(a, b) PRODUCT(a, b, X6, X9, X10, X11, X12)

// FOLD adds up the four blocks of z in its first one.
#define FOLD(z, y, x) \
	VEXTRACTI64X4 $1, z, Y6 \
	VPXOR         Y6, y, y  \
	VEXTRACTI128  $1, y, X6 \
	VPXOR         X6, x, x

// REDUCE makes X0 the product of which X9 is the low half, X10 the high one and
// X11 and X12 lie across them. X15 is poly.
#define REDUCE \
	VPXOR      X12, X11, X11        \
	VPSLLDQ    $8, X11, X13         \
	VPSRLDQ    $8, X11, X11         \
	VPXOR      X13, X9, X9          \
	VPXOR      X11, X10, X10        \
	VPCLMULQDQ $0x00, X15, X9, X13  \
	VPSHUFD    $78, X9, X9          \
	VPXOR      X13, X9, X9          \
	VPCLMULQDQ $0x00, X15, X9, X13  \
	VPSHUFD    $78, X9, X9          \
	VPXOR      X13, X9, X9          \
	VPXOR      X10, X9, X0

// func hash(powers *[16][blockSize]byte, sum *[blockSize]byte, b *byte, n int, last *[blockSize]byte)
//
// The sum so far meets its power as late as can be: it is what the next 16
// blocks wait for.
TEXT ·hash(SB), NOSPLIT, $0-40
	MOVQ powers+0(FP), AX
	MOVQ sum+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ last+32(FP), DX

	VBROADCASTI32X4 reverse<>(SB), Z27
	VMOVDQU         poly<>(SB), X15
	VMOVDQU         (DI), X0
	MOVQ            $-1, R8
	MOVQ            $64, R11
	MOVQ            $256, R13

hashing:
	VPXORQ  Z9, Z9, Z9
	VPXORQ  Z10, Z10, Z10
	VPXORQ  Z11, Z11, Z11
	VPXORQ  Z12, Z12, Z12
	MOVQ    CX, R10
	CMPQ    R10, R13
	CMOVQGT R13, R10
	LEAQ    15(R10), R9
	ANDQ    $-16, R9
	LEAQ    256(AX), R12
	SUBQ    R9, R12
	TESTQ   DX, DX
	JZ      blocks
	CMPQ    CX, $240
	JG      blocks
	SUBQ    $16, R12
	VMOVDQU (DX), X7
	VPSHUFB X27, X7, X7
	VMOVDQU 240(AX), X5
	BLOCK(X7, X5)
	XORL    DX, DX

blocks:
	CMPQ R10, $0
	JLE  hashed
	BLOCKS(0)
	CMPQ R10, $0
	JLE  hashed
	BLOCKS(64)
	CMPQ R10, $0
	JLE  hashed
	BLOCKS(128)
	CMPQ R10, $0
	JLE  hashed
	BLOCKS(192)

hashed:
	FOLD(Z9, Y9, X9)
	FOLD(Z10, Y10, X10)
	FOLD(Z11, Y11, X11)
	FOLD(Z12, Y12, X12)
	VMOVDQU (R12), X5
	BLOCK(X0, X5)
	REDUCE
	ADDQ  $256, SI
	SUBQ  $256, CX
	JG    hashing
	XORL  CX, CX
	TESTQ DX, DX
	JNZ   hashing

	VMOVDQU X0, (DI)
	VZEROUPPER
	RET

// func multiply(a, b *[blockSize]byte)
TEXT ·multiply(SB), NOSPLIT, $0-16
	MOVQ       a+0(FP), DI
	MOVQ       b+8(FP), SI
	VMOVDQU    (DI), X1
	VMOVDQU    (SI), X5
	VMOVDQU    poly<>(SB), X15
	VPCLMULQDQ $0x00, X5, X1, X9
	VPCLMULQDQ $0x11, X5, X1, X10
	VPCLMULQDQ $0x01, X5, X1, X11
	VPCLMULQDQ $0x10, X5, X1, X12
	REDUCE
	VMOVDQU    X0, (DI)
	VZEROUPPER
	RET
