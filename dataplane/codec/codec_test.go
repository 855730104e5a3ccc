package codec

import (
	"bytes"
	"testing"
)

// vector is a payload made by hand, with what it is.
type vector struct {
	name    string
	payload []byte
	start   bool
}

func check(t *testing.T, c Codec, vectors []vector) {
	t.Helper()
	for _, v := range vectors {
		if got := KeyframeStart(c, v.payload); got != v.start {
			t.Errorf("%v, %s: KeyframeStart(% x) = %v, want %v", c, v.name, v.payload, got, v.start)
		}
	}
	for _, v := range vectors {
		if v.start {
			continue
		}
		// No part of what is no start is one.
		for n := range v.payload {
			if KeyframeStart(c, v.payload[:n]) {
				t.Errorf("%v, %s, cut to %d bytes: a start", c, v.name, n)
			}
		}
	}
}

func TestNames(t *testing.T) {
	for c, want := range map[Codec]string{
		Unknown: "unknown", Opus: "opus", PCMU: "PCMU", PCMA: "PCMA", G722: "G722",
		VP8: "VP8", VP9: "VP9", H264: "H264", H265: "H265", AV1: "AV1", AV1 + 1: "unknown",
	} {
		if got := c.String(); got != want {
			t.Errorf("Codec(%d).String() = %q, want %q", c, got, want)
		}
	}
}

func TestAudioAlwaysStarts(t *testing.T) {
	for _, c := range []Codec{Opus, PCMU, PCMA, G722} {
		if !KeyframeStart(c, nil) || !KeyframeStart(c, []byte{0xff}) {
			t.Errorf("%v does not start at every packet", c)
		}
	}
}

func TestEmptyPayloadNeverStartsVideo(t *testing.T) {
	for _, c := range []Codec{Unknown, VP8, VP9, H264, H265, AV1} {
		if KeyframeStart(c, nil) {
			t.Errorf("%v starts at an empty payload", c)
		}
	}
}

func TestVP8(t *testing.T) {
	const key, inter = 0x10, 0x11 // payload headers: shown, P clear and set
	check(t, VP8, []vector{
		{"key frame, one byte of descriptor", []byte{0x10, key}, true},
		{"key frame, not a reference (N)", []byte{0x30, key}, true},
		{"inter frame", []byte{0x10, inter}, false},
		{"no start of a partition", []byte{0x00, key}, false},
		{"second partition", []byte{0x11, key}, false},
		{"X without fields", []byte{0x90, 0x00, key}, true},
		{"short picture id", []byte{0x90, 0x80, 0x7f, key}, true},
		{"short picture id, inter frame", []byte{0x90, 0x80, 0x7e, inter}, false},
		{"long picture id", []byte{0x90, 0x80, 0x81, 0x01, key}, true},
		{"long picture id, inter frame", []byte{0x90, 0x80, 0x80, 0x00, inter}, false},
		{"TL0PICIDX", []byte{0x90, 0x40, 0x01, key}, true},
		{"TID", []byte{0x90, 0x20, 0x01, key}, true},
		{"KEYIDX", []byte{0x90, 0x10, 0x01, key}, true},
		{"TID and KEYIDX share a byte", []byte{0x90, 0x30, 0x01, key}, true},
		{"all fields", []byte{0x90, 0xf0, 0x80, 0x00, 0x00, 0x00, key}, true},
		{"all fields, inter frame", []byte{0x90, 0xf0, 0x80, 0x00, 0x00, 0x00, inter}, false},
		{"descriptor without payload", []byte{0x90, 0xf0, 0x80, 0x00, 0x00, 0x00}, false},
		{"descriptor cut short", []byte{0x90, 0x80}, false},
	})
}

func TestVP9(t *testing.T) {
	check(t, VP9, []vector{
		{"key frame, no fields", []byte{0x08, 0x82}, true},
		{"inter frame", []byte{0x48, 0x86}, false},
		{"not the beginning", []byte{0x00, 0x82}, false},
		{"short picture id", []byte{0x88, 0x01, 0x82}, true},
		{"long picture id, layer 0", []byte{0xa8, 0x80, 0x80, 0x00, 0x00, 0x82}, true},
		{"short picture id, layer 0", []byte{0xa8, 0x01, 0x00, 0x00, 0x82}, true},
		{"layer byte only", []byte{0x28, 0x00, 0x00, 0x82}, true},
		{"spatial layer 1 of a key picture", []byte{0xa8, 0x01, 0x03, 0x00, 0x82}, false},
		{"spatial layer 1 after a long picture id", []byte{0xa8, 0x81, 0x00, 0x02, 0x00, 0x82}, false},
		{"flexible mode: no TL0PICIDX", []byte{0xb8, 0x01, 0x00, 0x82}, true},
		{"cut before the layer byte", []byte{0xa8, 0x81, 0x00}, false},
		{"cut before the frame", []byte{0xa8, 0x01, 0x00, 0x00}, false},

		// Frame headers: marker 10, profile, show_existing_frame, frame_type.
		{"inter frame of a sender that never sets P", []byte{0x08, 0x86}, false},
		{"shows an existing frame", []byte{0x08, 0x88}, false},
		{"no frame marker", []byte{0x08, 0x42}, false},
		{"profile 1", []byte{0x08, 0xa2}, true},
		{"profile 3", []byte{0x08, 0xb0}, true},
		{"profile 3, inter frame", []byte{0x08, 0xb2}, false},
		{"profile 3, shows an existing frame", []byte{0x08, 0xb4}, false},

		{"empty scalability structure", []byte{0x9a, 0x01, 0x00, 0x82}, true},
		{"two sizes", []byte{0x0a, 0x30, 1, 2, 3, 4, 5, 6, 7, 8, 0x82}, true},
		{"two sizes, inter frame", []byte{0x0a, 0x30, 1, 2, 3, 4, 5, 6, 7, 8, 0x86}, false},
		{"group of three with 0, 1 and 2 references", []byte{0x0a, 0x08, 3, 0x00, 0x44, 1, 0x28, 1, 2, 0x82}, true},
		{"size and group", []byte{0x0a, 0x18, 1, 2, 3, 4, 1, 0x04, 1, 0x82}, true},
		{"size and group, inter frame", []byte{0x0a, 0x18, 1, 2, 3, 4, 1, 0x04, 1, 0x86}, false},
		{"structure cut short", []byte{0x0a, 0x18, 1, 2, 3, 4, 200, 0x0c}, false},
	})
}

// What the vectors of H264 and H265 are made of.
var (
	h264SPSUnit  = []byte{0x67, 0x42, 0xe0, 0x1f, 0xda}
	h264PPSUnit  = []byte{0x68, 0xce, 0x3c, 0x80}
	h264AUD      = []byte{0x09, 0xf0}
	h264FirstIDR = []byte{0x65, 0xb8, 0x00}
	h264LaterIDR = []byte{0x65, 0x03, 0x40}
	h264NonIDR   = []byte{0x41, 0x9a, 0x00}

	h265VPSUnit  = []byte{0x40, 0x01, 0x0c}
	h265SPSUnit  = []byte{0x42, 0x01, 0x01}
	h265PPSUnit  = []byte{0x44, 0x01, 0xc1}
	h265FirstIDR = []byte{0x26, 0x01, 0xaf}
	h265LaterIDR = []byte{0x26, 0x01, 0x0f}
	h265FirstCRA = []byte{0x2a, 0x01, 0x80}
	h265Trail    = []byte{0x02, 0x01, 0xd0}
	h265Reserved = []byte{22 << 1, 0x01, 0x80}
)

// aggregate puts NAL units behind an aggregation header, each after its length.
func aggregate(header []byte, units ...[]byte) []byte {
	b := bytes.Clone(header)
	for _, u := range units {
		b = append(append(b, byte(len(u)>>8), byte(len(u))), u...)
	}
	return b
}

func TestH264(t *testing.T) {
	stapA := []byte{24}
	check(t, H264, []vector{
		{"SPS", h264SPSUnit, true},
		{"first slice of an IDR picture", h264FirstIDR, true},
		{"later slice of an IDR picture", h264LaterIDR, false},
		{"PPS", h264PPSUnit, false},
		{"AUD", h264AUD, false},
		{"other slice", h264NonIDR, false},
		{"STAP-A of SPS and PPS", aggregate(stapA, h264SPSUnit, h264PPSUnit), true},
		{"STAP-A of AUD, SPS, PPS, IDR", aggregate(stapA, h264AUD, h264SPSUnit, h264PPSUnit, h264FirstIDR), true},
		{"STAP-A of PPS and IDR", aggregate(stapA, h264PPSUnit, h264FirstIDR), true},
		{"STAP-A of AUD and other slice", aggregate(stapA, h264AUD, h264NonIDR), false},
		{"STAP-A with an empty unit, then SPS", aggregate(stapA, nil, h264SPSUnit), true},
		{"STAP-A whose length lies", []byte{24, 0x00, 0x09, 0x67, 0x42}, false},
		{"FU-A start of IDR", []byte{0x7c, 0x85, 0x88, 0x84}, true},
		{"FU-A start of a later IDR slice", []byte{0x7c, 0x85, 0x03, 0x40}, false},
		{"FU-A middle of IDR", []byte{0x7c, 0x05, 0x88, 0x84}, false},
		{"FU-A end of IDR", []byte{0x7c, 0x45, 0x88, 0x84}, false},
		{"FU-A start of SPS", []byte{0x7c, 0x87, 0x42, 0xe0}, true},
		{"FU-A start of other slice", []byte{0x5c, 0x81, 0x9a, 0x00}, false},
	})
}

func TestH264Profile(t *testing.T) {
	for _, v := range []struct {
		name    string
		payload []byte
		want    uint32
		ok      bool
	}{
		{"constrained baseline 3.1 alone", h264SPSUnit, 0x42e01f, true},
		{"high 4.0 in a STAP-A", aggregate([]byte{24}, h264AUD, []byte{0x67, 0x64, 0x00, 0x28, 0xac}), 0x640028, true},
		{"first of two", aggregate([]byte{24}, h264SPSUnit, []byte{0x67, 0x64, 0x00, 0x28}), 0x42e01f, true},
		{"SPS cut short, then a whole one", aggregate([]byte{24}, []byte{0x67, 0x64, 0x00}, h264SPSUnit), 0x42e01f, true},
		{"no SPS in a STAP-A", aggregate([]byte{24}, h264AUD, h264PPSUnit), 0, false},
		{"IDR", append(h264FirstIDR, 0, 0, 0), 0, false},
		{"SPS cut short", []byte{0x67, 0x42, 0xe0}, 0, false},
		{"empty", nil, 0, false},
	} {
		if got, ok := H264Profile(v.payload); got != v.want || ok != v.ok {
			t.Errorf("%s: H264Profile(% x) = %06x, %v, want %06x, %v", v.name, v.payload, got, ok, v.want, v.ok)
		}
	}
}

func TestH265(t *testing.T) {
	ap := []byte{48 << 1, 0x01}
	fu := func(bits byte, kind byte, content ...byte) []byte {
		return append([]byte{49 << 1, 0x01, bits | kind}, content...)
	}
	check(t, H265, []vector{
		{"VPS", h265VPSUnit, true},
		{"SPS", h265SPSUnit, true},
		{"PPS", h265PPSUnit, false},
		{"first slice of an IDR picture", h265FirstIDR, true},
		{"later slice of an IDR picture", h265LaterIDR, false},
		{"first slice of a CRA picture", h265FirstCRA, true},
		{"trailing picture", h265Trail, false},
		{"reserved type 22", h265Reserved, false},
		{"BLA, the first IRAP type", []byte{16 << 1, 0x01, 0x80}, true},
		{"type 15, below the IRAP types", []byte{15 << 1, 0x01, 0x80}, false},
		{"AP of VPS, SPS, PPS", aggregate(ap, h265VPSUnit, h265SPSUnit, h265PPSUnit), true},
		{"AP of PPS and IDR", aggregate(ap, h265PPSUnit, h265FirstIDR), true},
		{"AP of PPS and trailing picture", aggregate(ap, h265PPSUnit, h265Trail), false},
		{"AP whose length lies", []byte{48 << 1, 0x01, 0x00, 0x09, 0x40, 0x01, 0x0c}, false},
		{"FU start of IDR", fu(0x80, 19, 0xaf, 0x00), true},
		{"FU start of a later IDR slice", fu(0x80, 19, 0x0f, 0x00), false},
		{"FU middle of IDR", fu(0x00, 19, 0xaf, 0x00), false},
		{"FU end of IDR", fu(0x40, 19, 0xaf, 0x00), false},
		{"FU start of SPS", fu(0x80, 33, 0x01, 0x00), true},
		{"FU start of trailing picture", fu(0x80, 1, 0xd0, 0x00), false},
	})
}

func TestAV1(t *testing.T) {
	const sequenceHeader, frame = 1 << 3, 6 << 3 // OBU headers without extension and size
	check(t, AV1, []vector{
		{"N set", []byte{0x18, sequenceHeader, 0x00}, true},
		{"N set, W = 2", []byte{0x28, 0x02, sequenceHeader, 0x00, frame, 0x00}, true},
		{"N set on a continuation is a contradiction", []byte{0x98, sequenceHeader, 0x00}, false},
		{"aggregation header alone", []byte{0x18}, false},
		{"one frame", []byte{0x10, frame, 0x00}, false},
		{"one sequence header without N", []byte{0x10, sequenceHeader, 0x00}, true},
		{"W = 2, sequence header first", []byte{0x20, 0x02, sequenceHeader, 0x00, frame, 0x00}, true},
		{"W = 2, frame first", []byte{0x20, 0x02, frame, 0x00, sequenceHeader, 0x00}, false},
		{"W = 0, sequence header first", []byte{0x00, 0x02, sequenceHeader, 0x00}, true},
		{"length of two bytes", append([]byte{0x20, 0x81, 0x01, sequenceHeader}, make([]byte, 140)...), true},
		{"length of two bytes, frame first", append([]byte{0x20, 0x81, 0x01, frame}, make([]byte, 140)...), false},
		{"length without an end", []byte{0x20, 0xff, 0xff, 0xff, 0xff}, false},
		{"continuation that looks like a sequence header", []byte{0x90, sequenceHeader, 0x00}, false},
	})
}

func TestAllocates(t *testing.T) {
	stap := aggregate([]byte{24}, h264AUD, h264PPSUnit, h264SPSUnit)
	ap := aggregate([]byte{48 << 1, 1}, h265PPSUnit, h265FirstIDR)
	starts := 0
	allocs := testing.AllocsPerRun(100, func() {
		for c := Unknown; c <= AV1; c++ {
			if KeyframeStart(c, stap) || KeyframeStart(c, ap) {
				starts++
			}
		}
		if _, ok := H264Profile(stap); ok {
			starts++
		}
	})
	if allocs != 0 || starts == 0 {
		t.Errorf("%v allocations with %d starts, want none and some", allocs, starts)
	}
}

// FuzzKeyframeStart holds against any bytes that nothing panics, that reading
// changes nothing, and that a SPS whose profile is readable is a start.
func FuzzKeyframeStart(f *testing.F) {
	f.Add(uint8(VP8), []byte{0x90, 0xf0, 0x80, 0x00, 0x00, 0x00, 0x10})
	f.Add(uint8(VP9), []byte{0xa8, 0x80, 0x80, 0x00, 0x00, 0x82})
	f.Add(uint8(H264), aggregate([]byte{24}, h264AUD, h264SPSUnit, h264PPSUnit, h264FirstIDR))
	f.Add(uint8(H264), []byte{0x7c, 0x85, 0x88, 0x84})
	f.Add(uint8(H265), aggregate([]byte{48 << 1, 1}, h265VPSUnit, h265SPSUnit, h265PPSUnit))
	f.Add(uint8(H265), []byte{49 << 1, 1, 0x80 | 19, 0xaf})
	f.Add(uint8(AV1), []byte{0x20, 0x81, 0x01, 0x08})
	f.Fuzz(func(t *testing.T, c uint8, payload []byte) {
		before := bytes.Clone(payload)
		KeyframeStart(Codec(c), payload)
		if _, ok := H264Profile(payload); ok && !KeyframeStart(H264, payload) {
			t.Errorf("% x has a SPS but is no start", payload)
		}
		if !bytes.Equal(payload, before) {
			t.Error("reading changed the payload")
		}
	})
}
