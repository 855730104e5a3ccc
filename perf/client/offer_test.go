package client

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/dtls/v3"
	"github.com/pion/sdp/v3"
)

func TestOfferOfOneKind(t *testing.T) {
	transport := Transport{Addr: netip.MustParseAddrPort("127.0.0.1:9"), Ufrag: "u", Pwd: "p"}
	for kind, o := range map[string]Offer{"audio": {NoVideo: true}, "video": {NoAudio: true}} {
		text := o.Text(transport)
		var desc sdp.SessionDescription
		if err := desc.Unmarshal([]byte(text)); err != nil {
			t.Fatal(err)
		}
		if m := desc.MediaDescriptions; len(m) != 1 || m[0].MediaName.Media != kind {
			t.Errorf("sections are %v, want %s alone", m, kind)
		}
		group, _ := desc.Attribute("group")
		mid, _ := desc.MediaDescriptions[0].Attribute("mid")
		if group != "BUNDLE "+mid {
			t.Errorf("group is %q, mid %q", group, mid)
		}
		// An offer of ours is as good as an answer of a server's here: it has all that ParseAnswer asks for.
		if _, err := o.ParseAnswer([]byte(text)); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if _, err := (Offer{}).ParseAnswer([]byte(text)); err == nil || !strings.Contains(err.Error(), "1 media sections, want 2") {
			t.Errorf("%s alone answers an offer of both: %v", kind, err)
		}
	}
}

func TestOfferOfCM(t *testing.T) {
	if p := (Offer{CM: true}).profiles(); len(p) != 1 || p[0] != dtls.SRTP_AES128_CM_HMAC_SHA1_80 {
		t.Errorf("profiles are %v", p)
	}
	if p := (Offer{}).profiles(); len(p) != 2 || p[0] != dtls.SRTP_AEAD_AES_128_GCM {
		t.Errorf("profiles are %v", p)
	}
}
