package whip

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"
)

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// eventStream is a viewer's feed as a browser reads it.
type eventStream struct {
	*testing.T
	status int
	lines  *bufio.Scanner
	close  func()
}

func (s *server) follow(path string) *eventStream {
	s.Helper()
	ctx, cancel := context.WithTimeout(s.Context(), patience)
	req, err := http.NewRequestWithContext(ctx, "GET", s.url+path, nil)
	if err != nil {
		s.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.Fatal(err)
	}
	e := &eventStream{s.T, resp.StatusCode, bufio.NewScanner(resp.Body), func() { cancel(); resp.Body.Close() }}
	s.Cleanup(e.close)
	if kind := resp.Header.Get("Content-Type"); e.status == 200 && kind != "text/event-stream" || resp.Header.Get("Access-Control-Allow-Origin") != "*" {
		s.Errorf("GET %s: %d, Content-Type %q", path, e.status, kind)
	}
	return e
}

// next returns the next event as "name data", "" at the end of the stream.
func (e *eventStream) next() string {
	e.Helper()
	name := ""
	for e.lines.Scan() {
		key, value, _ := strings.Cut(e.lines.Text(), ": ")
		switch key {
		case "event":
			name = value
		case "data":
			return name + " " + value
		}
	}
	return ""
}

// expect reads until an event comes.
func (e *eventStream) expect(want string) {
	e.Helper()
	var seen []string
	for event := e.next(); event != want; event = e.next() {
		if event == "" {
			e.Fatalf("the stream ended after %q, before %q", seen, want)
		}
		seen = append(seen, event)
	}
}

// eventsLink returns where a 201 says that events are.
func (a *answer) eventsLink() string {
	a.Helper()
	for _, link := range a.header.Values("Link") {
		if target, params, _ := strings.Cut(link, ">; "); params == `rel="urn:ietf:params:whep:ext:core:server-sent-events"; events="active,inactive,layers,viewercount"` {
			return strings.TrimPrefix(target, "<")
		}
	}
	a.Fatalf("no link to events: %q", a.header.Values("Link"))
	return ""
}

// listen makes a feed of events, all if there are none.
func (s *server) listen(path string, events ...string) *answer {
	s.Helper()
	if len(events) == 0 {
		return s.do("POST", path, "")
	}
	list, err := json.Marshal(events)
	if err != nil {
		s.Fatal(err)
	}
	return s.do("POST", path, string(list), "Content-Type", "application/json")
}

// feed makes a feed and returns its path.
func (s *server) feed(path string, events ...string) string {
	s.Helper()
	feed := s.listen(path, events...).want(201, "Access-Control-Allow-Origin", "*").header.Get("Location")
	if !strings.HasPrefix(feed, path+"/") {
		s.Fatalf("Location is %q", feed)
	}
	return feed
}

// A viewer is told what holds, and what changes: who publishes, what, and how many
// watch.
func TestEvents(t *testing.T) {
	s := start(t)
	publish, watch := recorded(t, "chromium-whip-vp8"), recorded(t, "chromium-whep")
	publisher := s.offer("/whip/live", publish)
	path := publisher.created()
	if links := publisher.header.Values("Link"); len(links) != 0 {
		t.Errorf("a publisher is told of %q", links)
	}
	a := s.offer("/whep/live", watch)
	viewer := a.created()
	events := a.eventsLink()
	if events != viewer+"/sse" {
		t.Errorf("events are at %s", events)
	}
	all, some := s.follow(s.feed(events)), (*eventStream)(nil)
	for _, want := range []string{"active {}", `layers {"1":[{"spatialLayerId":0,"temporalLayerId":0}]}`, `viewercount {"viewercount":1}`} {
		if got := all.next(); got != want {
			t.Errorf("first come %q, want %q", got, want)
		}
	}
	b := s.offer("/whep/live", watch)
	b.created()
	all.expect(`viewercount {"viewercount":2}`)
	some = s.follow(s.feed(b.eventsLink(), "inactive", "viewercount"))
	if got := some.next(); got != `viewercount {"viewercount":2}` {
		t.Errorf("who asked for two kinds of events is told %q", got)
	}
	s.do("DELETE", path, "").want(200)
	all.expect("inactive {}")
	if got := some.next(); got != "inactive {}" {
		t.Errorf("who asked for two kinds of events is told %q", got)
	}
	s.offer("/whip/live", publish).created()
	all.expect("active {}")
	s.do("DELETE", viewer, "").want(200)
	if got := some.next(); got != `viewercount {"viewercount":1}` {
		t.Errorf("who asked for two kinds of events is told %q", got)
	}
	for event := all.next(); event != ""; event = all.next() {
	} // its session has ended, and so has the stream
}

// Who listens first while nobody publishes is told of no publication that ended.
func TestNoInactiveFirst(t *testing.T) {
	s := start(t)
	publisher := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	a := s.offer("/whep/live", recorded(t, "chromium-whep"))
	s.do("DELETE", publisher, "").want(200)
	e := s.follow(s.feed(a.eventsLink(), "active", "inactive", "viewercount"))
	if got := e.next(); got != `viewercount {"viewercount":1}` {
		t.Errorf("first comes %q", got)
	}
	s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	if got := e.next(); got != "active {}" {
		t.Errorf("then comes %q", got)
	}
}

// The life of a feed: who connects again is told what holds, in place of the
// connection before; a new feed ends the one before; DELETE ends it for good.
func TestLifeOfAFeed(t *testing.T) {
	s := start(t, "whep/heartbeat_ms=100")
	s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	a := s.offer("/whep/live", recorded(t, "chromium-whep"))
	feed := s.feed(a.eventsLink(), "active")
	first := s.follow(feed)
	first.expect("active {}")
	second := s.follow(feed)
	second.expect("active {}")
	if got := first.next(); got != "" {
		t.Errorf("the connection before was told %q", got)
	}
	for beats := 0; beats < 3; { // nothing else comes
		if !second.lines.Scan() {
			t.Fatal("the stream ended between two heartbeats")
		}
		if second.lines.Text() == ":" {
			beats++
		}
	}
	s.do("HEAD", feed, "").want(200, "Content-Type", "text/event-stream")
	other := s.feed(a.eventsLink(), "active")
	if got := second.next(); got != "" || other == feed {
		t.Errorf("the feed before was told %q", got)
	}
	s.do("GET", feed, "").problem(404, "has ended", a.eventsLink())
	third := s.follow(other)
	third.expect("active {}")
	s.do("DELETE", other, "").want(200)
	if got := third.next(); got != "" {
		t.Errorf("after DELETE comes %q", got)
	}
	s.do("GET", other, "").problem(404, "has ended")
	s.do("DELETE", other, "").problem(404, "has ended")
}

func TestBadEventRequests(t *testing.T) {
	s := start(t, "limits/event_streams=1")
	publisher := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	a, b := s.offer("/whep/live", recorded(t, "chromium-whep")), s.offer("/whep/live", recorded(t, "chromium-whep"))
	events := a.eventsLink()
	s.listen(events, "active", "reconnect").problem(400, `"reconnect"`, "active, inactive, layers, viewercount")
	for _, body := range []string{"x", "{}", `"active"`, "[1]", `["active"`} {
		s.do("POST", events, body, "Content-Type", "application/json").problem(400, "JSON array")
	}
	s.do("POST", events, `["active"]`, "Content-Type", "text/plain").problem(415, "application/json").want(415, "Accept-Post", "application/json")
	s.do("OPTIONS", events, "").want(200, "Allow", "OPTIONS, POST", "Accept-Post", "application/json")
	s.do("POST", events, "["+strings.Repeat(" ", maxEventList), "Content-Type", "application/json").problem(413, "4096 bytes")
	s.do("GET", events, "").problem(405, "POST").want(405, "Allow", "OPTIONS, POST")
	s.do("OPTIONS", events, "", "Origin", "https://example.com", "Access-Control-Request-Method", "POST").want(200, "Access-Control-Allow-Methods", "OPTIONS, POST")
	s.do("GET", events+"/1", "").problem(404, "has ended")
	s.listen("/whep/live/0123456789abcdef0123456789abcdef/sse").problem(404, "no such session")
	s.do("GET", "/whep/live/0123456789abcdef0123456789abcdef/sse/1", "").problem(404, "no such session")
	s.listen("/whep/live/"+strings.TrimPrefix(publisher, "/whip/live/")+"/sse").problem(404, "no such session")

	s.feed(events)
	s.feed(events) // in place of the one before
	s.listen(b.eventsLink()).problem(503, "limits/event_streams").want(503, "Retry-After", "10")
	if all, refused := s.metric("event_streams"), s.metric("refused_event_streams"); all != "1" || refused != "1" {
		t.Errorf("%s feeds, %s refused", all, refused)
	}
	s.do("DELETE", a.header.Get("Location"), "").want(200)
	s.feed(b.eventsLink())
}

// However many follow their feeds: when the sessions are over, nothing is left.
func TestFeedsLeaveNothing(t *testing.T) {
	s := start(t, "limits/pending_sessions=100")
	s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	before := runtime.NumGoroutine()
	var sessions []string
	var streams []*eventStream
	for range 20 {
		a := s.offer("/whep/live", recorded(t, "chromium-whep"))
		sessions = append(sessions, a.created())
		streams = append(streams, s.follow(s.feed(a.eventsLink())))
	}
	for i, e := range streams {
		e.expect(`viewercount {"viewercount":20}`)
		if i%2 == 0 {
			e.close() // the client goes, its session stays
		}
	}
	for i, path := range sessions {
		s.do("DELETE", path, "").want(200)
		if i%2 == 1 {
			for streams[i].next() != "" {
			}
		}
	}
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		http.DefaultTransport.(*http.Transport).CloseIdleConnections()
		now := runtime.NumGoroutine()
		if now <= before && s.metric("event_streams") == "0" {
			break
		}
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			t.Fatalf("%d goroutines, before %d\n%s", now, before, buf[:runtime.Stack(buf, true)])
		}
	}
}
