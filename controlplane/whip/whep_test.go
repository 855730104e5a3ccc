package whip

import (
	"mime"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"
)

// Players know a WHEP endpoint by HEAD, whether or not there is a stream
// (draft-ietf-wish-whep, "WHEP Endpoint URL Discoverability").
func TestDiscovery(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/whep/live", "/whep/other"} {
		for _, method := range []string{"HEAD", "GET"} {
			a := s.do(method, path, "").want(200, "Content-Type", offerType, "Content-Length", "0", "Access-Control-Allow-Origin", "*")
			if a.body != "" {
				t.Errorf("%s %s: %q", method, path, a.body)
			}
		}
		s.offer("/whip"+path[5:], recorded(t, "chromium-whip-vp8")).created()
	}
	if kind := s.do("HEAD", "/whip/live", "").header.Get("Content-Type"); kind != "" {
		t.Errorf("a WHIP endpoint says %q by HEAD", kind)
	}
}

// counterOffered checks a 406 that says all of words, and returns the path of the
// session that waits for the answer.
func (a *answer) counterOffered(words ...string) string {
	a.Helper()
	a.want(406, "Access-Control-Allow-Origin", "*", "Cache-Control", "no-store")
	kind, params, err := mime.ParseMediaType(a.header.Get("Content-Type"))
	until, err2 := http.ParseTime(params["valid-until"])
	if left := time.Until(until); err != nil || err2 != nil || kind != offerType || left < 15*time.Second || left > 31*time.Second {
		a.Errorf("%s: Content-Type %q", a.what, a.header.Get("Content-Type"))
	}
	path := a.header.Get("Location")
	if !location.MatchString(path) || !strings.HasPrefix(a.body, "v=0\r\n") || !strings.Contains(a.body, "\r\na=setup:actpass\r\n") || !strings.Contains(a.body, "\r\na=sendonly\r\n") {
		a.Errorf("%s: Location %q, no offer of ours:\n%s", a.what, path, a.body)
	}
	for _, word := range words {
		if !strings.Contains(a.body, word) {
			a.Errorf("%s: %q is not in\n%s", a.what, word, a.body)
		}
	}
	if !strings.Contains(a.body, "\r\na=ssrc:") || !strings.Contains(a.body, "\r\na=candidate:") {
		a.Errorf("%s: SSRCs or candidates are missing in\n%s", a.what, a.body)
	}
	return path
}

// answerTo is pion's answer to an offer.
func answerTo(t *testing.T, offer string) string {
	t.Helper()
	pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		t.Fatal(err)
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		t.Fatal(err)
	}
	return answer.SDP
}

// A viewer whose offer does not fit gets one of the server's, which says why in
// words too, and completes it by PATCH.
func TestCounterOffer(t *testing.T) {
	s := start(t)
	s.offer("/whip/live", recorded(t, "chromium-whip-av1")).created()
	offer := recorded(t, "aiortc-whep")
	a := s.offer("/whep/live", offer)
	path := a.counterOffered("i=the stream's video is AV1", "VP8", "H264", "a=rtpmap:96 AV1/90000")
	text := answerTo(t, a.body)
	patch := func(body string) *answer { return s.do("PATCH", path, body, "Content-Type", offerType) }

	s.do("GET", path, "").want(204)
	s.patch(path, fragment(text)).problem(409, "answer")
	s.patch(path, restart, "If-Match", "*").problem(409, "answer")
	patch("hello").problem(400, "line 1")
	patch(strings.Replace(text, "a=mid:0", "a=mid:7", 1)).problem(400, "mid")
	patch(strings.Replace(text, "AV1/90000", "VP8/90000", 1)).problem(400, "nothing of what was offered")
	if n := s.metric("sessions"); n != "1" {
		t.Errorf("%s sessions in the data plane before the answer", n)
	}
	if a := patch(text).want(204); a.body != "" {
		t.Errorf("%q", a.body)
	}
	patch(text).problem(415, "no answer").want(415, "Accept-Patch", fragmentType)
	s.patch(path, fragment(text)).want(204)
	s.patch(path, restart, "If-Match", "*").want(200)
	if n := s.metric("sessions"); n != "2" {
		t.Errorf("%s sessions after the answer", n)
	}
	s.do("DELETE", path, "").want(200)
	patch(text).problem(404, "deleted")
}

// A counter-offer that nobody answers can be deleted, and counts as a session that
// is still connecting.
func TestCounterOfferLeft(t *testing.T) {
	s := start(t, "limits/pending_sessions=2")
	s.offer("/whip/live", recorded(t, "chromium-whip-av1")).created()
	offer := recorded(t, "aiortc-whep")
	path := s.offer("/whep/live", offer).counterOffered()
	s.offer("/whep/live", offer).problem(429, "limits/pending_sessions")
	s.do("DELETE", path, "").want(200)
	s.do("PATCH", path, "v=0", "Content-Type", offerType).problem(404, "deleted")
	s.offer("/whep/live", offer).counterOffered()
}
