package registry

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"sluice/controlplane/sdp"
	"sluice/dataplane/msg"
)

// world is a registry, shards that carry out its orders, and a simple model of
// who should be there.
type world struct {
	*testing.T
	random   *rand.Rand
	limits   Limits
	registry *Registry
	shards   []fakeShard
	sessions map[msg.SessionID]*member
	streams  map[string]*stage
}

// fakeShard knows what a shard was told.
type fakeShard struct {
	routes   map[msg.RouteID]msg.AddRoute
	sessions map[msg.SessionID][]msg.RouteID
}

// member is a session of the model.
type member struct {
	stream string
	views  bool
	source netip.Addr
	keyed  bool
}

// stage is a stream of the model.
type stage struct {
	publisher msg.SessionID
	live      bool
	formats   map[msg.Kind]string // of all routes, carried now or not
}

func (w *world) fail(format string, args ...any) {
	w.Helper()
	w.Fatalf(format, args...)
}

// settle carries out the registry's orders as a shard would, which insists on
// their sequence.
func (w *world) settle() {
	for _, o := range w.registry.Orders() {
		shard := &w.shards[o.Shard]
		switch c := o.Command.(type) {
		case msg.AddRoute:
			if old, known := shard.routes[c.Route]; known && old == c {
				w.fail("shard %d was told twice: %+v", o.Shard, c)
			}
			shard.routes[c.Route] = c
		case msg.RemoveRoute:
			if _, known := shard.routes[c.Route]; !known {
				w.fail("shard %d forgets route %d, which it does not know", o.Shard, c.Route)
			}
			for id, routes := range shard.sessions {
				if slices.Contains(routes, c.Route) {
					w.fail("shard %d forgets route %d, which session %v uses", o.Shard, c.Route, id)
				}
			}
			delete(shard.routes, c.Route)
		case msg.RemoveSession:
			delete(shard.sessions, c.ID) // it may have ended by itself
		default:
			w.fail("the registry ordered a %T", c)
		}
	}
}

// start does what follows a placement: the session's own command.
func (w *world) start(s *Session, source netip.Addr) {
	w.settle()
	shard := &w.shards[s.ID.Shard()]
	var routes []msg.RouteID
	for _, t := range s.Stream.Carried() {
		if s.Sends && w.random.IntN(4) == 0 {
			continue // a viewer that wants one kind only
		}
		if _, known := shard.routes[t.Route]; !known {
			w.fail("session %v starts on a shard that does not know route %d", s.ID, t.Route)
		}
		routes = append(routes, t.Route)
	}
	shard.sessions[s.ID] = routes
	w.sessions[s.ID] = &member{stream: s.Stream.Name, views: s.Sends, source: source}
}

func (w *world) source() netip.Addr {
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(w.random.IntN(3))})
}
func (w *world) stream() string { return string(rune('a' + w.random.IntN(4))) }

// any returns some session, false when there is none.
func (w *world) any() (msg.SessionID, bool) {
	ids := slices.Sorted(maps.Keys(w.sessions))
	if len(ids) == 0 {
		return 0, false
	}
	return ids[w.random.IntN(len(ids))], true
}

func (w *world) pending(source netip.Addr) (n int) {
	for _, m := range w.sessions {
		if !m.keyed && m.source == source {
			n++
		}
	}
	return n
}

// refusal is what the model says to one more session.
func (w *world) refusal(source netip.Addr) error {
	switch {
	case len(w.sessions) >= w.limits.Sessions:
		return ErrFull
	case w.pending(source) >= w.limits.Pending:
		return ErrPending
	}
	return nil
}

func (w *world) publish() {
	name, source := w.stream(), w.source()
	tracks := [][]sdp.Track{{opus}, {vp8}, {opus, vp8}, {opus, h264}, {pcmu, vp8}}[w.random.IntN(5)]
	st := w.streams[name]
	want := w.refusal(source)
	switch {
	case st != nil && st.live:
		want = ErrPublished
	case st == nil && len(w.streams) >= w.limits.Streams:
		want = ErrStreams
	}
	s, lost, err := w.registry.Publish(name, tracks, source)
	if err != want {
		w.fail("publish %s: %v, want %v", name, err, want)
	}
	if err != nil {
		w.settle()
		return
	}
	if st == nil {
		st = &stage{formats: map[msg.Kind]string{}}
		w.streams[name] = st
	}
	w.change(name, st, tracks, lost)
	st.publisher, st.live = s.ID, true
	w.start(s, source)
}

// change takes a publisher's tracks into the model, and compares who had to go.
func (w *world) change(name string, st *stage, tracks []sdp.Track, lost []*Session) {
	changed := false
	for _, t := range tracks {
		if old, have := st.formats[t.Kind]; have && old != t.Format.String() {
			changed = true
		}
	}
	var want []msg.SessionID
	if changed {
		clear(st.formats)
		for id, m := range w.sessions {
			if m.stream == name {
				want = append(want, id)
				delete(w.sessions, id)
			}
		}
	}
	for _, t := range tracks {
		st.formats[t.Kind] = t.Format.String()
	}
	var got []msg.SessionID
	for _, s := range lost {
		got = append(got, s.ID)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		w.fail("a new publisher of %s ended %v, want %v", name, got, want)
	}
}

func (w *world) subscribe() {
	name, source := w.stream(), w.source()
	want := w.refusal(source)
	if st := w.streams[name]; st == nil || !st.live {
		want = ErrNotLive
	}
	s, err := w.registry.Subscribe(name, source)
	if err != want {
		w.fail("subscribe to %s: %v, want %v", name, err, want)
	}
	if err == nil {
		w.start(s, source)
	}
}

func (w *world) keyed() {
	if id, ok := w.any(); ok {
		w.registry.Keyed(id)
		w.sessions[id].keyed = true
	}
}

func (w *world) remove(id msg.SessionID) {
	m := w.sessions[id]
	if w.random.IntN(2) == 0 {
		delete(w.shards[id.Shard()].sessions, id) // it ended there first
	}
	w.registry.Remove(id)
	w.registry.Remove(id)
	w.settle()
	delete(w.sessions, id)
	st := w.streams[m.stream]
	if !m.views {
		st.live = false
	}
	left := false
	for _, other := range w.sessions {
		left = left || other.stream == m.stream
	}
	if !left {
		delete(w.streams, m.stream)
	}
}

// check compares the registry and the shards with the model.
func (w *world) check() {
	w.Helper()
	if got := w.registry.Sessions(); got != len(w.sessions) {
		w.fail("%d sessions, want %d", got, len(w.sessions))
	}
	loads := make([]int, len(w.shards))
	for id, m := range w.sessions {
		loads[id.Shard()]++
		if s := w.registry.Session(id); s == nil || s.Sends != m.views || s.Stream != w.registry.Stream(m.stream) {
			w.fail("session %v is %+v, want %+v", id, s, m)
		}
	}
	if !slices.Equal(loads, w.registry.loads) {
		w.fail("loads %v, want %v", w.registry.loads, loads)
	}
	streams := w.registry.Streams()
	if len(streams) != len(w.streams) {
		w.fail("%d streams, want %d", len(streams), len(w.streams))
	}
	known := 0
	for _, s := range streams {
		known += w.checkStream(s)
	}
	for i := range w.shards {
		known -= len(w.shards[i].routes)
	}
	if known != 0 {
		w.fail("%d routes that no stream has are known to shards", -known)
	}
}

// checkStream compares a stream, and returns how many shards know its routes.
func (w *world) checkStream(s *Stream) (known int) {
	st := w.streams[s.Name]
	if st == nil || s.Live() != st.live || len(s.Tracks) != len(st.formats) {
		w.fail("stream %s is %+v, want %+v", s.Name, s, st)
	}
	var shards uint64
	for id := range s.Viewers {
		shards |= 1 << id.Shard()
	}
	for _, t := range s.Tracks {
		want := msg.AddRoute{
			Route: t.Route, Kind: t.Kind, Codec: t.Format.Codec, ClockRate: t.Format.ClockRate, Home: t.Home(), Shards: shards,
		}
		if st.live {
			want.Shards |= 1 << t.Home()
		}
		if live := slices.Contains(s.Carried(), t); st.live && live && t.Home() != st.publisher.Shard() {
			w.fail("route %d is at home on shard %d, its publisher on %d", t.Route, t.Home(), st.publisher.Shard())
		}
		for i := range w.shards {
			got, have := w.shards[i].routes[t.Route]
			needed := want.Shards>>i&1 != 0
			if have != needed || have && got != want {
				w.fail("shard %d knows (%v) %+v, want (%v) %+v", i, have, got, needed, want)
			}
			if have {
				known++
			}
		}
	}
	return known
}

// Any sequence of events leaves registry, shards and model in agreement, and
// nothing behind.
func TestRandomOperations(t *testing.T) {
	const runs, steps = 60, 400
	for seed := range uint64(runs) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for range steps {
				w.step()
				w.check()
			}
			for len(w.sessions) > 0 {
				id, _ := w.any()
				w.remove(id)
				w.check()
			}
			if len(w.registry.pending) != 0 || len(w.registry.streams) != 0 {
				t.Errorf("left behind: %v pending, %d streams", w.registry.pending, len(w.registry.streams))
			}
		})
	}
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		T: t, random: rand.New(rand.NewPCG(seed, 0)),
		limits:   Limits{Sessions: 12, Streams: 3, Pending: 5},
		sessions: map[msg.SessionID]*member{}, streams: map[string]*stage{},
	}
	w.shards = make([]fakeShard, 1+w.random.IntN(4))
	for i := range w.shards {
		w.shards[i] = fakeShard{map[msg.RouteID]msg.AddRoute{}, map[msg.SessionID][]msg.RouteID{}}
	}
	w.registry = New(len(w.shards), w.limits)
	w.registry.Placement = Placement{Together: w.random.IntN(4), Lead: w.random.IntN(8)}
	return w
}

func (w *world) step() {
	switch w.random.IntN(10) {
	case 0, 1:
		w.publish()
	case 2, 3, 4:
		w.subscribe()
	case 5, 6, 7:
		w.keyed()
	default:
		if id, ok := w.any(); ok {
			w.remove(id)
		}
	}
}
