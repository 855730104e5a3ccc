package whip

import (
	"regexp"
	"strings"
	"testing"

	"sluice/controlplane/sdp"
)

var (
	ufragLine = regexp.MustCompile(`(?m)^a=ice-ufrag:([^\r\n]+)`)
	pwdLine   = regexp.MustCompile(`(?m)^a=ice-pwd:([^\r\n]+)`)
)

// fragment is one with the credentials of an offer, as libraries send it.
func fragment(offer string) string {
	return "a=ice-options:trickle ice2\r\na=group:BUNDLE 0 1\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n" +
		ufragLine.FindString(offer) + "\r\n" + pwdLine.FindString(offer) + "\r\n" +
		"a=candidate:1 1 udp 2122260223 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 61764 typ host generation 0\r\n" +
		"a=candidate:2 1 udp 2122260222 no-such-host.invalid 61764 typ host\r\n" +
		"a=candidate:3 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active\r\na=end-of-candidates\r\n"
}

// restart is one with credentials that no offer has.
const restart = "a=ice-ufrag:new1\r\na=ice-pwd:anewpasswordanewpassword\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n"

func (s *server) patch(path, body string, head ...string) *answer {
	s.Helper()
	return s.do("PATCH", path, body, append([]string{"Content-Type", fragmentType}, head...)...)
}

// What If-Match does, by what it is, what the fragment asks for, and how strict
// the server is (RFC 9725 section 4.3.1).
func TestIfMatch(t *testing.T) {
	for mode, table := range map[string][]struct {
		match            string
		trickle, restart int
	}{
		"restart": {{"", 204, 428}, {"*", 204, 200}, {`"*"`, 204, 200}, {"current", 204, 200}, {`"stale"`, 412, 412}, {"weak", 412, 412}, {`"a", current`, 204, 200}, {`"a", "b"`, 412, 412}},
		"always":  {{"", 428, 428}, {"*", 204, 200}, {"current", 204, 200}, {`"stale"`, 412, 412}},
		"never":   {{"", 204, 200}, {"*", 204, 200}, {"current", 204, 200}, {`"stale"`, 412, 412}},
	} {
		for _, c := range table {
			s := start(t, "whip/if_match="+mode)
			offer := recorded(t, "chromium-whip-vp8")
			a := s.offer("/whip/live", offer)
			path, tag := a.created(), a.header.Get("ETag")
			head := []string{"If-Match", strings.Replace(strings.Replace(c.match, "current", tag, 1), "weak", "W/"+tag, 1)}
			if c.match == "" {
				head = nil
			}
			for _, asks := range []struct {
				what, body string
				status     int
			}{{"candidates", fragment(offer), c.trickle}, {"a restart", restart, c.restart}} {
				a := s.patch(path, asks.body, head...)
				a.what = mode + ", If-Match " + c.match + ", " + asks.what
				switch asks.status {
				case 204:
					if a.want(204, "ETag", ""); a.body != "" {
						t.Errorf("%s: %q", a.what, a.body)
					}
				case 200:
					a.want(200, "Content-Type", fragmentType, "Cache-Control", "no-store")
				default:
					a.problem(asks.status, "If-Match")
				}
			}
		}
	}
}

// An ICE restart is answered with all of our side: the new entity tag is the new
// ufrag, and the next request has to know it.
func TestRestart(t *testing.T) {
	s := start(t)
	for _, kind := range []string{"whip", "whep"} {
		offer := recorded(t, map[string]string{"whip": "chromium-whip-vp8", "whep": "chromium-whep"}[kind])
		a := s.offer("/"+kind+"/live", offer)
		path, first := a.created(), a.header.Get("ETag")
		r := s.patch(path, restart, "If-Match", "*").want(200, "Access-Control-Allow-Origin", "*")
		tag := r.header.Get("ETag")
		got, err := sdp.ParseFragment([]byte(r.body))
		if err != nil || tag == first || tag != `"`+got.Ufrag+`"` || got.Pwd == pwdLine.FindStringSubmatch(a.body)[1] {
			t.Fatalf("%s: entity tags %s and %s, %v\n%s", kind, first, tag, err, r.body)
		}
		for _, line := range []string{"a=ice-lite\r\n", "a=ice-options:trickle ice2\r\n", "a=group:BUNDLE 0 1\r\n", "m=audio 9 UDP/TLS/RTP/SAVPF ", "a=mid:0\r\n", "a=candidate:1 1 udp ", "a=end-of-candidates\r\n"} {
			if !strings.Contains(r.body, line) {
				t.Errorf("%s: no %q in\n%s", kind, line, r.body)
			}
			if !strings.Contains(a.body, line) {
				t.Errorf("%s: no %q in the answer before", kind, line)
			}
		}
		s.patch(path, fragment(restart), "If-Match", first).problem(412, "ETag")
		s.patch(path, fragment(restart), "If-Match", tag).want(204)    // candidates for the new ICE session
		s.patch(path, fragment(offer), "If-Match", first).problem(412) // late ones for the first
		s.patch(path, fragment(offer)).problem(428)                    // … which without If-Match would be a restart
		s.do("GET", path, "").want(204)
	}
	if n := s.metric("ice_restarts"); n != "2" {
		t.Errorf("%s restarts counted", n)
	}
}

func TestBadPatch(t *testing.T) {
	s := start(t)
	offer := recorded(t, "chromium-whip-vp8")
	path := s.offer("/whip/live", offer).created()
	for _, kind := range []string{"", "text/plain", "application/sdp", "application/trickle-ice-sdpfrag2"} {
		s.do("PATCH", path, fragment(offer), "Content-Type", kind).problem(415, fragmentType).want(415, "Accept-Patch", fragmentType)
	}
	s.do("PATCH", path, fragment(offer), "Content-Type", "Application/Trickle-ICE-SDPfrag; charset=utf-8").want(204)
	for body, words := range map[string][]string{
		"":                         {"fragment", "empty"},
		"hello":                    {"line 1", "<letter>"},
		offer:                      {"line 1", "v=0", "a= and m="},
		"a=ice-ufrag:abcd\r\n":     {"line 1", "a=ice-ufrag", "a=ice-pwd"},
		"a=mid:0\r\na=candidate:x": {"line 2", "a=candidate", "<foundation>"},
	} {
		s.patch(path, body, "If-Match", "*").problem(400, words...)
	}
	s.patch(path, strings.Repeat("a=x\r\n", maxFragment/5+1)).problem(413, "32768 bytes")
	s.patch("/whip/live/0123456789abcdef0123456789abcdef", fragment(offer)).problem(404, "no such session")
	s.do("DELETE", path, "").want(200)
	s.patch(path, fragment(offer)).problem(404, "deleted")
	s.patch(path, restart, "If-Match", "*").problem(404, "deleted")
	if n := s.metric("ice_restarts"); n != "0" {
		t.Errorf("%s restarts counted", n)
	}
}
