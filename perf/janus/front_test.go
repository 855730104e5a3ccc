package janus

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// fake answers as Janus does: some requests at once, others by the long poll.
type fake struct {
	*testing.T
	refused string // request
	hangups int    // that are left before it serves
	events  chan object

	mu       sync.Mutex
	requests []string
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodGet {
		select {
		case e := <-f.events:
			json.NewEncoder(w).Encode([]object{{"janus": "webrtcup"}, e})
		case <-r.Context().Done():
		}
		return
	}
	var q struct {
		Janus, Transaction string
		Body               map[string]any
	}
	if err := json.NewDecoder(r.Body).Decode(&q); err != nil {
		f.Errorf("request: %v", err)
	}
	request, _ := q.Body["request"].(string)
	f.mu.Lock()
	f.requests = append(f.requests, strings.TrimSpace(r.URL.Path+" "+q.Janus+" "+request))
	n, early := len(f.requests), f.hangups > 0
	f.hangups--
	f.mu.Unlock()
	if early {
		panic(http.ErrAbortHandler)
	}
	event := func(data object, description *jsep) {
		json.NewEncoder(w).Encode(object{"janus": "ack"})
		e := object{"janus": "event", "transaction": q.Transaction, "plugindata": object{"data": data}}
		if description != nil {
			e["jsep"] = description
		}
		f.events <- e
	}
	switch {
	case request != "" && request == f.refused && request == "create":
		json.NewEncoder(w).Encode(object{"janus": "success", "plugindata": object{"data": object{"error": "not today"}}})
	case request != "" && request == f.refused:
		event(object{"error": "not today"}, nil)
	case request == "joinandconfigure":
		event(object{"id": 77}, &jsep{"answer", "the answer"})
	case request == "join":
		event(object{}, &jsep{"offer", janusOffer})
	case request == "start":
		event(object{}, nil)
	default:
		json.NewEncoder(w).Encode(object{"janus": "success", "data": object{"id": n}})
	}
}

// start returns the URL of a front, and the Janus that it believes in, which hangs up on the first two requests as Janus does while it starts.
func start(t *testing.T) (string, *fake) {
	f := &fake{T: t, hangups: 2, events: make(chan object, 1)}
	server := httptest.NewServer(f)
	t.Cleanup(server.Close)
	front, err := New(t.Context(), server.URL+"/janus")
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(front)
	t.Cleanup(s.Close)
	return s.URL, f
}

func do(t *testing.T, method, url, body string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(text)
}

// A publisher comes, a viewer comes, both go: what each is answered, and what Janus is asked for it.
func TestFront(t *testing.T) {
	url, f := start(t)
	if resp, _ := do(t, http.MethodPost, url+"/whep/s", viewerOffer); resp.StatusCode != http.StatusConflict || resp.Header.Get("Retry-After") == "" {
		t.Errorf("a viewer before the publisher: %v", resp.Status)
	}
	publisher, answer := do(t, http.MethodPost, url+"/whip/s", "the offer")
	if publisher.StatusCode != http.StatusCreated || answer != "the answer" {
		t.Fatalf("%v: %s", publisher.Status, answer)
	}
	viewer, answer := do(t, http.MethodPost, url+"/whep/s", viewerOffer)
	if viewer.StatusCode != http.StatusCreated || !strings.Contains(answer, "a=setup:active") {
		t.Fatalf("%v: %s", viewer.Status, answer)
	}
	for _, session := range []*http.Response{viewer, publisher} {
		at, err := session.Location()
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []int{http.StatusOK, http.StatusNotFound} {
			if resp, _ := do(t, http.MethodDelete, at.String(), ""); resp.StatusCode != want {
				t.Errorf("DELETE of %v: %v, want %d", at, resp.Status, want)
			}
		}
	}
	want := []string{
		"/janus create", "/janus create", "/janus create",
		"/janus/3 attach", "/janus/3/4 detach",
		"/janus/3 attach", "/janus/3/6 message create", "/janus/3/6 message joinandconfigure",
		"/janus/3 attach", "/janus/3/9 message join", "/janus/3/9 message start", "/janus/3/9 detach",
		"/janus/3/6 message destroy", "/janus/3/6 detach",
	}
	if got := strings.Join(f.requests, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("Janus was asked\n%s", got)
	}
}

// What Janus says against it, the client is told, and the handle is given up.
func TestRefusal(t *testing.T) {
	for _, refused := range []string{"create", "joinandconfigure"} {
		url, f := start(t)
		f.refused = refused
		resp, text := do(t, http.MethodPost, url+"/whip/s", "the offer")
		if resp.StatusCode != http.StatusBadGateway || !strings.Contains(text, "not today") {
			t.Errorf("%s: %v: %s", refused, resp.Status, text)
		}
		if last := f.requests[len(f.requests)-1]; last != "/janus/3/4 detach" {
			t.Errorf("%s: Janus was asked %q last", refused, last)
		}
	}
}
