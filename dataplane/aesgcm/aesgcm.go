// Package aesgcm is AES-128 in Galois/counter mode (NIST SP 800-38D) with the
// vector instructions of recent amd64 processors (VAES, VPCLMULQDQ, AVX-512),
// which take four blocks where AES-NI takes one. Sealing is most of what a
// forwarder does outside the kernel; elsewhere the standard library's does it.
package aesgcm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"unsafe"
)

// Sizes in bytes.
const (
	KeySize   = 16
	NonceSize = 12
	TagSize   = 16
)

const blockSize = aes.BlockSize

// Err is why Vector cannot be used, nil where it can: the processor has no such
// instructions, or what they give is wrong.
var Err = selfTest()

var (
	errAbsent = errors.New("this processor has none (VAES, VPCLMULQDQ and AVX-512 on amd64)")
	errWrong  = errors.New("they give other results than the standard library")
)

// selfTest compares the cipher with the standard library's, over a packet that is
// no multiple of anything.
func selfTest() error {
	if !able {
		return errAbsent
	}
	var key [KeySize]byte
	text, data := make([]byte, 1201, 1201+TagSize), make([]byte, 21)
	for i := range key {
		key[i] = byte(i) * 37
	}
	other, err := Standard(key[:])
	if err != nil {
		return err
	}
	var v Vector
	v.Expand(&key)
	want := other.Seal(nil, key[:NonceSize], text, data)
	if !bytes.Equal(want, v.Seal(text[:0], key[:NonceSize], text, data)) {
		return errWrong
	}
	return nil
}

// Standard returns the standard library's cipher for a key of 16 or 32 bytes.
func Standard(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCM(block)
}

// Vector is the cipher of a key, a cipher.AEAD. It opens in place, and seals in
// place or to where the text is not. It is flat: what is derived from the key,
// for a session has one for each direction of RTP and RTCP. Safe for concurrent
// use once it is expanded, and of use only where Err is nil.
type Vector struct {
	// powers are H^33 … H^1 as POLYVAL takes them (RFC 8452 appendix A): then
	// up to 33 blocks are multiplied by what stands from one place on.
	powers [33][blockSize]byte
	round  [11][blockSize]byte // FIPS 197 section 5.2; what of it is read behind the powers is multiplied by zero
}

// Expand makes it the cipher of a key.
func (v *Vector) Expand(key *[KeySize]byte) {
	expandKey(key, &v.round)
	var h [blockSize]byte
	crypt(v, nil, 0, &[2]uint64{}, &h)
	power := timesX(&h)
	for i := len(v.powers) - 1; ; i-- {
		v.powers[i] = power
		if i == 0 {
			return
		}
		multiply(&power, &v.powers[len(v.powers)-1])
	}
}

// timesX turns GHASH's key into POLYVAL's: bytes reversed, multiplied by x
// (RFC 8452 appendix A).
func timesX(h *[blockSize]byte) (p [blockSize]byte) {
	hi, lo := binary.BigEndian.Uint64(h[:8]), binary.BigEndian.Uint64(h[8:])
	carry := -(hi >> 63)
	hi = (hi<<1 | lo>>63) ^ carry&0xc2<<56
	lo = lo<<1 ^ carry&1
	binary.LittleEndian.PutUint64(p[:8], lo)
	binary.LittleEndian.PutUint64(p[8:], hi)
	return p
}

func (*Vector) NonceSize() int { return NonceSize }
func (*Vector) Overhead() int  { return TagSize }

// oneBatch is how much data seal takes beside a text: any RTP header but a long one.
const oneBatch = 4 * blockSize

// Seal is cipher.AEAD's: dst is empty and has room for the plaintext and the
// tag. It may be plaintext[:0].
//
//hot:path
func (v *Vector) Seal(dst, nonce, plaintext, data []byte) []byte {
	n := len(plaintext)
	out := dst[:n+TagSize]
	if len(data) <= oneBatch {
		first := firstBlock(nonce)
		seal(v, &out[0], unsafe.SliceData(plaintext), n, &first, unsafe.SliceData(data), len(data))
		return out
	}
	mask := (*[TagSize]byte)(out[n:])
	text := out[:copy(out, plaintext)]
	v.crypt(nonce, text, mask)
	v.tag(text, data, mask)
	return out
}

var errOpen = errors.New("aesgcm: message authentication failed")

// Open is cipher.AEAD's, in place: dst is ciphertext[:0]. Where it fails, nothing
// is changed.
//
//hot:path
func (v *Vector) Open(dst, nonce, ciphertext, data []byte) ([]byte, error) {
	n := len(ciphertext) - TagSize
	if n < 0 {
		return nil, errOpen
	}
	text := dst[:n]
	var mask [TagSize]byte
	v.crypt(nonce, nil, &mask)
	v.tag(text, data, &mask)
	if subtle.ConstantTimeCompare(mask[:], ciphertext[n:]) != 1 {
		return nil, errOpen
	}
	v.crypt(nonce, text, &mask)
	return text, nil
}

// crypt adds the key stream to text, and writes its first block, which masks the
// tag, to mask.
//
//hot:path
func (v *Vector) crypt(nonce, text []byte, mask *[TagSize]byte) {
	first := firstBlock(nonce)
	crypt(v, unsafe.SliceData(text), len(text), &first, mask)
}

// firstBlock is the counter block of a nonce (SP 800-38D section 7.1, J0), as two
// halves in memory's order: what is written in halves is read in halves, or the
// processor waits until it is in the cache.
//
//hot:path
func firstBlock(nonce []byte) [2]uint64 {
	return [2]uint64{binary.LittleEndian.Uint64(nonce), uint64(binary.LittleEndian.Uint32(nonce[8:NonceSize])) | 1<<56}
}

// tag makes the mask the tag of a ciphertext and what is authenticated beside it.
//
//hot:path
func (v *Vector) tag(text, data []byte, mask *[TagSize]byte) {
	var sum, lengths [blockSize]byte
	binary.BigEndian.PutUint64(lengths[:8], uint64(len(data))*8)
	binary.BigEndian.PutUint64(lengths[8:], uint64(len(text))*8)
	if len(data) > 0 {
		hash(v, &sum, unsafe.SliceData(data), len(data), nil)
	}
	hash(v, &sum, unsafe.SliceData(text), len(text), &lengths)
	hi, lo := binary.LittleEndian.Uint64(sum[8:]), binary.LittleEndian.Uint64(sum[:8])
	binary.BigEndian.PutUint64(mask[:8], binary.BigEndian.Uint64(mask[:8])^hi)
	binary.BigEndian.PutUint64(mask[8:], binary.BigEndian.Uint64(mask[8:])^lo)
}
