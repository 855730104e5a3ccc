package whip

import (
	"strconv"
	"testing"
)

// Clients behind a trusted proxy have a limit of pending sessions each.
func TestLimitBehindProxy(t *testing.T) {
	s := start(t, "limits/pending_sessions=1", "http/trusted_proxies=127.0.0.1")
	offer := recorded(t, "chromium-whip-vp8")
	post := func(stream, client string) *answer {
		return s.do("POST", "/whip/"+stream, offer, "Content-Type", offerType, "X-Forwarded-For", client)
	}
	post("a", "203.0.113.1").created()
	post("b", "203.0.113.1").problem(429, "limits/pending_sessions")
	post("b", "203.0.113.2").created()
}

// Who guesses at tokens is told to wait, even with a good one; others are let in,
// and so is who needs no token.
func TestGuessing(t *testing.T) {
	s := start(t, "auth/publish_tokens=good", "auth/watch_tokens=*", "http/trusted_proxies=127.0.0.1", "limits/token_guesses_per_minute=3")
	offer := recorded(t, "chromium-whip-vp8")
	post := func(client, token string) *answer {
		return s.do("POST", "/whip/live", offer, "Content-Type", offerType, "X-Forwarded-For", client, "Authorization", "Bearer "+token)
	}
	for range 2 {
		post("203.0.113.1", "bad").problem(401)
	}
	s.do("OPTIONS", "/whip/live", "", "X-Forwarded-For", "203.0.113.1", "Authorization", "Bearer bad").want(200) // tells as much
	a := post("203.0.113.1", "good").problem(429, "limits/token_guesses_per_minute")
	if wait, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || wait < 1 || wait > 20 {
		t.Errorf("Retry-After: %s", a.header.Get("Retry-After"))
	}
	post("203.0.113.2", "good").created()
	s.do("POST", "/whep/live", recorded(t, "chromium-whep"), "Content-Type", offerType, "X-Forwarded-For", "203.0.113.1").created()
	if n := s.metric("refused_token_guesses"); n != "1" {
		t.Errorf("%s refusals are counted", n)
	}
}

// So is who sends PATCH after PATCH, for whatever session.
func TestPatchesAreLimited(t *testing.T) {
	s := start(t, "limits/patches_per_second=1", "http/trusted_proxies=127.0.0.1")
	offer := recorded(t, "chromium-whip-vp8")
	path := s.offer("/whip/live", offer).created()
	refused := 0
	for refused == 0 { // more than one a second
		switch a := s.patch(path, fragment(offer), "X-Forwarded-For", "203.0.113.1"); a.status {
		case 204:
		case 429:
			a.want(429, "Retry-After", "1")
			refused++
		default:
			t.Fatalf("%d %s", a.status, a.body)
		}
	}
	s.patch(path, fragment(offer), "X-Forwarded-For", "203.0.113.2").want(204)
	if n := s.metric("refused_patches"); n != "1" {
		t.Errorf("%s refusals are counted", n)
	}
}
