package janus

import (
	_ "embed"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"

	"sluice/perf/client"
)

// What Janus 1.1.2 offers a viewer of a stream of Opus and VP8, and what the load generator's viewers offer.
var (
	//go:embed testdata/janus.sdp
	janusOffer string
	//go:embed testdata/viewer.sdp
	viewerOffer string
)

// Each side gets an answer to what it offered, with the other side's transport; one of them is the DTLS client, and only Janus is an
// ICE-lite agent.
func TestReverse(t *testing.T) {
	toJanus, toViewer, err := reverse(janusOffer, viewerOffer)
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, text, ufrag, direction, setup string
		lite                                bool
	}{
		{"to Janus", toJanus, "fbb1c738", "recvonly", "passive", false},
		{"to the viewer", toViewer, "epOZ", "sendonly", "active", true},
	} {
		var d sdp.SessionDescription
		if err := d.Unmarshal([]byte(test.text)); err != nil {
			t.Fatalf("%s: %v\n%s", test.name, err, test.text)
		}
		if _, lite := d.Attribute("ice-lite"); lite != test.lite {
			t.Errorf("%s: ice-lite is %v", test.name, lite)
		}
		if len(d.MediaDescriptions) != 2 {
			t.Fatalf("%s: %d m-sections", test.name, len(d.MediaDescriptions))
		}
		for _, m := range d.MediaDescriptions {
			_, direction := m.Attribute(test.direction)
			ufrag, _ := m.Attribute("ice-ufrag")
			setup, _ := m.Attribute("setup")
			if !direction || ufrag != test.ufrag || setup != test.setup {
				t.Errorf("%s: m=%s is\n%v", test.name, m.MediaName.Media, m.Attributes)
			}
		}
	}
	a, err := client.Offer{}.ParseAnswer([]byte(toViewer))
	if err != nil || !a.Active || !a.Lite || !a.RTX || len(a.Candidates) != 1 || a.Candidates[0].Port() != 36240 {
		t.Errorf("the viewer reads %+v, %v", a, err)
	}
	if !strings.Contains(toViewer, "a=ssrc-group:FID 2450178039 3434680293") {
		t.Error("the viewer is not told of Janus' SSRCs")
	}
}

func TestWhatDoesNotFit(t *testing.T) {
	for name, change := range map[string]*strings.Replacer{
		"another payload type": strings.NewReplacer("SAVPF 96 97", "SAVPF 98 99", "rtpmap:96 ", "rtpmap:98 ", "rtpmap:97 ", "rtpmap:99 "),
		"no video":             strings.NewReplacer("m=video", "m=text"),
		"no credentials":       strings.NewReplacer("a=ice-ufrag", "a=other"),
		"no fingerprint":       strings.NewReplacer("a=fingerprint", "a=other"),
		"no description":       strings.NewReplacer("v=0", "v"),
	} {
		for _, offers := range [][2]string{{change.Replace(janusOffer), viewerOffer}, {janusOffer, change.Replace(viewerOffer)}} {
			if _, _, err := reverse(offers[0], offers[1]); err == nil {
				t.Errorf("%s: no error", name)
			}
		}
	}
}
