package wire

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// stream puts frames behind each other as RFC 4571 section 2 has it.
func stream(frames ...[]byte) (b []byte) {
	for _, f := range frames {
		b = binary.BigEndian.AppendUint16(b, uint16(len(f)))
		b = append(b, f...)
	}
	return b
}

// split reads all whole frames of a stream, and what is left.
func split(b []byte) (frames [][]byte, rest []byte, ok bool) {
	for {
		n, ok := Frame(b)
		if n == 0 {
			return frames, b, ok
		}
		frames = append(frames, b[FrameHead:n])
		b = b[n:]
	}
}

func TestFrame(t *testing.T) {
	for _, v := range []struct {
		stream string
		n      int
		ok     bool
	}{
		{"", 0, true},
		{"\x00", 0, true},
		{"\x00\x00", 2, true}, // the null packet
		{"\x00\x01", 0, true},
		{"\x00\x01a", 3, true},
		{"\x00\x01ab", 3, true},
		{"\x00\x03ab", 0, true},
		{"\x08\x00", 0, true}, // 2048
		{"\x08\x01", 0, false},
		{"\xff\xff", 0, false},
		{"GET / HTTP/1.1\r\n\r\n", 0, false},
		{"\x16\x03\x01\x02\x00\x01", 0, false}, // TLS
	} {
		if n, ok := Frame([]byte(v.stream)); n != v.n || ok != v.ok {
			t.Errorf("%q: %d, %v; want %d, %v", v.stream, n, ok, v.n, v.ok)
		}
	}
	largest := stream(make([]byte, MaxFrame))
	if n, ok := Frame(largest); n != len(largest) || !ok {
		t.Errorf("the largest frame: %d, %v", n, ok)
	}
}

// Wherever a stream is cut, the same frames come out.
func TestFrameSplitsAtEveryByte(t *testing.T) {
	want := [][]byte{[]byte("one"), {}, bytes.Repeat([]byte{7}, 300), []byte("x")}
	whole := stream(want...)
	for cut := range len(whole) + 1 {
		first, rest, ok := split(whole[:cut])
		second, rest, ok2 := split(slices.Concat(rest, whole[cut:]))
		got := slices.Concat(first, second)
		if !ok || !ok2 || len(rest) != 0 || !slices.EqualFunc(got, want, bytes.Equal) {
			t.Fatalf("cut at %d: %d frames, %d bytes left", cut, len(got), len(rest))
		}
	}
}

func TestFrameHead(t *testing.T) {
	r := rand.New(rand.NewPCG(4571, 1))
	for range 1000 {
		var head [FrameHead]byte
		n := r.IntN(MaxFrame + 1)
		PutFrameHead(&head, n)
		if got, ok := Frame(append(head[:], make([]byte, n)...)); got != FrameHead+n || !ok {
			t.Fatalf("the head of %d bytes says %d, %v", n, got-FrameHead, ok)
		}
	}
}

// FuzzFrame: frames and rest are the stream again, whatever it is.
func FuzzFrame(f *testing.F) {
	for _, s := range [][]byte{nil, {0}, stream([]byte("a"), nil, []byte("bc")), stream(make([]byte, MaxFrame))[:100], {0xff, 0xff, 0}} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		frames, rest, ok := split(b)
		if again := slices.Concat(stream(frames...), rest); !bytes.Equal(again, b) {
			t.Fatalf("% x became % x", b, again)
		}
		if n, whole := Frame(rest); n != 0 || whole != ok {
			t.Fatalf("the rest % x holds a frame", rest)
		}
	})
}
