package aesgcm

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"math/rand/v2"
	"testing"
)

// twin is the standard library's.
func twin(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	block, err := aes.NewCipher(key)
	if err != nil {
		t.Fatal(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		t.Fatal(err)
	}
	return aead
}

func fill(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// ours is the cipher of a key, where the processor can.
func ours(t testing.TB, key []byte) cipher.AEAD {
	t.Helper()
	if Err != nil {
		t.Skip(Err)
	}
	v := &Vector{}
	v.Expand((*[KeySize]byte)(key))
	return v
}

func same(t testing.TB, key, nonce, text, data []byte) {
	t.Helper()
	ours, theirs := ours(t, key), twin(t, key)
	want := theirs.Seal(nil, nonce, text, data)
	room := append(bytes.Clone(text), bytes.Repeat([]byte{0xee}, TagSize+8)...)
	got := ours.Seal(room[:0], nonce, room[:len(text)], data)
	if !bytes.Equal(got, want) {
		t.Fatalf("text of %d bytes, data of %d:\n%x, want\n%x", len(text), len(data), got, want)
	}
	other := bytes.Repeat([]byte{0xee}, len(room))
	ours.Seal(other[:0], nonce, text, data)
	if !bytes.Equal(other, room) {
		t.Fatalf("text of %d bytes, data of %d: sealed elsewhere it is not what it is in place", len(text), len(data))
	}
	if !bytes.Equal(room[len(got):], bytes.Repeat([]byte{0xee}, 8)) {
		t.Fatal("it wrote behind the tag")
	}
	if back, err := ours.Open(got[:0], nonce, got, data); err != nil || !bytes.Equal(back, text) {
		t.Fatalf("text of %d bytes does not open: %v", len(text), err)
	}
}

// Where it runs at all, it must be right.
func TestErr(t *testing.T) {
	if Err != nil && Err != errAbsent {
		t.Fatal(Err)
	}
}

// Every length around the 16, 64 and 256 bytes that the code works in.
func TestLengths(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 800 {
		same(t, fill(r, KeySize), fill(r, NonceSize), fill(r, n), fill(r, n%67))
		same(t, fill(r, KeySize), fill(r, NonceSize), fill(r, n%67), fill(r, n))
	}
	same(t, bytes.Repeat([]byte{0xff}, KeySize), bytes.Repeat([]byte{0xff}, NonceSize), bytes.Repeat([]byte{0xff}, 65535), nil)
}

func TestForgeries(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	aead := ours(t, fill(r, KeySize))
	nonce, text, data := fill(r, NonceSize), fill(r, 100+TagSize)[:100], fill(r, 12)
	sealed := aead.Seal(text[:0], nonce, text, data)
	for bit := range 8 * len(sealed) {
		forged := bytes.Clone(sealed)
		forged[bit/8] ^= 1 << (bit % 8)
		if _, err := aead.Open(forged[:0], nonce, forged, data); err == nil {
			t.Fatalf("bit %d changed, and it opens", bit)
		}
	}
	for n := range len(sealed) {
		if _, err := aead.Open(sealed[:0], nonce, sealed[:n], data); err == nil {
			t.Fatalf("cut to %d bytes, it opens", n)
		}
	}
	if _, err := aead.Open(sealed[:0], nonce, sealed, data[1:]); err == nil {
		t.Fatal("it opens with other data")
	}
}

func TestNoAllocations(t *testing.T) {
	aead := ours(t, make([]byte, KeySize))
	nonce, data, b := make([]byte, NonceSize), make([]byte, 20), make([]byte, 1200, 1216)
	if n := testing.AllocsPerRun(100, func() {
		aead.Seal(b[:0], nonce, b, data)
		aead.Open(b[:0], nonce, b[:1216], data)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzSeal(f *testing.F) {
	f.Add(make([]byte, KeySize), make([]byte, NonceSize), []byte("text"), []byte("data"))
	f.Add(bytes.Repeat([]byte{0x80}, KeySize), bytes.Repeat([]byte{1}, NonceSize), make([]byte, 257), make([]byte, 17))
	f.Fuzz(func(t *testing.T, key, nonce, text, data []byte) {
		if len(key) == KeySize && len(nonce) == NonceSize {
			same(t, key, nonce, text, data)
		}
	})
}

func BenchmarkSeal(b *testing.B) {
	key := make([]byte, KeySize)
	nonce, data, text := make([]byte, NonceSize), make([]byte, 20), make([]byte, 1180, 1200)
	for _, c := range []struct {
		name string
		aead cipher.AEAD
	}{{"vector", ours(b, key)}, {"standard", twin(b, key)}} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				c.aead.Seal(text[:0], nonce, text, data)
			}
		})
	}
}
