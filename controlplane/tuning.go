package controlplane

import (
	"time"

	"sluice/controlplane/registry"
	"sluice/dataplane/msg"
	"sluice/netopt/attr"
)

var gopAttr = Attrs.Int(attr.Decl{
	Path: "streams/<name>/gop_bytes", Unit: "bytes", Mode: attr.RW, Min: -1, Max: 64 << 20, Default: "0", Since: "0.1",
	Doc: `How many bytes of the stream's video are kept at least if its source cannot be asked for keyframes, so that new viewers
		start at the last one at once. 0 is dataplane/gop_bytes; with -1 new viewers wait for the next keyframe. What a stream
		that already runs keeps does not change.`,
})

var dscpAttr = Attrs.Int(attr.Decl{
	Path: "streams/<name>/dscp", Mode: attr.RW, Min: -1, Max: 63, Default: "-1", Since: "0.1",
	Doc: `The mark (DSCP, RFC 2474) of all that viewers of the stream get over UDP, sound and picture alike; 0 is none. -1 is
		dataplane/audio_dscp and dataplane/video_dscp.`,
})

// tuning is what an operator settled of a stream, for its routes.
func (s *Service) tuning(stream string) msg.Tuning {
	us := func(a attr.Attr[int64]) time.Duration { return time.Duration(a.Of(s.tree, stream)) * time.Microsecond }
	t := msg.Tuning{
		Deadlines: msg.Deadlines{Budget: us(budgetAttr), LateDrop: us(lateDropAttr)},
		GOPBytes:  int(gopAttr.Of(s.tree, stream)),
	}
	if dscp := dscpAttr.Of(s.tree, stream); dscp >= 0 {
		t.Marked, t.Class = true, uint8(dscp)<<2
	}
	return t
}

// tune tells it to the routes of a stream, wherever they are. s.mu is held.
func (s *Service) tune(stream *registry.Stream) {
	tuning := s.tuning(stream.Name)
	for _, t := range stream.Tracks {
		for shard := range s.plane.Shards() {
			s.plane.Send(shard, msg.TuneRoute{Route: t.Route, Tuning: tuning})
		}
	}
}

// beginTuning does the same for routes that may be new somewhere, which begin
// with none of their own. s.mu is held.
func (s *Service) beginTuning(stream *registry.Stream) {
	if s.tuning(stream.Name) != (msg.Tuning{}) {
		s.tune(stream)
	}
}

// followTuning keeps it as the tree says.
func (s *Service) followTuning() {
	tell := func(name string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if stream := s.registry.Stream(name); stream != nil {
			s.tune(stream)
		}
	}
	for _, a := range []attr.Attr[int64]{budgetAttr, lateDropAttr, gopAttr, dscpAttr} {
		a.WatchEach(s.tree, func(name string, _ int64) { tell(name) })
	}
	FixedStreams.Watch(s.tree, func(name string, _ bool) { tell(name) })
}
