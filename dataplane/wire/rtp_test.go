package wire

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pion/rtp"
)

// The oracle is github.com/pion/rtp.

type element struct {
	id   uint8
	data []byte
}

func readExts(r ExtReader) []element {
	var out []element
	for id, data, ok := r.Next(); ok; id, data, ok = r.Next() {
		out = append(out, element{id, data})
	}
	return out
}

func randomPacket(r *rand.Rand) *rtp.Packet {
	p := &rtp.Packet{Header: rtp.Header{
		Version: 2, Marker: r.IntN(2) == 0, PayloadType: uint8(r.IntN(128)),
		SequenceNumber: uint16(r.Uint32()), Timestamp: r.Uint32(), SSRC: r.Uint32(),
	}}
	for range r.IntN(16) {
		p.CSRC = append(p.CSRC, r.Uint32())
	}
	if profile := []uint16{0, rtp.ExtensionProfileOneByte, rtp.ExtensionProfileTwoByte}[r.IntN(3)]; profile != 0 {
		p.Extension, p.ExtensionProfile = true, profile
		for id := range uint8(1 + r.IntN(14)) {
			size := 1 + r.IntN(16)
			if profile == rtp.ExtensionProfileTwoByte {
				size = r.IntN(256)
			}
			data := make([]byte, size)
			for i := range data {
				data[i] = byte(r.Uint32())
			}
			if err := p.SetExtension(id+1, data); err != nil {
				panic(err)
			}
		}
	}
	p.Payload = make([]byte, r.IntN(1200))
	for i := range p.Payload {
		p.Payload[i] = byte(r.Uint32())
	}
	if r.IntN(4) == 0 {
		p.Padding, p.PaddingSize = true, uint8(1+r.IntN(255))
	}
	return p
}

func TestRTPReadsWhatPionWrites(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3550))
	for range 5000 {
		p := randomPacket(r)
		b, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		var h RTP
		if !ParseRTP(b, &h) {
			t.Fatalf("refused: %v", p)
		}
		if h.Marker != p.Marker || h.Padding != p.Padding || h.PT != p.PayloadType || h.Seq != p.SequenceNumber ||
			h.TS != p.Timestamp || h.SSRC != p.SSRC || int(h.CSRC) != len(p.CSRC) || h.HasExt != p.Extension {
			t.Fatalf("read %+v of %v", h, p)
		}
		n, ok := h.PayloadLen(b)
		if !ok || !bytes.Equal(b[h.HeaderLen:h.HeaderLen+n], p.Payload) {
			t.Fatalf("payload of %d bytes, want %d: %v", n, len(p.Payload), p)
		}
		got := readExts(h.Exts(b))
		for i, id := range p.GetExtensionIDs() {
			if i >= len(got) || got[i].id != id || !bytes.Equal(got[i].data, p.GetExtension(id)) {
				t.Fatalf("extension elements %v of %v", got, p)
			}
		}
		if len(got) != len(p.GetExtensionIDs()) {
			t.Fatalf("%d extension elements, want %d", len(got), len(p.GetExtensionIDs()))
		}
	}
}

// TestRTPLies is the attack table's row about RTP: each length that points
// outside the packet.
func TestRTPLies(t *testing.T) {
	fixed := []byte{0x80, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3}
	with := func(first byte, more ...byte) []byte {
		b := append(bytes.Clone(fixed), more...)
		b[0] = first
		return b
	}
	for _, v := range []struct {
		name        string
		b           []byte
		header, pay bool
	}{
		{"whole, empty payload", with(0x80), true, true},
		{"empty", nil, false, false},
		{"eleven bytes", fixed[:11], false, false},
		{"version 1", with(0x40), false, false},
		{"version 3", with(0xc0), false, false},
		{"CSRC count past the end", with(0x81), false, false},
		{"fifteen CSRCs, fourteen there", with(0x8f, make([]byte, 56)...), false, false},
		{"fifteen CSRCs", with(0x8f, make([]byte, 60)...), true, true},
		{"extension without its head", with(0x90, 0xbe, 0xde), false, false},
		{"extension length past the end", with(0x90, 0xbe, 0xde, 0, 1), false, false},
		{"extension length 65535 words", with(0x90, 0xbe, 0xde, 0xff, 0xff), false, false},
		{"empty extension", with(0x90, 0xbe, 0xde, 0, 0), true, true},
		{"padding bit, nothing there", with(0xa0), true, false},
		{"padding 0", with(0xa0, 1, 2, 0), true, false},
		{"padding longer than the payload", with(0xa0, 1, 2, 4), true, false},
		{"only padding", with(0xa0, 0, 0, 3), true, true},
		{"padding 255 of 3", with(0xa0, 1, 2, 255), true, false},
	} {
		var h RTP
		header := ParseRTP(v.b, &h)
		pay := false
		if header {
			_, pay = h.PayloadLen(v.b)
			readExts(h.Exts(v.b))
		}
		if header != v.header || pay != v.pay {
			t.Errorf("%s: header %v, payload %v, want %v, %v", v.name, header, pay, v.header, v.pay)
		}
	}
}

func TestExtElements(t *testing.T) {
	packet := func(profile uint16, body ...byte) []byte {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		b := []byte{0x90, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, byte(profile >> 8), byte(profile), 0, byte(len(body) / 4)}
		return append(b, body...)
	}
	for _, v := range []struct {
		name string
		b    []byte
		ids  []uint8
	}{
		{"padding before, between and behind", packet(ExtProfileOneByte, 0, 0x10, 7, 0, 0x20, 7), []uint8{1, 2}},
		{"id 15 ends the walk", packet(ExtProfileOneByte, 0x10, 7, 0xf0, 7, 0x20, 7), []uint8{1}},
		{"id 0 with a length ends the walk", packet(ExtProfileOneByte, 0x10, 7, 0x01, 7, 7, 0x20, 7), []uint8{1}},
		{"element past the end", packet(ExtProfileOneByte, 0x10, 7, 0x2f, 7), []uint8{1}},
		{"two-byte form", packet(ExtProfileTwoByte, 1, 0, 15, 1, 7, 0, 200, 2, 8, 9), []uint8{1, 15, 200}},
		{"two-byte form with appbits", packet(ExtProfileTwoByte|5, 1, 1, 7), []uint8{1}},
		{"two-byte element past the end", packet(ExtProfileTwoByte, 1, 1, 7, 2, 9), []uint8{1}},
		{"two-byte element cut before its length", packet(ExtProfileTwoByte, 1, 1, 7, 2), []uint8{1}},
		{"another profile", packet(0x4242, 0x10, 7), nil},
	} {
		var h RTP
		if !ParseRTP(v.b, &h) {
			t.Fatalf("%s: refused", v.name)
		}
		var ids []uint8
		for _, e := range readExts(h.Exts(v.b)) {
			ids = append(ids, e.id)
		}
		if !slices.Equal(ids, v.ids) {
			t.Errorf("%s: ids %v, want %v", v.name, ids, v.ids)
		}
	}
}

func TestParsingAllocatesNothing(t *testing.T) {
	packet, _ := randomPacket(rand.New(rand.NewPCG(1, 2))).Marshal()
	request := []byte(vectorRequest)
	n := 0
	allocs := testing.AllocsPerRun(100, func() {
		var h RTP
		var m STUN
		if ParseRTP(packet, &h) && ParseSTUN(request, &m) {
			r := h.Exts(packet)
			for _, _, ok := r.Next(); ok; _, _, ok = r.Next() {
				n++
			}
			n += len(m.LocalUfrag())
		}
	})
	if allocs != 0 || n == 0 {
		t.Errorf("%v allocations, %d read", allocs, n)
	}
}

// FuzzRTP holds that nothing panics, that reading changes nothing, and that
// where pion and we accept a packet we read the same.
func FuzzRTP(f *testing.F) {
	r := rand.New(rand.NewPCG(8, 8285))
	for range 20 {
		b, _ := randomPacket(r).Marshal()
		f.Add(b)
	}
	f.Add([]byte{0xb1, 96, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0xbe, 0xde, 0, 1, 0xf0, 1, 0x10, 2, 9, 9, 2})
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var h RTP
		if !ParseRTP(b, &h) {
			return
		}
		got := readExts(h.Exts(b))
		n, ok := h.PayloadLen(b)
		if !bytes.Equal(b, before) {
			t.Fatal("reading changed the packet")
		}
		var theirs rtp.Packet
		if err := theirs.Unmarshal(b); err != nil {
			return
		}
		if h.Marker != theirs.Marker || h.Padding != theirs.Padding || h.PT != theirs.PayloadType || h.Seq != theirs.SequenceNumber ||
			h.TS != theirs.Timestamp || h.SSRC != theirs.SSRC || int(h.CSRC) != len(theirs.CSRC) {
			t.Fatalf("we read %+v, pion %v", h, theirs)
		}
		if !ok || !bytes.Equal(b[h.HeaderLen:h.HeaderLen+n], theirs.Payload) {
			t.Fatalf("payload of %d bytes (%v), pion's is %d", n, ok, len(theirs.Payload))
		}
		if h.ExtProfile != ExtProfileOneByte && h.ExtProfile != ExtProfileTwoByte {
			return
		}
		ids := theirs.GetExtensionIDs()
		if len(ids) != len(got) {
			t.Fatalf("extension elements %v, pion's ids %v", got, ids)
		}
		for i, id := range ids {
			if got[i].id != id {
				t.Fatalf("extension elements %v, pion's ids %v", got, ids)
			}
		}
	})
}
