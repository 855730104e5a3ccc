package wire

import "testing"

// TestClassifyEveryFirstByte walks RFC 7983 section 7 from 0 to 255; ZRTP
// (16-19) and TURN channels (64-79) are not spoken here.
func TestClassifyEveryFirstByte(t *testing.T) {
	for first := range 256 {
		want := ProtoUnknown
		switch {
		case first <= 3:
			want = ProtoSTUN
		case first >= 20 && first <= 63:
			want = ProtoDTLS
		case first >= 128 && first <= 191:
			want = ProtoRTP
		}
		if got := Classify([]byte{byte(first), 0, 0}); got != want {
			t.Errorf("first byte %d is %d, want %d", first, got, want)
		}
		if got := Classify([]byte{byte(first)}); got != want {
			t.Errorf("first byte %d alone is %d, want %d", first, got, want)
		}
	}
	if Classify(nil) != ProtoUnknown {
		t.Error("an empty datagram speaks a protocol")
	}
}

// TestClassifyEverySecondByte holds RFC 5761 section 4: packet types 192 to 223
// are RTCP, all else is RTP with or without the marker.
func TestClassifyEverySecondByte(t *testing.T) {
	for second := range 256 {
		want := ProtoRTP
		if second >= 192 && second <= 223 {
			want = ProtoRTCP
		}
		if got := Classify([]byte{0x80, byte(second)}); got != want {
			t.Errorf("second byte %d is %d, want %d", second, got, want)
		}
	}
}

func TestDropNames(t *testing.T) {
	seen := map[string]bool{}
	for d := range NumDrop {
		if name := d.String(); name == "" || seen[name] {
			t.Errorf("reason %d has the name %q: missing or taken", d, name)
		} else {
			seen[name] = true
		}
	}
	if len(DropNames()) != int(NumDrop) {
		t.Error("a name for each reason is wanted")
	}
}

func TestExtURIs(t *testing.T) {
	for e := ExtMID; e < NumExt; e++ {
		if e.URI() == "" || ExtByURI(e.URI()) != e {
			t.Errorf("extension %d: URI %q leads to %d", e, e.URI(), ExtByURI(e.URI()))
		}
		if e.Forwarded() != (e > ExtTransportCC) {
			t.Errorf("extension %d: Forwarded is %v", e, e.Forwarded())
		}
	}
	if ExtByURI("urn:ietf:params:rtp-hdrext:unknown") != ExtNone || ExtByURI("") != ExtNone || ExtNone.Forwarded() || NumExt.Forwarded() {
		t.Error("what is not known has a name")
	}
}
