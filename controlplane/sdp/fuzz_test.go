package sdp

import (
	"path/filepath"
	"strings"
	"testing"
)

// Hostile offers never panic, and whatever is accepted is answered with sound SDP
// that names the offered m-sections in their order.
func FuzzOffer(f *testing.F) {
	files, err := filepath.Glob("testdata/*.sdp")
	if err != nil || len(files) == 0 {
		f.Fatalf("no seeds, %v", err)
	}
	for _, file := range files {
		f.Add([]byte(recorded(f, strings.TrimSuffix(filepath.Base(file), ".sdp"))))
	}
	f.Add([]byte(good))
	f.Add([]byte(good + dataSection))
	f.Fuzz(func(t *testing.T, body []byte) {
		o, err := Parse(body)
		if err != nil {
			checkError(t, err)
			return
		}
		if s, err := o.Publish(); err != nil {
			checkError(t, err)
		} else {
			checkSelection(t, o, s)
		}
		for _, tracks := range [][]Track{avTracks, {vp8Track}, {opusTrack}, nil} {
			if s, err := o.Subscribe(tracks); err != nil {
				checkError(t, err)
			} else {
				checkSelection(t, o, own(s))
			}
		}
	})
}

func checkSelection(t *testing.T, o *Offer, s *Selection) {
	answer := s.Answer(testLocal())
	checkAnswer(t, answer)
	if n := strings.Count("\n"+string(answer), "\nm="); n != len(o.sections) || len(s.Fingerprints) == 0 {
		t.Fatalf("%d m-lines for %d offered, fingerprints %v", n, len(o.sections), s.Fingerprints)
	}
	for _, m := range s.Media {
		if m.Accepted && (m.Format.Codec == 0 || m.PT > 127 || m.RTXPT != 0 && m.PT == m.RTXPT || m.MID == "") {
			t.Fatalf("%+v", m)
		}
	}
}

// checkError sees that an error is of the documented kinds and fits a problem document.
func checkError(t *testing.T, err error) {
	switch err.(type) {
	case *Error, *Mismatch:
	default:
		t.Fatalf("a %T: %v", err, err)
	}
	if text := err.Error(); len(text) > 16<<10 || strings.ContainsAny(text, "\r\n\x00") {
		t.Fatalf("%q", text)
	}
}
