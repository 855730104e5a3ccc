package whip

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// state is what a refusal must leave as it is.
func (s *server) state() string {
	s.Helper()
	streams, err := json.Marshal(s.service.Streams())
	if err != nil {
		s.Fatal(err)
	}
	return strings.Join([]string{string(streams), s.metric("created_sessions"), s.metric("viewer_sessions"), s.metric("live_streams")}, "\n")
}

// Refusals say what is wrong as RFC 6750 section 3 has it, hold nothing of the
// token, and make nothing: no session, no stream, no viewer. What needs no token
// is as it was.
func TestUnauthorized(t *testing.T) {
	const secret = "a secret of more than 32 bytes, one"
	sign := func(method jwt.SigningMethod, key any, direction string, exp time.Duration) string {
		token, err := jwt.NewWithClaims(method, jwt.MapClaims{"stream": "live", "direction": direction, "exp": time.Now().Add(exp).Unix()}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	s := start(t, "auth/publish_tokens=publisher", "auth/watch_tokens=viewer", "auth/jwt_secret="+secret, "ice/servers=stun:stun.example.net")
	offers := map[string]string{"/whip/": recorded(t, "chromium-whip-vp8"), "/whep/": recorded(t, "chromium-whep")}
	session := s.do("POST", "/whip/live", offers["/whip/"], "Content-Type", "application/sdp", "Authorization", "Bearer publisher").created()
	before := s.state()
	const invalid, scope = `error="invalid_token"`, `error="insufficient_scope"`
	for _, c := range []struct {
		what, endpoint, authorization string
		status                        int
		challenge                     string
	}{
		{"nothing", "/whip/", "", 401, `Bearer realm="sluice"`},
		{"another scheme", "/whip/", "Basic cHVibGlzaGVyOg==", 401, `Bearer realm="sluice"`},
		{"an unknown token", "/whip/", "Bearer publishe", 401, invalid},
		{"a viewer publishes", "/whip/", "Bearer viewer", 403, scope},
		{"a publisher watches", "/whep/", "Bearer publisher", 403, scope},
		{"a JWT to watch", "/whip/", "Bearer " + sign(jwt.SigningMethodHS256, []byte(secret), "watch", time.Hour), 403, scope},
		{"an old JWT", "/whip/", "Bearer " + sign(jwt.SigningMethodHS256, []byte(secret), "publish", -time.Hour), 401, invalid},
		{"a JWT of another secret", "/whep/", "Bearer " + sign(jwt.SigningMethodHS256, []byte("x"+secret), "watch", time.Hour), 401, invalid},
		{"a JWT of none", "/whep/", "Bearer " + sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, "watch", time.Hour), 401, invalid},
	} {
		for _, stream := range []string{"live", "other"} {
			a := s.do("POST", c.endpoint+stream, offers[c.endpoint], "Content-Type", "application/sdp", "Authorization", c.authorization)
			a.problem(c.status)
			challenge := a.header.Get("WWW-Authenticate")
			if !strings.HasPrefix(challenge, "Bearer ") || !strings.Contains(challenge, c.challenge) || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "WWW-Authenticate") {
				t.Errorf("%s: WWW-Authenticate: %s", c.what, challenge)
			}
			if _, token, _ := strings.Cut(c.authorization, " "); token != "" && strings.Contains(a.body+challenge, token) {
				t.Errorf("%s: the answer holds the token: %s", c.what, a.body)
			}
		}
	}
	if after := s.state(); after != before {
		t.Errorf("refusals changed\n%s\nto\n%s", before, after)
	}
	if links := s.do("OPTIONS", "/whep/live", "").header.Values("Link"); len(links) > 0 {
		t.Errorf("OPTIONS without a token tells of %q", links)
	}
	if links := s.do("OPTIONS", "/whep/live", "", "Authorization", "Bearer viewer").header.Values("Link"); len(links) != 1 {
		t.Errorf("OPTIONS with a token tells of %q", links)
	}
	s.do("GET", session, "").want(204)
	s.do("DELETE", session, "").want(200) // the secret in the URL is enough
	s.do("POST", "/whip/live", offers["/whip/"], "Content-Type", "application/sdp",
		"Authorization", "Bearer "+sign(jwt.SigningMethodHS256, []byte(secret), "publish", time.Hour)).created()
}

// The page is told where anyone may do anything: only while no token is asked for.
func TestUnprotected(t *testing.T) {
	s := start(t)
	told := func(exposed bool) bool {
		t.Helper()
		h := &handler{service: s.service, tree: s.tree, info: Info{Exposed: exposed, HTTPSURL: func(*http.Request) string { return "" }, OperatorURL: func(*http.Request) string { return "" }}}
		w := httptest.NewRecorder()
		h.streams(w, httptest.NewRequest("GET", "/api/streams", nil))
		var doc struct{ Unprotected *bool }
		if err := json.Unmarshal(w.Body.Bytes(), &doc); err != nil || doc.Unprotected == nil {
			t.Fatalf("%v: %s", err, w.Body)
		}
		return *doc.Unprotected
	}
	if !told(true) || told(false) {
		t.Error("what is open to other machines is not told, or what is not is")
	}
	if err := s.tree.Set("auth/mode", "token"); err != nil {
		t.Fatal(err)
	}
	if told(true) {
		t.Error("what asks for tokens is called unprotected")
	}
}
