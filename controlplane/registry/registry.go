// Package registry knows who publishes and who watches what, and where in the
// data plane. It is pure: it places sessions (Placement), keeps the limits, and says
// which commands make the shards agree with it; the caller sends them, in order.
//
// A stream is made by its first publisher. Its routes stay while it has a
// publisher or viewers, so that viewers outlive a publisher restart; it ends
// with the last of them.
package registry

import (
	"maps"
	"net/netip"
	"slices"
	"strings"

	"sluice/controlplane/sdp"
	"sluice/controlplane/subnet"
	"sluice/dataplane/msg"
)

// Limits bound what there may be at once.
type Limits struct {
	Sessions int // publishers and viewers together
	Streams  int
	Pending  int // sessions of one source that have no keys yet
}

// Order is a command for a shard.
type Order struct {
	Shard   int
	Command msg.Command
}

// Registry is the state of all streams. Not safe for concurrent use.
type Registry struct {
	Placement Placement // where sessions go from now on

	limits   Limits
	loads    []int // sessions by shard
	busy     []bool
	placed   [NumWheres]uint64
	streams  map[string]*Stream
	sessions map[msg.SessionID]*Session
	pending  map[netip.Prefix]int
	serial   uint64
	routes   msg.RouteID
	orders   []Order
}

// Stream is a named stream. Fields are for reading.
type Stream struct {
	Name      string
	Publisher *Session // nil for none
	BuiltIn   bool     // published by the appliance itself
	Tracks    []*Track // at most one of a kind
	Viewers   map[msg.SessionID]*Session

	at []int // viewers by shard
}

// Live reports whether the stream has a publisher.
func (s *Stream) Live() bool { return s.Publisher != nil || s.BuiltIn }

// Track returns the stream's track of a kind, nil for none.
func (s *Stream) Track(k msg.Kind) *Track {
	for _, t := range s.Tracks {
		if t.Kind == k {
			return t
		}
	}
	return nil
}

// Carried returns the tracks that the publisher sends.
func (s *Stream) Carried() []*Track {
	return slices.DeleteFunc(slices.Clone(s.Tracks), func(t *Track) bool { return !t.carried })
}

// Track is one kind of media of a stream. It stays as long as the stream, since
// viewers may hold on to it while publishers come and go.
type Track struct {
	sdp.Track
	Route msg.RouteID

	home    int
	carried bool
	told    msg.AddRoute // what the shards in told.Shards know of the route
}

// Session is a publisher or a viewer.
type Session struct {
	ID     msg.SessionID
	Stream *Stream
	Sends  bool // the peer is a viewer

	source netip.Prefix
	keyed  bool
}

// New returns a registry for so many shards.
func New(shards int, limits Limits) *Registry {
	return &Registry{
		limits:   limits,
		loads:    make([]int, shards),
		busy:     make([]bool, shards),
		streams:  map[string]*Stream{},
		sessions: map[msg.SessionID]*Session{},
		pending:  map[netip.Prefix]int{},
	}
}

// Orders returns the commands that became due since the last call.
func (r *Registry) Orders() []Order {
	orders := r.orders
	r.orders = nil
	return orders
}

// Stream returns a stream by name, nil for none.
func (r *Registry) Stream(name string) *Stream { return r.streams[name] }

// Streams returns all streams, by name.
func (r *Registry) Streams() []*Stream {
	return slices.SortedFunc(maps.Values(r.streams), func(a, b *Stream) int { return strings.Compare(a.Name, b.Name) })
}

// Session returns a session, nil for none.
func (r *Registry) Session(id msg.SessionID) *Session { return r.sessions[id] }

// Sessions returns how many sessions there are.
func (r *Registry) Sessions() int { return len(r.sessions) }

// Placed returns how many viewers went where so far, by Where.
func (r *Registry) Placed() [NumWheres]uint64 { return r.placed }

// Admit reports whether one more session from a source fits the limits; it
// changes nothing.
func (r *Registry) Admit(source netip.Addr) error {
	switch {
	case len(r.sessions) >= r.limits.Sessions:
		return ErrFull
	case r.pending[subnet.Of(source)] >= r.limits.Pending:
		return ErrPending
	}
	return nil
}

// Publish makes a session the publisher of a stream with the given tracks, and
// the stream if there is none. It returns the session, and the viewers for whom
// the stream changed too much: a codec they did not agree on. The caller ends
// those with Remove. Orders for the new session itself, which need its
// credentials, are the caller's, after those of Orders.
func (r *Registry) Publish(name string, tracks []sdp.Track, source netip.Addr) (*Session, []*Session, error) {
	stream := r.streams[name]
	switch {
	case stream != nil && stream.Live():
		return nil, nil, ErrPublished
	case stream == nil && len(r.streams) >= r.limits.Streams:
		return nil, nil, ErrStreams
	}
	if err := r.Admit(source); err != nil {
		return nil, nil, err
	}
	stream = r.ensure(name)
	s := r.add(stream, r.placePublisher(stream), source, false)
	stream.Publisher = s
	return s, r.carry(stream, tracks, s.ID.Shard()), nil
}

// PublishBuiltIn makes a stream that the appliance publishes itself, by Inject
// to the home shard of its routes.
func (r *Registry) PublishBuiltIn(name string, tracks []sdp.Track) (*Stream, error) {
	switch {
	case r.streams[name] != nil:
		return nil, ErrPublished
	case len(r.streams) >= r.limits.Streams:
		return nil, ErrStreams
	}
	stream := r.ensure(name)
	stream.BuiltIn = true
	r.carry(stream, tracks, r.placePublisher(stream))
	return stream, nil
}

// Home returns the shard where a track's media comes in.
func (t *Track) Home() int { return t.home }

// Subscribe makes a session a viewer of a live stream.
func (r *Registry) Subscribe(name string, source netip.Addr) (*Session, error) {
	stream := r.streams[name]
	if stream == nil || !stream.Live() {
		return nil, ErrNotLive
	}
	if err := r.Admit(source); err != nil {
		return nil, err
	}
	shard := r.placeViewer(stream)
	r.placed[r.where(stream, shard)]++
	s := r.add(stream, shard, source, true)
	stream.Viewers[s.ID] = s
	stream.at[s.ID.Shard()]++
	r.sync(stream)
	return s, nil
}

// Move takes a publisher that has no keys yet to another shard, where its stream
// comes in from then on; its id is another one afterwards. It reports whether it
// did: a shard that has enough to do takes none. Orders for the session itself are
// the caller's, after those of Orders.
func (r *Registry) Move(s *Session, shard int) bool {
	if s.Sends || s.keyed || s.ID.Shard() == shard || r.crowded(shard) {
		return false
	}
	r.unplace(s.ID)
	r.place(s, shard)
	for _, t := range s.Stream.Tracks {
		if t.carried {
			t.home = shard
		}
	}
	r.sync(s.Stream)
	return true
}

// Keyed records that a session has keys.
func (r *Registry) Keyed(id msg.SessionID) {
	if s := r.sessions[id]; s != nil && !s.keyed {
		s.keyed = true
		r.settle(s.source)
	}
}

// Remove ends a session, and its stream if that was the last of it. Removing
// one that is gone does nothing.
func (r *Registry) Remove(id msg.SessionID) {
	s := r.sessions[id]
	if s == nil {
		return
	}
	if !s.keyed {
		r.settle(s.source)
	}
	r.unplace(id)
	if s.Sends {
		delete(s.Stream.Viewers, id)
		s.Stream.at[id.Shard()]--
	} else {
		s.Stream.Publisher = nil
	}
	r.sync(s.Stream)
	if !s.Stream.Live() && len(s.Stream.Viewers) == 0 {
		delete(r.streams, s.Stream.Name)
	}
}

func (r *Registry) ensure(name string) *Stream {
	if r.streams[name] == nil {
		r.streams[name] = &Stream{Name: name, Viewers: map[msg.SessionID]*Session{}, at: make([]int, len(r.loads))}
	}
	return r.streams[name]
}

func (r *Registry) add(stream *Stream, shard int, source netip.Addr, sends bool) *Session {
	s := &Session{Stream: stream, Sends: sends, source: subnet.Of(source)}
	r.place(s, shard)
	r.pending[s.source]++
	return s
}

// place gives a session its shard, and an id.
func (r *Registry) place(s *Session, shard int) {
	r.serial++
	s.ID = msg.NewSessionID(shard, r.serial)
	r.sessions[s.ID] = s
	r.loads[shard]++
}

// unplace takes a session off its shard.
func (r *Registry) unplace(id msg.SessionID) {
	delete(r.sessions, id)
	r.loads[id.Shard()]--
	r.order(id.Shard(), msg.RemoveSession{ID: id})
}

func (r *Registry) settle(source netip.Prefix) {
	if r.pending[source]--; r.pending[source] == 0 {
		delete(r.pending, source)
	}
}

// carry makes a stream carry tracks that come in at a shard. Viewers stay on the
// routes whose format is the same; if any is not, all viewers are ended and
// returned, and the stream begins anew.
func (r *Registry) carry(stream *Stream, tracks []sdp.Track, home int) (lost []*Session) {
	if stream.changes(tracks) {
		lost = slices.Collect(maps.Values(stream.Viewers))
		for _, s := range lost {
			r.Remove(s.ID)
		}
		for _, t := range stream.Tracks {
			r.spread(t, 0)
		}
		stream.Tracks = nil
	}
	for _, t := range stream.Tracks {
		t.carried = false
	}
	for _, t := range tracks {
		track := stream.Track(t.Kind)
		if track == nil {
			r.routes++
			track = &Track{Route: r.routes}
			stream.Tracks = append(stream.Tracks, track)
		}
		track.Track, track.home, track.carried = t, home, true
	}
	r.sync(stream)
	return lost
}

// changes reports whether the tracks are in a format other than the stream's.
func (s *Stream) changes(tracks []sdp.Track) bool {
	for _, t := range tracks {
		if old := s.Track(t.Kind); old != nil && old.Format.String() != t.Format.String() {
			return true
		}
	}
	return false
}

// sync makes the stream's routes known where they are needed: at the home of
// the ingress, and where there are viewers.
func (r *Registry) sync(stream *Stream) {
	var viewers uint64
	for shard, n := range stream.at {
		if n > 0 {
			viewers |= 1 << shard
		}
	}
	for _, t := range stream.Tracks {
		shards := viewers
		if stream.Live() {
			shards |= 1 << t.home
		}
		r.spread(t, shards)
	}
}

// spread makes a route known to a set of shards and no others, and tells those
// that know it what changed; mostly nothing did. The home comes last: it sends
// at once what the others have to know the route for.
func (r *Registry) spread(t *Track, shards uint64) {
	known, tell := t.told.Shards, msg.AddRoute{
		Route: t.Route, Kind: t.Kind, Codec: t.Format.Codec, ClockRate: t.Format.ClockRate,
		Home: t.home, Shards: shards,
	}
	if tell == t.told {
		return
	}
	t.told = tell
	for i := range r.loads {
		shard := (t.home + 1 + i) % len(r.loads)
		switch bit := uint64(1) << shard; {
		case shards&bit != 0:
			r.order(shard, tell)
		case known&bit != 0:
			r.order(shard, msg.RemoveRoute{Route: t.Route})
		}
	}
}

func (r *Registry) order(shard int, c msg.Command) {
	r.orders = append(r.orders, Order{shard, c})
}
