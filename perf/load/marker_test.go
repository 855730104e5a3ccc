package load

import (
	"bytes"
	"testing"

	"github.com/pion/rtp/codecs"
)

func TestMarkerIsFoundWhereverItIs(t *testing.T) {
	want := marker{video, 1<<40 + 7, 1234567890123456789}
	for _, offset := range []int{0, 1, 4, 14, 1000} {
		b := bytes.Repeat([]byte{filler}, offset+markerSize+10)
		want.put(b[offset:])
		got, rest, ok := findMarker(b)
		if !ok || got != want || len(rest) != 10 {
			t.Errorf("at %d: %+v, %d bytes left, %v", offset, got, len(rest), ok)
		}
	}
}

func TestTwoMarkersInOnePayload(t *testing.T) {
	b := make([]byte, 100)
	marker{audio, 1, 2}.put(b[10:])
	marker{video, 3, 4}.put(b[60:])
	first, rest, ok := findMarker(b)
	if !ok || first != (marker{audio, 1, 2}) {
		t.Fatalf("first is %+v, %v", first, ok)
	}
	second, rest, ok := findMarker(rest)
	if !ok || second != (marker{video, 3, 4}) {
		t.Fatalf("second is %+v, %v", second, ok)
	}
	if _, _, ok := findMarker(rest); ok {
		t.Fatal("found a third one")
	}
}

func TestSpoiltMarkersAreNotFound(t *testing.T) {
	good := make([]byte, markerSize)
	marker{video, 3, 4}.put(good)
	badKind := bytes.Clone(good)
	badKind[7] = byte(kinds)
	badMagic := bytes.Clone(good)
	badMagic[0]++
	for name, b := range map[string][]byte{"empty": nil, "cut": good[:markerSize-1], "kind": badKind, "magic": badMagic} {
		if m, _, ok := findMarker(b); ok {
			t.Errorf("%s: found %+v", name, m)
		}
	}
}

func TestVP8Payload(t *testing.T) {
	for _, c := range []struct{ first, key bool }{{true, true}, {true, false}, {false, true}, {false, false}} {
		payload := make([]byte, 1126)
		want := marker{video, 5, 6}
		vp8Payload(payload, 0x7FFF, c.first, c.key, want)
		var vp8 codecs.VP8Packet
		frame, err := vp8.Unmarshal(payload)
		if err != nil {
			t.Fatal(err)
		}
		if vp8.S == 1 != c.first || vp8.PID != 0 || vp8.PictureID != 0x7FFF {
			t.Errorf("%+v: descriptor is %+v", c, vp8)
		}
		isKey := c.first && frame[0]&1 == 0 && bytes.Equal(frame[3:10], []byte{0x9d, 0x01, 0x2a, 0x00, 0x05, 0xD0, 0x02})
		if isKey != (c.first && c.key) || startsKeyframe(payload) != isKey {
			t.Errorf("%+v: frame starts with %x, startsKeyframe %v", c, frame[:10], startsKeyframe(payload))
		}
		if got, _, ok := findMarker(payload); !ok || got != want {
			t.Errorf("%+v: marker is %+v, %v", c, got, ok)
		}
	}
}

func TestStartsKeyframeBehindAnyDescriptor(t *testing.T) {
	for _, c := range []struct {
		descriptor []byte
		first      bool
	}{
		{[]byte{0x10}, true},
		{[]byte{0x30}, true},
		{[]byte{0x90, 0x80, 0x05}, true},
		{[]byte{0x90, 0x80, 0x85, 0x01}, true},
		{[]byte{0x90, 0xC0, 0x85, 0x01, 0x09}, true},
		{[]byte{0x90, 0xF0, 0x85, 0x01, 0x09, 0xE1}, true},
		{[]byte{0x90, 0x20, 0xE1}, true},
		{[]byte{0x00}, false},
		{[]byte{0x11}, false}, // another partition
		{[]byte{0x80, 0x80, 0x85, 0x01}, false},
	} {
		key, inter := append(bytes.Clone(c.descriptor), 0x10, 2, 3), append(bytes.Clone(c.descriptor), 0x11, 2, 3)
		if startsKeyframe(key) != c.first || startsKeyframe(inter) {
			t.Errorf("behind %x: keyframe %v, interframe %v", c.descriptor, startsKeyframe(key), startsKeyframe(inter))
		}
		for n := range c.descriptor {
			if startsKeyframe(c.descriptor[:n]) {
				t.Errorf("%x cut at %d is a keyframe", c.descriptor, n)
			}
		}
	}
}
