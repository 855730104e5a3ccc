package client

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pion/sdp/v3"
)

var testTransport = Transport{
	Addr: netip.MustParseAddrPort("127.0.0.1:4000"), Ufrag: "ufrag1", Pwd: "a-password-of-24-letters", Fingerprint: [32]byte{0xAB, 1},
}

func TestOfferText(t *testing.T) {
	for name, o := range map[string]Offer{
		"publisher": {Publish: &SSRCs{Audio: 1, Video: 2, RTX: 3}, MID: true, TWCC: true},
		"viewer":    {},
	} {
		t.Run(name, func(t *testing.T) {
			want, err := os.ReadFile(filepath.Join("testdata", name+".sdp"))
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(o.Text(testTransport), "\r\n", "\n")
			if got != string(want) {
				t.Fatalf("offer is\n%s", got)
			}
			var d sdp.SessionDescription
			if err := d.Unmarshal([]byte(o.Text(testTransport))); err != nil {
				t.Fatal(err)
			}
		})
	}
}

func TestOfferOfAnIPv6Address(t *testing.T) {
	at := testTransport
	at.Addr = netip.MustParseAddrPort("[::1]:4000")
	text := Offer{}.Text(at)
	for _, want := range []string{"c=IN IP6 ::1\r\n", "a=candidate:1 1 udp 2122194687 ::1 4000 typ host generation 0\r\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("offer lacks %q", want)
		}
	}
}

const goodAnswer = `v=0
o=- 1 1 IN IP4 127.0.0.1
s=-
t=0 0
a=ice-lite
a=group:BUNDLE 0 1
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
m=audio 9 UDP/TLS/RTP/SAVPF 111
c=IN IP4 0.0.0.0
a=mid:0
a=setup:passive
a=ice-ufrag:u
a=ice-pwd:p
a=candidate:1 1 UDP 2130706431 192.0.2.1 5000 typ host
a=candidate:1 2 UDP 2130706430 192.0.2.1 5001 typ host
a=candidate:2 1 TCP 1671430143 127.0.0.1 5000 typ host tcptype passive
a=candidate:3 1 udp 2130706431 127.0.0.1 5000 typ host
a=candidate:4 1 udp 2130706431 name.local 5000 typ host
a=candidate:5 1 udp 2130706431 fe80::1 5000 typ host
a=candidate:6 1 udp 2130706431 2001:db8::1 5000 typ host
m=video 0 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=mid:1
a=extmap:4 urn:ietf:params:rtp-hdrext:sdes:mid
`

func TestParseAnswer(t *testing.T) {
	a, err := Offer{}.ParseAnswer([]byte(goodAnswer))
	if err != nil {
		t.Fatal(err)
	}
	if a.Ufrag != "u" || a.Pwd != "p" || a.Active || !a.Lite || !a.MID || a.TWCC || !a.RTX {
		t.Fatalf("answer is %+v", a)
	}
	if len(a.Fingerprint) != 32 || a.Fingerprint[31] != 0x1F {
		t.Fatalf("fingerprint is %x", a.Fingerprint)
	}
	if len(a.Candidates) != 4 {
		t.Fatalf("candidates are %v", a.Candidates)
	}
}

func TestPick(t *testing.T) {
	a, err := Offer{}.ParseAnswer([]byte(goodAnswer))
	if err != nil {
		t.Fatal(err)
	}
	for local, want := range map[string]string{
		"127.0.0.1":   "127.0.0.1:5000",
		"192.0.2.1":   "192.0.2.1:5000",
		"10.0.0.1":    "192.0.2.1:5000",
		"2001:db8::9": "[2001:db8::1]:5000",
	} {
		if got, err := pick(a.Candidates, netip.MustParseAddr(local)); err != nil || got.String() != want {
			t.Errorf("from %s: %v, %v, want %s", local, got, err, want)
		}
	}
	if got, err := pick(a.Candidates, netip.MustParseAddr("::1")); err == nil {
		t.Errorf("from ::1: %v, want an error: no loopback candidate", got)
	}
}

func TestParseAnswerRefusals(t *testing.T) {
	for name, edit := range map[string][2]string{
		"is not SDP":   {"v=0", "x"},
		"ice-ufrag":    {"a=ice-ufrag:u\n", ""},
		"ice-pwd":      {"a=ice-pwd:p\n", ""},
		"fingerprint":  {"a=fingerprint:sha-256", "a=fingerprint:sha-1"},
		"payload type": {"SAVPF 111", "SAVPF 0"},
		"refused":      {"a=mid:1\n", ""},
	} {
		if _, err := (Offer{}).ParseAnswer([]byte(strings.Replace(goodAnswer, edit[0], edit[1], 1))); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	audioOnly, _, _ := strings.Cut(goodAnswer, "m=video")
	if _, err := (Offer{}).ParseAnswer([]byte(audioOnly)); err == nil {
		t.Error("an answer with one media section was taken")
	}
}
