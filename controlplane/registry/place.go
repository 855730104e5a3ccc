package registry

import (
	"cmp"
	"slices"
)

// Placement says where sessions go. The zero value spreads every stream's
// viewers over all shards.
//
// Each shard with viewers of a stream costs a copy of every packet and a turn of
// its loop, so few viewers are better off together, and beside their publisher.
// Many are not: a shard serves them one after the other, and the last one waits
// for all others.
type Placement struct {
	Together int // viewers of one stream that a shard takes before another does
	Lead     int // how many more sessions than the idlest a shard may have and still take one for nearness
}

// Where is why a viewer went to its shard, from the best reason on.
type Where int

// The reasons.
const (
	AtHome  Where = iota // the stream comes in there
	Near                 // other viewers of the stream are there
	Further              // those shards have their share of its viewers: here is the next one
	Full                 // all shards have: it has the fewest
	Crowded              // all shards have much to do: it has the fewest of the stream
	NumWheres
)

// String returns the reason's name in metrics.
func (w Where) String() string {
	return [...]string{"home", "near", "further", "full", "crowded"}[w]
}

// SetBusy says which shards have little time left. They get no session while
// another has more.
func (r *Registry) SetBusy(busy []bool) { copy(r.busy, busy) }

// crowded reports whether nearness is no reason to go to a shard.
func (r *Registry) crowded(shard int) bool {
	return r.busy[shard] || r.loads[shard]-slices.Min(r.loads) > r.Placement.Lead
}

// where says how good a shard is for another viewer of a stream.
func (r *Registry) where(stream *Stream, shard int) Where {
	switch {
	case r.crowded(shard):
		return Crowded
	case stream.at[shard] >= r.Placement.Together:
		return Full
	case stream.comesInAt(shard):
		return AtHome
	case stream.at[shard] > 0:
		return Near
	}
	return Further
}

func (s *Stream) comesInAt(shard int) bool {
	return slices.ContainsFunc(s.Tracks, func(t *Track) bool { return t.home == shard })
}

// placeViewer returns the best shard for another viewer of a stream; among equals
// that with the fewest of them, and then that with the fewest sessions.
func (r *Registry) placeViewer(stream *Stream) int {
	return r.least(func(a, b int) int {
		return cmp.Or(cmp.Compare(r.where(stream, a), r.where(stream, b)), cmp.Compare(stream.at[a], stream.at[b]), cmp.Compare(r.loads[a], r.loads[b]))
	})
}

// placePublisher returns the best shard for a stream to come in at: where most of
// the viewers are that it has already, else where there are the fewest sessions.
func (r *Registry) placePublisher(stream *Stream) int {
	return r.least(func(a, b int) int {
		return cmp.Or(compareBool(r.crowded(a), r.crowded(b)), cmp.Compare(stream.at[b], stream.at[a]), cmp.Compare(r.loads[a], r.loads[b]))
	})
}

// least returns the first of the shards before which no other comes.
func (r *Registry) least(compare func(a, b int) int) int {
	best := 0
	for shard := range r.loads {
		if compare(shard, best) < 0 {
			best = shard
		}
	}
	return best
}

// compareBool puts false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
