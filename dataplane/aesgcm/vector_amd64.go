package aesgcm

import "golang.org/x/sys/cpu"

var able = cpu.X86.HasAES && cpu.X86.HasBMI2 && cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL &&
	cpu.X86.HasAVX512VAES && cpu.X86.HasAVX512VPCLMULQDQ

// expandKey makes the round keys (FIPS 197 section 5.2).
//
//go:noescape
func expandKey(key *[KeySize]byte, round *[11][blockSize]byte)

// seal encrypts n bytes from src to dst, which may be the same, and puts the tag
// behind them, of them and of size bytes at data. The block first masks the tag;
// the key stream begins with the one behind it, the counter being the last 32
// bits, big-endian. size is at most oneBatch.
//
//go:noescape
func seal(v *Vector, dst, src *byte, n int, first *[2]uint64, data *byte, size int)

// crypt adds the key stream from the block after first on to n bytes at b, and
// writes the block of first itself to mask.
//
//go:noescape
func crypt(v *Vector, b *byte, n int, first *[2]uint64, mask *[blockSize]byte)

// hash adds n bytes at b, the last block filled up with zeros, and the block
// last, if there is one, to a POLYVAL sum.
//
//go:noescape
func hash(v *Vector, sum *[blockSize]byte, b *byte, n int, last *[blockSize]byte)

// multiply is POLYVAL's dot(a, b), in a (RFC 8452 section 3).
//
//go:noescape
func multiply(a, b *[blockSize]byte)
