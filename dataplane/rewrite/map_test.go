package rewrite

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pion/rtp"

	"sluice/dataplane/history"
	"sluice/dataplane/wire"
)

// keptPacket is a random packet in the form of the history, and its elements.
type keptPacket struct {
	history.Packet
	data    []byte
	csrcs   []uint32
	exts    map[wire.Ext][]byte
	order   []wire.Ext
	payload []byte
}

func randomBytes(r *rand.Rand, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

func randomKept(r *rand.Rand) *keptPacket {
	k := &keptPacket{exts: map[wire.Ext][]byte{}}
	k.Seq, k.TS, k.Marker = 1<<17+uint64(r.IntN(1<<20)), r.Uint32(), r.IntN(2) == 0
	if r.IntN(3) == 0 {
		k.CSRC = uint8(r.IntN(16))
	}
	for range k.CSRC {
		csrc := r.Uint32()
		k.csrcs = append(k.csrcs, csrc)
		k.data = append(k.data, byte(csrc>>24), byte(csrc>>16), byte(csrc>>8), byte(csrc))
	}
	for e := wire.ExtAudioLevel; e < wire.NumExt; e++ {
		if r.IntN(3) != 0 {
			continue
		}
		size := 1 + r.IntN(6)
		if r.IntN(5) == 0 {
			size = []int{0, 16, 17, 90}[r.IntN(4)]
		}
		value := randomBytes(r, size)
		k.exts[e], k.order = value, append(k.order, e)
		k.data = append(k.data, byte(e), byte(size))
		k.data = append(k.data, value...)
	}
	k.ExtLen = uint16(len(k.data) - 4*int(k.CSRC))
	k.payload = randomBytes(r, r.IntN(1000))
	k.data = append(k.data, k.payload...)
	k.Len = uint16(len(k.data))
	return k
}

func randomMap(r *rand.Rand) *Map {
	m := &Map{SSRC: r.Uint32(), PT: uint8(r.IntN(128)), SeqDelta: uint64(r.IntN(1<<15)) - 1<<17, Mixed: r.IntN(2) == 0}
	for i, id := range r.Perm(14) {
		if e := wire.Ext(i + 1); e < wire.NumExt && r.IntN(3) > 0 {
			m.IDs[e] = uint8(id + 1)
		}
	}
	if r.IntN(2) == 0 {
		m.SetMID(strings.Repeat("m", 1+r.IntN(16)))
	}
	return m
}

// wanted says by pion's types what the viewer should get, leaving out what it
// did not agree on.
func wanted(m *Map, k *keptPacket) *rtp.Packet {
	p := &rtp.Packet{Header: rtp.Header{
		Version: 2, Marker: k.Marker, PayloadType: m.PT, SequenceNumber: uint16(k.Seq + m.SeqDelta),
		Timestamp: k.TS, SSRC: m.SSRC, CSRC: k.csrcs,
	}, Payload: k.payload}
	twoByte := false
	for _, e := range k.order {
		n := len(k.exts[e])
		twoByte = twoByte || m.Mixed && m.IDs[e] != 0 && (n == 0 || n > 16)
	}
	profile := uint16(rtp.ExtensionProfileOneByte)
	if twoByte {
		profile = rtp.ExtensionProfileTwoByte
	}
	add := func(id uint8, value []byte) {
		if n := len(value); id == 0 || !twoByte && (n == 0 || n > 16) {
			return
		}
		p.Extension, p.ExtensionProfile = true, profile
		if err := p.SetExtension(id, value); err != nil {
			panic(err)
		}
	}
	if m.midLen > 0 {
		add(m.IDs[wire.ExtMID], m.mid[:m.midLen])
	}
	for _, e := range k.order {
		add(m.IDs[e], k.exts[e])
	}
	return p
}

// write returns the packet as it is once its payload is behind its header.
func write(m *Map, b []byte, k *keptPacket) (n int, index uint64) {
	header, payload, index := m.Write(b, &k.Packet, k.data)
	return header + copy(b[header:], payload), index
}

// writeRTX writes a retransmission, and returns its length.
func writeRTX(m *Map, b []byte, k *keptPacket) int {
	header, payload := m.WriteRTX(b, &k.Packet, k.data, 97, 99, 98)
	return header + len(payload)
}

// TestMapAgainstPion marshals each packet a second time, with pion/rtp.
func TestMapAgainstPion(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 8285))
	b := make([]byte, 4096)
	for i := range 5000 {
		m, k := randomMap(r), randomKept(r)
		want, err := wanted(m, k).Marshal()
		if err != nil {
			t.Fatal(err)
		}
		for j := range b {
			b[j] = 0xee // what was there before must not show
		}
		n, index := write(m, b, k)
		if index != k.Seq+m.SeqDelta || !bytes.Equal(b[:n], want) {
			t.Fatalf("packet %d, index %d:\n% x\nwant\n% x", i, index, b[:n], want)
		}
		again := make([]byte, n)
		if again2, _ := write(m, again, k); again2 != n || !bytes.Equal(again, want) {
			t.Fatalf("packet %d does not become the same bytes again in a buffer that just fits", i)
		}
		for _, short := range []int{0, 11, n / 2, n - 1} {
			if got, _ := write(m, b[:max(short, 0):max(short, 0)], k); got != 0 && short < n {
				t.Fatalf("packet %d of %d bytes fits %d", i, n, short)
			}
		}
	}
}

func TestRTXAgainstPion(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 4588))
	b := make([]byte, 4096)
	for i := range 2000 {
		m, k := randomMap(r), randomKept(r)
		p := wanted(m, k)
		original := p.SequenceNumber
		p.SSRC, p.PayloadType, p.SequenceNumber = 99, 98, 97
		p.Payload = append([]byte{byte(original >> 8), byte(original)}, p.Payload...)
		want, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		n := writeRTX(m, b, k)
		if !bytes.Equal(b[:n], want) {
			t.Fatalf("packet %d:\n% x\nwant\n% x", i, b[:n], want)
		}
		if writeRTX(m, b[:n-1:n-1], k) != 0 {
			t.Fatalf("packet %d of %d bytes fits %d", i, n, n-1)
		}
	}
}

// TestPaddingAgainstPion: padded up to its train's size, a packet is the same
// packet to pion, has the same bytes when it is written again, and needs no more
// room than it has; a retransmission has no padding.
func TestPaddingAgainstPion(t *testing.T) {
	r := rand.New(rand.NewPCG(3550, 5))
	padded := 0
	for i := range 5000 {
		m, k := randomMap(r), randomKept(r)
		b, again := bytes.Repeat([]byte{0xee}, 4096), bytes.Repeat([]byte{0x11}, 4096)
		plain, _ := write(m, b, k)
		rtx := writeRTX(m, b, k)
		k.Fill = uint16(len(k.data) + r.IntN(300))
		n, _ := write(m, b, k)
		if n2, _ := write(m, again, k); n2 != n || !bytes.Equal(again[:n], b[:n]) {
			t.Fatalf("packet %d becomes other bytes when written again", i)
		}
		var p rtp.Packet
		if err := p.Unmarshal(b[:n]); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(p.Payload, k.payload) || int(p.PaddingSize) != n-plain || p.Padding != (n > plain) {
			t.Fatalf("packet %d: payload of %d bytes, padding of %d, in %d; want %d in %d without padding", i, len(p.Payload), p.PaddingSize, n, len(k.payload), plain)
		}
		for at := range n - plain - 1 {
			if b[plain+at] != 0 {
				t.Fatalf("packet %d: what was in the buffer is in the padding", i)
			}
		}
		if n > plain {
			padded++
			if want := 12 + int(m.midRoom) + int(k.Fill); n != want {
				t.Fatalf("packet %d has %d bytes, want %d", i, n, want)
			}
			if short, _ := write(m, b[:n-1:n-1], k); short != 0 {
				t.Fatalf("packet %d of %d bytes fits %d", i, n, n-1)
			}
		}
		if again := writeRTX(m, b, k); again != rtx {
			t.Fatalf("packet %d: a retransmission of %d bytes has %d with padding", i, rtx, again)
		}
	}
	if padded < 1000 {
		t.Errorf("only %d packets were padded", padded)
	}
}

func TestMIDNeedsAgreementAndRoom(t *testing.T) {
	var m Map
	m.SetMID("0")
	if m.midLen != 0 {
		t.Error("a MID without an extension id is kept")
	}
	m.IDs[wire.ExtMID] = 3
	m.SetMID(strings.Repeat("m", maxMID+1))
	if m.midLen != 0 {
		t.Error("a MID that is too long is kept")
	}
}

func TestWritingAllocatesNothing(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	m, k, b := randomMap(r), randomKept(r), make([]byte, 2048)
	var s Splice
	source, n := uint64(0), 0
	allocs := testing.AllocsPerRun(200, func() {
		source++
		s.Source(source / 20)
		seq, _, _ := s.Map(source+1<<20, 0, at(0), rate)
		k.Seq = seq
		size, _ := write(m, b, k)
		n += size + writeRTX(m, b, k)
	})
	if allocs != 0 || n == 0 {
		t.Errorf("%v allocations for %d bytes", allocs, n)
	}
}
