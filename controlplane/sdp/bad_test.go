package sdp

import (
	"errors"
	"strings"
	"testing"
)

// good is a small offer to spoil. Its lines are numbered in the table below.
const good = `v=0
o=- 1 0 IN IP4 0.0.0.0
s=-
t=0 0
a=group:BUNDLE 0 1
a=ice-ufrag:abcd
a=ice-pwd:abcdefghijklmnopqrstuv
a=setup:actpass
a=fingerprint:sha-256 00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F
m=audio 9 UDP/TLS/RTP/SAVPF 111 0
c=IN IP4 0.0.0.0
a=mid:0
a=sendonly
a=rtcp-mux
a=rtpmap:111 opus/48000/2
a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid
a=ssrc:7 cname:x
m=video 9 UDP/TLS/RTP/SAVPF 96 97
c=IN IP4 0.0.0.0
a=mid:1
a=sendonly
a=rtcp-mux
a=rtpmap:96 VP8/90000
a=rtpmap:97 rtx/90000
a=fmtp:97 apt=96
a=ssrc-group:FID 8 9
`

const fingerprint = "00:01:02:03:04:05:06:07:08:09:0A:0B:0C:0D:0E:0F:10:11:12:13:14:15:16:17:18:19:1A:1B:1C:1D:1E:1F"

func TestBadOffers(t *testing.T) {
	if s := mustPublish(t, good); !s.Media[0].Accepted || !s.Media[1].Accepted || s.Media[1].RTXSSRC != 9 {
		t.Fatalf("the offer to spoil is not good: %+v", s.Media)
	}
	for _, c := range []struct{ from, to, want string }{
		// grammar
		{"v=0", "v=1", "line 1: v=1: has no valid value or stands in the wrong place; see the grammar of RFC 8866 section 9"},
		{"m=audio 9", "m=audio x", "line 10: m=audio: has no valid value or stands in the wrong place; see the grammar of RFC 8866 section 9"},
		{"m=audio 9", "m=sound 9", "line 10: m=sound: has no valid value or stands in the wrong place; see the grammar of RFC 8866 section 9"},
		{"t=0 0", "t=0 0 a=ice-lite", "offer: holds two fields on one line"},
		{"c=IN IP4 0.0.0.0\na=mid:0", "c=IN IP4 0.0.0.0 m=video 9 RTP/SAVPF 96\na=mid:0", "offer: holds two fields on one line"},
		{"a=mid:0", "mid:0", "line 12: mid: is not of the form <letter>=<value>"},
		{"a=mid:0", "a=mid:0\ra=x", "line 12: offer: holds a control character"},
		{"a=mid:0", "a=mid:\x00", "line 12: offer: holds a control character"},
		{good[strings.Index(good, "m="):], "", "m=: is missing; offer at least one audio or video m-section"},

		// one section
		{"a=mid:0", "a=mid:0 1", `line 12: a=mid: "0 1" is not a token of 1 to 16 characters`},
		{"a=mid:0", "a=mid:0123456789abcdefg", `line 12: a=mid: "0123456789abcdefg" is not a token of 1 to 16 characters`},
		{"a=mid:0", "a=mid:0\na=mid:0", "line 13: a=mid: is given twice in one section"},
		{"a=mid:1", "a=mid:0", `line 18: m=video: has the mid "0" of another m-section`},
		{"a=mid:1\n", "", "line 18: m=video: lacks a=mid"},
		{"SAVPF 111 0", "SAVPF", "line 10: m=audio: names no format, or one that is not a token of 1 to 32 characters"},
		{"UDP/TLS/RTP/SAVPF 111", "RTP/AVP 111", `line 10: m=audio: has the profile "RTP/AVP"; Sluice speaks UDP/TLS/RTP/SAVPF`},
		{"UDP/TLS/RTP/SAVPF 111", strings.Repeat("UDP/", 9) + "UDP 111", `line 10: m=audio: has the profile "` + strings.Repeat("UDP/", 9) + `UDP", of more than 32 characters`},
		{"a=sendonly\na=rtcp-mux", "a=sendonly", "line 10: m=audio: lacks a=rtcp-mux; Sluice has one port for RTP and RTCP (RFC 8858)"},
		{"a=sendonly", "a=sendonly\na=inactive", "line 14: a=inactive: is the second direction in one section"},
		{"SAVPF 111 0", "SAVPF 111 111", "line 10: m=audio: has the payload type 111 twice"},
		{"SAVPF 111 0", "SAVPF 111 128", `line 10: m=audio: has the payload type "128"; 0 to 127 are allowed`},
		{"SAVPF 111 0", "SAVPF 111 x", `line 10: m=audio: has the payload type "x"; 0 to 127 are allowed`},
		{"a=rtpmap:96", "a=rtpmap:x", `line 23: a=rtpmap: has the payload type "x"; 0 to 127 are allowed`},
		{"a=rtpmap:97", "a=rtpmap:96", "line 24: a=rtpmap: maps the payload type 96 a second time"},
		{"VP8/90000", "VP8", `line 23: a=rtpmap: "VP8" is not <name>/<clock rate> or <name>/<clock rate>/<channels>`},
		{"VP8/90000", "VP8/0", `line 23: a=rtpmap: "VP8/0" is not <name>/<clock rate> or <name>/<clock rate>/<channels>`},
		{"extmap:1 ", "extmap:0 ", `line 16: a=extmap: has the id "0"; 1 to 255 and 4096 to 4351 are allowed`},
		{"a=ssrc:7", "a=extmap:1 urn:other\na=ssrc:7", "line 17: a=extmap: gives the id 1, which has a meaning already, a second one"},
		{"a=ssrc:7", "a=ssrc:4294967296", `line 17: a=ssrc: "4294967296" is not a number of 32 bits`},
		{"FID 8 9", "FID 8", "line 26: a=ssrc-group: an FID group holds two SSRCs, of the media and of its retransmissions"},
		{"FID 8 9", "FID 8 x", `line 26: a=ssrc-group: "x" is not a number of 32 bits`},

		// BUNDLE
		{"a=group:BUNDLE 0 1\n", "", "a=group: no BUNDLE group; Sluice has one transport for all m-sections (RFC 9143)"},
		{"BUNDLE 0 1", "BUNDLE 0", `line 5: a=group: leaves out the mid "1"; Sluice has one transport for all m-sections`},
		{"BUNDLE 0 1", "BUNDLE 0 1 2", `line 5: a=group: names the mid "2", which no m-section has`},
		{"BUNDLE 0 1", "BUNDLE 0 1 0", `line 5: a=group: names the mid "0" twice`},
		{"BUNDLE 0 1", "BUNDLE 0\na=group:BUNDLE 1", "line 6: a=group: is a second BUNDLE group; Sluice has one transport for all m-sections"},

		// transport
		{"a=setup", "a=ice-lite\na=setup", "line 8: a=ice-lite: Sluice is ICE-lite too, so nobody would send checks; offer full ICE"},
		{"a=ice-ufrag:abcd\n", "", "a=ice-ufrag: is missing"},
		{"ufrag:abcd", "ufrag:abc", "line 6: a=ice-ufrag: has 3 characters; 4 to 256 are allowed"},
		{"ufrag:abcd", "ufrag:ab_d", "line 6: a=ice-ufrag: may hold only letters, digits, + and /"},
		{"pwd:abcd", "pwd:", "line 7: a=ice-pwd: has 18 characters; 22 to 256 are allowed"},
		{"pwd:abcd", "pwd:" + strings.Repeat("a", 239), "line 7: a=ice-pwd: has 257 characters; 22 to 256 are allowed"},
		{"a=ice-pwd", "a=ice-ufrag:abcd\na=ice-pwd", "line 7: a=ice-ufrag: is given twice in one section"},
		{"a=setup:actpass\n", "", "a=setup: is missing; offer actpass, active or passive"},
		{"setup:actpass", "setup:holdconn", "line 8: a=setup: holdconn puts the connection off, and nothing would take it up again; offer actpass, active or passive"},
		{"setup:actpass", "setup:passiv", `line 8: a=setup: "passiv" is not known; offer actpass, active or passive`},
		{"a=fingerprint", "a=x", "a=fingerprint: is missing; offer one of sha-256, sha-384 or sha-512"},
		{"sha-256 " + fingerprint, "sha-1 " + fingerprint[:59], "line 9: a=fingerprint: has only hashes that Sluice does not trust; offer one of sha-256, sha-384 or sha-512"},
		{"sha-256 00:", "sha-256 ", "line 9: a=fingerprint: a sha-256 value is 32 pairs of hexadecimal digits with colons between them"},
		{"sha-256 00", "sha-256 0x", "line 9: a=fingerprint: a sha-256 value is 32 pairs of hexadecimal digits with colons between them"},
		{"sha-256 00", "sha-384 00", "line 9: a=fingerprint: a sha-384 value is 48 pairs of hexadecimal digits with colons between them"},

		// publishing
		{"a=sendonly", "a=recvonly", "line 10: m=audio: is recvonly; a publisher offers sendonly or sendrecv"},
		{"opus/48000/2", "opus/48000", ""}, // PCMU is left
		{"VP8/90000", "VP7/90000", "line 18: m=video: offers no format that Sluice forwards; offer VP8, VP9, H264, H265, AV1"},
		{"m=video", "m=audio", "line 18: m=audio: is a second one; a stream has at most one audio and one video"},
		{"SAVPF 96 97", "SAVPF 97 111\na=rtpmap:111 VP8/90000", "line 18: m=video: has a payload type of another m-section, 111 or 0"},
		{"FID 8 9", "FID 7 9", "line 18: m=video: has an SSRC that is taken, 7 or 9"},
		{" 9 UDP", " 0 UDP", "m=: no audio or video is offered"},
	} {
		n := 1
		if c.from == " 9 UDP" {
			n = 2
		}
		body := strings.Replace(good, c.from, c.to, n)
		if body == good {
			t.Fatalf("%q is not in the offer", c.from)
		}
		err := publish(body)
		var typed *Error
		switch {
		case c.want == "" && err == nil:
		case err == nil:
			t.Errorf("%q for %q is taken, want %s", c.to, c.from, c.want)
		case !errors.As(err, &typed) || err.Error() != c.want:
			t.Errorf("%q for %q:\n got %v\nwant %s", c.to, c.from, err, c.want)
		}
	}
}

func publish(body string) error {
	o, err := Parse([]byte(body))
	if err != nil {
		return err
	}
	_, err = o.Publish()
	return err
}

// What is odd but allowed.
func TestToleratedOffers(t *testing.T) {
	for _, c := range []struct{ from, to string }{
		{"a=setup:actpass", "a=setup:active"},
		{"a=sendonly", "a=sendrecv"},
		{"a=sendonly\n", ""}, // sendrecv is the default
		{"t=0 0\n", "t=0 0\n\n\n"},
		{"a=sendonly", "a=x-unknown:1\na=candidate:1 1 udp 1 5c3a9a1e.local 9 typ host\na=sendonly"},
		{"a=fingerprint", "a=fingerprint:sha-1 00\na=fingerprint"},
		{"sha-256", "SHA-256"},
		{"m=video 9", "m=video 0"}, // bundle-only follows
		{"a=ssrc-group:FID 8 9", "a=ssrc-group:SIM 8 10"},
		{"a=extmap:1 urn", "a=extmap:15 urn:wide\na=extmap:4096 urn:proposed\na=extmap:1 urn"},
		{"a=fmtp:97 apt=96\na=ssrc-group:FID 8 9\n", "a=fmtp:97 apt=96"}, // no end of line at the end
	} {
		body := strings.Replace(good, c.from, c.to, 1)
		if strings.Contains(c.to, "m=video 0") {
			body = strings.Replace(body, "a=mid:1", "a=mid:1\na=bundle-only", 1)
		}
		if body == good {
			t.Fatalf("%q is not in the offer", c.from)
		}
		o, err := Parse([]byte(body))
		if err != nil {
			t.Errorf("%q for %q: %v", c.to, c.from, err)
			continue
		}
		s, err := o.Publish()
		if err != nil {
			t.Errorf("%q for %q: %v", c.to, c.from, err)
			continue
		}
		answer := s.Answer(testLocal())
		checkAnswer(t, answer)
		if strings.Count(string(answer), " 9 UDP") != 2 {
			t.Errorf("%q for %q: not both sections are accepted in\n%s", c.to, c.from, answer)
		}
	}
}

// We take the other part of the DTLS handshake; the passive one where both are left to us
// (RFC 8842 section 5.3).
func TestSetup(t *testing.T) {
	for offered, want := range map[string]string{"actpass": "passive", "active": "passive", "passive": "active"} {
		s := mustPublish(t, strings.Replace(good, "a=setup:actpass", "a=setup:"+offered, 1))
		if s.Active != (want == "active") {
			t.Errorf("offered %s: active is %v", offered, s.Active)
		}
		answer := string(s.Answer(testLocal()))
		if n := strings.Count(answer, "a=setup:"); n != 2 || strings.Count(answer, "a=setup:"+want+"\r\n") != n {
			t.Errorf("offered %s: want %s in both sections of\n%s", offered, want, answer)
		}
	}
}

// The transport's attributes may stand in the first section of the group only.
func TestBundleOnlySectionsNeedNoTransport(t *testing.T) {
	transport := good[strings.Index(good, "a=ice-ufrag"):strings.Index(good, "m=audio")]
	body := strings.Replace(good, transport, "", 1)
	body = strings.Replace(body, "a=mid:1\na=sendonly\na=rtcp-mux\n", transport+"a=mid:1\na=sendonly\na=rtcp-mux\n", 1)
	body = strings.Replace(body, "BUNDLE 0 1", "BUNDLE 1 0", 1)
	body = strings.Replace(body, "m=audio 9", "m=audio 0", 1)
	body = strings.Replace(body, "a=sendonly\na=rtcp-mux", "a=sendonly\na=bundle-only", 1)
	answer := string(mustPublish(t, body).Answer(testLocal()))
	audio, video, _ := strings.Cut(answer, "m=video")
	if !strings.Contains(audio, "BUNDLE 1 0\r\n") || strings.Contains(audio, "a=candidate") || !strings.Contains(video, "a=candidate") {
		t.Errorf("\n%s", answer)
	}
}

// Hostile sizes are refused before they are looked at closely.
func TestHostileSizes(t *testing.T) {
	sections := strings.Repeat("m=a 9\n", 10000)
	for _, c := range []struct{ body, want string }{
		{strings.Repeat(good, 10<<20/len(good)), "at most 65536 are read"},
		{sections, "line 9: m=a: is the 9th m-line; at most 8 are read"},
		{good + sections[:32000], "line 33: m=a: is the 9th m-line; at most 8 are read"},
		{good + strings.Repeat("a=x\n", 10000), "line 2049: a=x: is the 2049th line; at most 2048 are read"},
		{good + strings.Repeat("a=candidate:1\n", 500), "line 283: a=candidate: is the 257th candidate; at most 256 are read, and Sluice needs none"},
	} {
		if err := publish(c.body); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%d bytes: %v, want %s", len(c.body), err, c.want)
		}
	}
	// The size is looked at first, so that a giant costs no memory.
	giant := make([]byte, 10<<20)
	if n := testing.AllocsPerRun(1, func() { Parse(giant) }); n > 10 {
		t.Errorf("%v allocations for 10 MB", n)
	}
}
