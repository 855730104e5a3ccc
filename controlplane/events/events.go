// Package events gives log messages stable names and bounds how many there are.
//
// The attribute "event" names it, and where a message has none, the message does:
// "session created" is session_created, and of "no unix socket: …" what stands
// before the first punctuation counts. docs/events.md lists all of them; a test
// holds it to the code.
package events

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"sluice/netopt/attr"
)

// Attrs declares the limit and its counter.
var Attrs attr.Table

var (
	rateAttr = Attrs.Int(attr.Decl{
		Path: "log/events_per_second", Mode: attr.RW, Min: 0, Max: 100_000, Default: "50", Since: "0.1",
		Doc: `How many messages of one event are logged within a second; 0 is no limit. The first one after that says how many
			were left out. Errors are always logged.`,
	})
	suppressedCounter = Attrs.Counter(attr.Decl{
		Path: "log/suppressed_messages", Unit: "messages", Since: "0.1", Doc: "Messages that were not logged because of log/events_per_second.",
	})
)

// Name returns the name of the event that a message without one is of.
func Name(message string) string {
	if end := strings.IndexAny(message, ":;,."); end >= 0 {
		message = message[:end]
	}
	return strings.Join(strings.FieldsFunc(strings.ToLower(message), func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9')
	}), "_")
}

// Handler hands records on with the attribute "event", as many as the limit
// allows.
type Handler struct {
	next  slog.Handler
	state *state // shared with what WithAttrs and WithGroup made
}

type state struct {
	limit atomic.Int64 // 0 for none

	mu         sync.Mutex
	second     time.Time
	logged     map[string]int64  // in this second
	omitted    map[string]uint64 // since the event was logged last
	suppressed uint64
}

// NewHandler returns a handler before next, without a limit until Follow.
func NewHandler(next slog.Handler) *Handler {
	return &Handler{next, &state{logged: map[string]int64{}, omitted: map[string]uint64{}}}
}

// Follow keeps the limit at what a tree says, which must hold Attrs, and fills its
// counter. It is called once.
func (h *Handler) Follow(tree *attr.Tree) {
	s := h.state
	rateAttr.Watch(tree, s.limit.Store)
	s.limit.Store(rateAttr.Get(tree))
	tree.Collect(func(sample *attr.Sample) {
		s.mu.Lock()
		defer s.mu.Unlock()
		suppressedCounter.Add(sample, s.suppressed)
	})
}

// Enabled implements slog.Handler.
func (h *Handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

// Handle implements slog.Handler.
func (h *Handler) Handle(ctx context.Context, r slog.Record) error {
	event, named := eventOf(r)
	omitted, ok := h.state.admit(event, r.Time, r.Level >= slog.LevelError)
	if !ok {
		return nil
	}
	r = r.Clone()
	if !named {
		r.AddAttrs(slog.String("event", event))
	}
	if omitted > 0 {
		r.AddAttrs(slog.Uint64("omitted", omitted))
	}
	return h.next.Handle(ctx, r)
}

// eventOf returns the name of a record's event, and whether it has the attribute.
func eventOf(r slog.Record) (event string, named bool) {
	r.Attrs(func(a slog.Attr) bool {
		named = a.Key == "event"
		event = a.Value.String()
		return !named
	})
	if !named {
		event = Name(r.Message)
	}
	return event, named
}

// admit reports whether an event may be logged, and how many of its kind were not
// since the last one that was.
func (s *state) admit(event string, now time.Time, always bool) (omitted uint64, ok bool) {
	limit := s.limit.Load()
	s.mu.Lock()
	defer s.mu.Unlock()
	if since := now.Sub(s.second); since >= time.Second || since < 0 {
		s.second = now
		clear(s.logged)
	}
	if limit > 0 && s.logged[event] >= limit && !always {
		s.omitted[event]++
		s.suppressed++
		return 0, false
	}
	s.logged[event]++
	omitted = s.omitted[event]
	delete(s.omitted, event)
	return omitted, true
}

// WithAttrs implements slog.Handler.
func (h *Handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &Handler{h.next.WithAttrs(attrs), h.state}
}

// WithGroup implements slog.Handler.
func (h *Handler) WithGroup(name string) slog.Handler {
	return &Handler{h.next.WithGroup(name), h.state}
}
