#include "textflag.h"

// Where in a vector lie H^n and the round keys.
#define POWER(n) (528-16*n)
#define ROUND(n) (528+16*n)

// What reverses the bytes of a block.
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

// KEYS has the round keys of AX in all lanes of Z16 to Z26.
#define KEYS \
	VBROADCASTI32X4 ROUND(0)(AX), Z16 \
	VBROADCASTI32X4 ROUND(1)(AX), Z17 \
	VBROADCASTI32X4 ROUND(2)(AX), Z18 \
	VBROADCASTI32X4 ROUND(3)(AX), Z19 \
	VBROADCASTI32X4 ROUND(4)(AX), Z20 \
	VBROADCASTI32X4 ROUND(5)(AX), Z21 \
	VBROADCASTI32X4 ROUND(6)(AX), Z22 \
	VBROADCASTI32X4 ROUND(7)(AX), Z23 \
	VBROADCASTI32X4 ROUND(8)(AX), Z24 \
	VBROADCASTI32X4 ROUND(9)(AX), Z25 \
	VBROADCASTI32X4 ROUND(10)(AX), Z26

// ENCRYPT is the cipher over four blocks.
#define ENCRYPT(z) \
	VPXORQ      Z16, z, z \
	VAESENC     Z17, z, z \
	VAESENC     Z18, z, z \
	VAESENC     Z19, z, z \
	VAESENC     Z20, z, z \
	VAESENC     Z21, z, z \
	VAESENC     Z22, z, z \
	VAESENC     Z23, z, z \
	VAESENC     Z24, z, z \
	VAESENC     Z25, z, z \
	VAESENCLAST Z26, z, z

// COUNT makes Z0 the counters of the four blocks behind the one at DX, and z that
// one enciphered, which masks the tag.
#define COUNT(z) \
	VBROADCASTI32X4 reverse<>(SB), Z27   \
	VBROADCASTI32X4 four<>(SB), Z28      \
	VMOVQ           0(DX), X0            \
	VPINSRQ         $1, 8(DX), X0, X0    \
	VSHUFI32X4      $0, Z0, Z0, z        \
	VPSHUFB         Z27, z, Z0           \
	VPADDD          lanes<>(SB), Z0, Z0  \
	ENCRYPT(z)

// STREAM makes z the next 64 bytes of key stream.
#define STREAM(z) \
	VPSHUFB Z27, Z0, z   \
	VPADDD  Z28, Z0, Z0  \
	ENCRYPT(z)

// What is not there is not touched, though a mask would allow it: where the page
// is not there either, the processor is slow to find that it may.

// func crypt(v *Vector, b *byte, n int, first *[2]uint64, mask *[blockSize]byte)
TEXT ·crypt(SB), NOSPLIT, $0-40
	MOVQ v+0(FP), AX
	MOVQ b+8(FP), SI
	MOVQ n+16(FP), R10
	MOVQ first+24(FP), DX
	MOVQ mask+32(FP), DI
	MOVQ $-1, R8
	MOVQ $64, R11
	KEYS
	COUNT(Z1)
	VMOVDQU X1, (DI)

crypting:
	CMPQ       R10, $0
	JLE        crypted
	MASK(K1)
	STREAM(Z4)
	VMOVDQU8.Z (SI), K1, Z8
	VPXORQ     Z8, Z4, Z4
	VMOVDQU8   Z4, K1, (SI)
	ADDQ       $64, SI
	JMP        crypting

crypted:
	VZEROUPPER
	RET

// PRODUCT multiplies four blocks by four without carrying, and adds the low,
// the high and both middle halves to the sums in Z9, Z10 and Z11.
#define PRODUCT(a, b) \
	VPCLMULQDQ $0x00, b, a, Z8        \
	VPXORQ     Z8, Z9, Z9             \
	VPCLMULQDQ $0x11, b, a, Z8        \
	VPXORQ     Z8, Z10, Z10           \
	VPCLMULQDQ $0x01, b, a, Z8        \
	VPCLMULQDQ $0x10, b, a, Z12       \
	VPTERNLOGQ $0x96, Z12, Z8, Z11

// FIRST is a PRODUCT that begins the sums.
#define FIRST(a, b) \
	VPCLMULQDQ $0x00, b, a, Z9   \
	VPCLMULQDQ $0x11, b, a, Z10  \
	VPCLMULQDQ $0x01, b, a, Z11  \
	VPCLMULQDQ $0x10, b, a, Z12  \
	VPXORQ     Z12, Z11, Z11

#define NONE \
	VPXORQ Z9, Z9, Z9     \
	VPXORQ Z10, Z10, Z10  \
	VPXORQ Z11, Z11, Z11

// FOLD adds up the four blocks of z in its first one; the others become zero.
#define FOLD(z, y, x) \
	VEXTRACTI64X4 $1, z, Y8 \
	VPXOR         Y8, y, y  \
	VEXTRACTI128  $1, y, X8 \
	VPXOR         X8, x, x

#define FOLDED \
	FOLD(Z9, Y9, X9)    \
	FOLD(Z10, Y10, X10) \
	FOLD(Z11, Y11, X11)

// REDUCE makes z the products of which Z9 to Z11 are the halves. Z15 is poly.
#define REDUCE(z) \
	VPSLLDQ    $8, Z11, Z12         \
	VPSRLDQ    $8, Z11, Z11         \
	VPXORQ     Z12, Z9, Z9          \
	VPXORQ     Z11, Z10, Z10        \
	VPCLMULQDQ $0x00, Z15, Z9, Z12  \
	VPSHUFD    $78, Z9, Z9          \
	VPXORQ     Z12, Z9, Z9          \
	VPCLMULQDQ $0x00, Z15, Z9, Z12  \
	VPSHUFD    $78, Z9, Z9          \
	VPXORQ     Z12, Z10, z          \
	VPXORQ     Z9, z, z

#define ROUND4(key) \
	VAESENC key, Z1, Z1 \
	VAESENC key, Z2, Z2 \
	VAESENC key, Z3, Z3 \
	VAESENC key, Z4, Z4

// func seal(v *Vector, dst, src *byte, n int, first *[2]uint64, data *byte, size int)
//
// Hashing is 16 blocks behind the cipher, so that the processor does both at
// once: Z5, Z6, Z7 and Z29 hold what is not hashed yet. There and in the sum so
// far, Z13, a block in lane j counts H^j times too much: so all lanes are
// multiplied by the same power, H^16 to H^4 in steps of four, and nothing moves
// between lanes. In the end each block meets its own power, and the lanes are
// added up.
TEXT ·seal(SB), NOSPLIT, $0-56
	MOVQ v+0(FP), AX
	MOVQ dst+8(FP), DI
	MOVQ src+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ first+32(FP), DX
	MOVQ data+40(FP), BX
	MOVQ size+48(FP), R10
	MOVQ $-1, R8
	MOVQ $64, R11
	KEYS
	COUNT(Z14)
	VBROADCASTI32X4 poly<>(SB), Z15

	// The data's blocks go to the last lanes, as if they were the end of 16.
	LEAQ        15(R10), R12
	SHRQ        $4, R12
	NEGQ        R12
	LEAQ        8(R12*2), R12
	MOVQ        $0xff, R13
	SHLXQ       R12, R13, R13
	KMOVW       R13, K2
	MASK(K1)
	VMOVDQU8.Z  (BX), K1, Z29
	VPSHUFB     Z27, Z29, Z29
	VPEXPANDQ.Z Z29, K2, Z29
	VPXORQ      Z5, Z5, Z5
	VPXORQ      Z6, Z6, Z6
	VPXORQ      Z7, Z7, Z7
	VPXORQ      Z13, Z13, Z13

sealing:
	CMPQ            CX, $256
	JLT             ending
	VPSHUFB         Z27, Z0, Z1
	VPADDD          Z28, Z0, Z0
	VPSHUFB         Z27, Z0, Z2
	VPADDD          Z28, Z0, Z0
	VPSHUFB         Z27, Z0, Z3
	VPADDD          Z28, Z0, Z0
	VPSHUFB         Z27, Z0, Z4
	VPADDD          Z28, Z0, Z0
	VPXORQ          Z16, Z1, Z1
	VPXORQ          Z16, Z2, Z2
	VPXORQ          Z16, Z3, Z3
	VPXORQ          Z16, Z4, Z4
	VBROADCASTI32X4 POWER(12)(AX), Z31
	FIRST(Z6, Z31)
	ROUND4(Z17)
	VBROADCASTI32X4 POWER(8)(AX), Z31
	PRODUCT(Z7, Z31)
	ROUND4(Z18)
	ROUND4(Z19)
	VBROADCASTI32X4 POWER(4)(AX), Z31
	PRODUCT(Z29, Z31)
	ROUND4(Z20)
	ROUND4(Z21)
	VBROADCASTI32X4 POWER(16)(AX), Z31
	VPXORQ          Z13, Z5, Z5
	PRODUCT(Z5, Z31)
	ROUND4(Z22)
	ROUND4(Z23)
	REDUCE(Z13)
	ROUND4(Z24)
	ROUND4(Z25)
	VAESENCLAST     Z26, Z1, Z1
	VAESENCLAST     Z26, Z2, Z2
	VAESENCLAST     Z26, Z3, Z3
	VAESENCLAST     Z26, Z4, Z4
	VPXORQ          0(SI), Z1, Z1
	VPXORQ          64(SI), Z2, Z2
	VPXORQ          128(SI), Z3, Z3
	VPXORQ          192(SI), Z4, Z4
	VMOVDQU64       Z1, 0(DI)
	VMOVDQU64       Z2, 64(DI)
	VMOVDQU64       Z3, 128(DI)
	VMOVDQU64       Z4, 192(DI)
	VPSHUFB         Z27, Z1, Z5
	VPSHUFB         Z27, Z2, Z6
	VPSHUFB         Z27, Z3, Z7
	VPSHUFB         Z27, Z4, Z29
	ADDQ            $256, SI
	ADDQ            $256, DI
	SUBQ            $256, CX
	JMP             sealing

ending:
	MOVQ      CX, R10
	LEAQ      31(CX), R9 // the blocks of the text that is left, and the one of the lengths
	ANDQ      $-16, R9
	LEAQ      POWER(0)(AX), R12
	SUBQ      R9, R12
	VMOVDQU64 -64(R12), Z31
	FIRST(Z29, Z31)
	CMPQ      SI, src+16(FP)
	JEQ       left
	VMOVDQU64 -128(R12), Z31
	PRODUCT(Z7, Z31)
	VMOVDQU64 -192(R12), Z31
	PRODUCT(Z6, Z31)
	VMOVDQU64 -256(R12), Z31
	VPXORQ    Z13, Z5, Z5
	PRODUCT(Z5, Z31)

left:
	CMPQ       R10, $0
	JLE        sealed
	MASK(K1)
	STREAM(Z1)
	VMOVDQU8.Z (SI), K1, Z2
	VPXORQ     Z2, Z1, Z1
	VMOVDQU8   Z1, K1, (DI)
	VMOVDQU8.Z Z1, K1, Z1
	VPSHUFB    Z27, Z1, Z1
	VMOVDQU64  (R12), Z31
	PRODUCT(Z1, Z31)
	ADDQ       $64, SI
	ADDQ       $64, DI
	ADDQ       $64, R12
	JMP        left

sealed:
	MOVQ    n+24(FP), CX
	MOVQ    size+48(FP), R9
	LEAQ    (CX*8), R10
	SHLQ    $3, R9
	VMOVQ   R10, X1
	VPINSRQ $1, R9, X1, X1
	VMOVDQU POWER(1)(AX), X2
	PRODUCT(Z1, Z2)
	FOLDED
	REDUCE(Z0)
	VPSHUFB X27, X0, X0
	VPXOR   X14, X0, X0
	MOVQ    dst+8(FP), DI
	VMOVDQU X0, (DI)(CX*1)
	VZEROUPPER
	RET

// func hash(v *Vector, sum *[blockSize]byte, b *byte, n int, last *[blockSize]byte)
//
// The sum so far meets its power as late as can be: it is what the next 16
// blocks wait for.
TEXT ·hash(SB), NOSPLIT, $0-40
	MOVQ v+0(FP), AX
	MOVQ sum+8(FP), DI
	MOVQ b+16(FP), SI
	MOVQ n+24(FP), CX
	MOVQ last+32(FP), DX

	VBROADCASTI32X4 reverse<>(SB), Z27
	VBROADCASTI32X4 poly<>(SB), Z15
	VMOVDQU         (DI), X0
	MOVQ            $-1, R8
	MOVQ            $64, R11
	MOVQ            $256, R13

hashing:
	NONE
	MOVQ    CX, R10
	CMPQ    R10, R13
	CMOVQGT R13, R10
	LEAQ    15(R10), R9
	ANDQ    $-16, R9
	LEAQ    POWER(0)(AX), BX
	SUBQ    R9, BX
	TESTQ   DX, DX
	JZ      hashBlocks
	CMPQ    CX, $240
	JG      hashBlocks
	SUBQ    $16, BX
	VMOVQ   0(DX), X7
	VPINSRQ $1, 8(DX), X7, X7
	VPSHUFB X27, X7, X7
	VMOVDQU POWER(1)(AX), X5
	PRODUCT(Z7, Z5)
	XORL    DX, DX

hashBlocks:
	MOVQ BX, R12

hashBlock:
	CMPQ       R10, $0
	JLE        hashed
	MASK(K1)
	VMOVDQU8.Z (SI), K1, Z1
	VPSHUFB    Z27, Z1, Z1
	VMOVDQU64  (R12), Z5
	PRODUCT(Z1, Z5)
	ADDQ       $64, SI
	ADDQ       $64, R12
	JMP        hashBlock

hashed:
	FOLDED
	VMOVDQU (BX), X5
	PRODUCT(Z0, Z5)
	REDUCE(Z0)
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
	MOVQ            a+0(FP), DI
	MOVQ            b+8(FP), SI
	VMOVDQU         (DI), X1
	VMOVDQU         (SI), X5
	VBROADCASTI32X4 poly<>(SB), Z15
	FIRST(Z1, Z5)
	REDUCE(Z0)
	VMOVDQU         X0, (DI)
	VZEROUPPER
	RET
