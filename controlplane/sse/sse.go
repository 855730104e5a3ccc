// Package sse keeps a client up to date by server-sent events (WHATWG HTML,
// section 9.2). What is told is state, not history: a client that falls behind, or
// comes back, gets what holds now, and nothing queues up.
package sse

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Topic is something that has one state at a time.
type Topic int

// maxTopics is how many topics a feed has.
const maxTopics = 4

// Feed is what one client is told. All methods are safe for concurrent use.
type Feed struct {
	wanted []string

	mu     sync.Mutex
	latest [maxTopics]event
	reader *reader
	closed bool
}

// event is the state of a topic; the version is 0 before there is any.
type event struct {
	name, data string
	version    int
}

// reader is the request that a feed is served to.
type reader struct {
	wake chan struct{} // there may be something new
	gone chan struct{} // closed when the feed is, or another reader came
}

// New returns a feed of events by the given names; others are not sent.
func New(wanted []string) *Feed { return &Feed{wanted: wanted} }

// Tell says what the state of a topic is now: the name of an event, and its data,
// one line of JSON. It never waits. Telling the same again tells nothing.
func (f *Feed) Tell(t Topic, name, data string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if e := &f.latest[t]; e.name != name || e.data != data {
		*e = event{name, data, e.version + 1}
		f.wake()
	}
}

// Told reports whether a topic has had a state.
func (f *Feed) Told(t Topic) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.latest[t].version > 0
}

// Close ends the feed; who reads it comes to the end.
func (f *Feed) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	f.dismiss()
}

func (f *Feed) wake() {
	if f.reader == nil {
		return
	}
	select {
	case f.reader.wake <- struct{}{}:
	default: // it has not looked since the last time
	}
}

func (f *Feed) dismiss() {
	if f.reader != nil {
		close(f.reader.gone)
		f.reader = nil
	}
}

// enter makes a request the feed's reader, in place of another: a client that
// connects again has lost the old connection, whether or not we know. It returns
// nil for a closed feed.
func (f *Feed) enter() *reader {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return nil
	}
	f.dismiss()
	f.reader = &reader{make(chan struct{}, 1), make(chan struct{})}
	f.wake()
	return f.reader
}

func (f *Feed) leave(r *reader) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.reader == r {
		f.reader = nil
	}
}

// writeTimeout is how long a client may take nothing of what is written to it.
const writeTimeout = 10 * time.Second

// Serve answers a request with the feed, until the client goes, the feed is closed
// or another request takes over. It reports false, and answers nothing, when the
// feed is closed already. Every heartbeat a comment is sent, so that whatever is
// between keeps the connection, and a client that is gone is noticed.
func (f *Feed) Serve(w http.ResponseWriter, r *http.Request, heartbeat time.Duration) bool {
	me := f.enter()
	if me == nil {
		return false
	}
	defer f.leave(me)
	control := http.NewResponseController(w)
	control.SetReadDeadline(time.Time{}) // nothing more is read
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	var sent [maxTopics]int
	for text := ": hello\n\n"; ; {
		if text != "" {
			control.SetWriteDeadline(time.Now().Add(writeTimeout))
			io.WriteString(w, text)
			if control.Flush() != nil {
				return true
			}
		}
		select {
		case <-r.Context().Done():
			return true
		case <-me.gone:
			return true
		case <-tick.C:
			text = ":\n\n"
		case <-me.wake:
			text = f.news(&sent)
		}
	}
}

// news returns the events that were not sent yet.
func (f *Feed) news(sent *[maxTopics]int) (text string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, e := range f.latest {
		if e.version != sent[i] && slices.Contains(f.wanted, e.name) {
			text += "event: " + e.name + "\ndata: " + e.data + "\n\n"
		}
		sent[i] = e.version
	}
	return text
}
