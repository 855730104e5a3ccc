package controlplane

import (
	"context"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"sluice/controlplane/registry"
	"sluice/controlplane/sdp"
	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/dataplane/source"
	"sluice/netopt/attr"
)

// meter follows how much media a route carries.
type meter struct {
	bytes uint64
	at    time.Time
	rate  float64   // bits a second over the last interval
	grown time.Time // when media last came

	told   float64 // the rate that viewers' event feeds tell
	toldAt time.Time
}

// measureEvery is how often the meters are read.
const measureEvery = time.Second

// tellRatesEvery is how often event feeds tell of bit rates, which hardly ever are
// the same twice.
const tellRatesEvery = 10 * time.Second

// measure reads the meters until the service is closed, and tidies up.
func (s *Service) measure() {
	tick := time.NewTicker(measureEvery)
	defer tick.Stop()
	var tidy tidier
	for {
		select {
		case <-s.stop:
			return
		case now := <-tick.C:
			s.lookAtKeys()
			s.read(now, s.plane.Inspect())
			tidy.turn(s.keyer.Stats().Started)
		}
	}
}

// tidier gives memory back to the system after a burst of handshakes. One takes
// some 80 kB and leaves garbage, and nothing else allocates: left alone, the
// collector would not run for minutes.
type tidier struct {
	seen  uint64 // handshakes at the last turn
	tidy  uint64 // handshakes when memory was given back last
	quiet int    // turns without a handshake
}

// quietTurns is how many turns without a handshake end a burst.
const quietTurns = 3

func (t *tidier) turn(handshakes uint64) {
	t.quiet++
	if handshakes != t.seen {
		t.seen, t.quiet = handshakes, 0
	}
	if t.quiet >= quietTurns && t.tidy != t.seen {
		t.tidy = t.seen
		debug.FreeOSMemory()
	}
}

func (s *Service) read(now time.Time, shards []*engine.Stats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen := map[msg.RouteID]*meter{}
	for _, st := range shards {
		if st == nil {
			continue
		}
		for _, r := range st.Routes {
			if r.Home {
				seen[r.Route] = s.meters[r.Route].read(now, r.Bytes)
			}
		}
	}
	s.meters, s.metered = seen, now
	s.expireOffers(now)
	s.tellAll()
	s.judgeBudgets(now, shards)
	s.watchShards(shards)
}

// read returns the meter's next state; m may be nil for a route seen first.
func (m *meter) read(now time.Time, bytes uint64) *meter {
	if m == nil || bytes < m.bytes { // new, or moved to another shard, which counts anew
		return &meter{bytes: bytes, at: now, grown: now}
	}
	next := &meter{bytes: bytes, at: now, grown: m.grown, told: m.told, toldAt: m.toldAt}
	next.rate = float64(bytes-m.bytes) * 8 / now.Sub(m.at).Seconds()
	if now.Sub(m.toldAt) >= tellRatesEvery {
		next.told, next.toldAt = next.rate, now
	}
	if bytes > m.bytes {
		next.grown = now
	}
	return next
}

// StreamInfo is what everyone may know of a stream.
type StreamInfo struct {
	Name    string     `json:"name"`
	Title   string     `json:"title"` // "" for none but the name
	Live    bool       `json:"live"`
	Since   *time.Time `json:"since"` // of the publisher, null for none
	Viewers int        `json:"viewers"`
	Bitrate int        `json:"bitrate_bps"`
	Audio   *CodecInfo `json:"audio"`
	Video   *CodecInfo `json:"video"`
	Source  string     `json:"source"` // "built-in", "whip", or "" for a fixed stream that nobody publishes
}

// CodecInfo names a codec.
type CodecInfo struct {
	Codec string `json:"codec"`
}

// Streams returns all streams, by name: those that are there, and fixed ones.
func (s *Service) Streams() []StreamInfo {
	s.mu.Lock()
	defer s.mu.Unlock()
	infos := []StreamInfo{}
	for _, stream := range s.registry.Streams() {
		infos = append(infos, s.info(stream))
	}
	for _, name := range FixedStreams.Objects(s.tree) {
		if s.registry.Stream(name) == nil {
			infos = append(infos, StreamInfo{Name: name, Title: titleAttr.Of(s.tree, name)})
		}
	}
	slices.SortFunc(infos, func(a, b StreamInfo) int { return strings.Compare(a.Name, b.Name) })
	return infos
}

func (s *Service) info(stream *registry.Stream) StreamInfo {
	info := StreamInfo{Name: stream.Name, Title: titleAttr.Of(s.tree, stream.Name), Live: stream.Live(), Viewers: len(stream.Viewers), Source: "whip"}
	switch {
	case stream.BuiltIn:
		info.Source, info.Since = "built-in", &s.started
	case stream.Publisher != nil:
		since := s.peers[stream.Publisher.ID].since
		info.Since = &since
	}
	for _, t := range stream.Carried() {
		if m := s.meters[t.Route]; m != nil && stream.Live() {
			info.Bitrate += int(m.rate)
		}
		c := &CodecInfo{t.Format.Name()}
		if t.Kind == msg.Audio {
			info.Audio = c
		} else {
			info.Video = c
		}
	}
	return info
}

// PlayDemo publishes the built-in clip as a stream until ctx is done.
func (s *Service) PlayDemo(ctx context.Context, name string) error {
	clip, err := source.Demo()
	if err != nil {
		return err
	}
	s.mu.Lock()
	stream, err := s.registry.PublishBuiltIn(name, []sdp.Track{
		{Kind: msg.Audio, Format: sdp.Format{Codec: codec.Opus, ClockRate: 48000, Channels: 2}},
		{Kind: msg.Video, Format: sdp.Format{Codec: codec.VP8, ClockRate: 90000}},
	})
	if err != nil {
		s.mu.Unlock()
		return err
	}
	s.send()
	s.beginTuning(stream)
	var to [2]*registry.Track
	for _, t := range stream.Tracks {
		to[t.Kind] = t
	}
	s.mu.Unlock()
	go source.Run(ctx, source.NewPlayer(clip, clock.Time(0)), func(kind msg.Kind, packet []byte) {
		s.plane.Send(to[kind].Home(), msg.Inject{Route: to[kind].Route, Packet: packet})
	})
	return nil
}

// createdRoles are the roles that created_sessions tells apart.
var createdRoles = [...]string{"publisher", "viewer"}

func role(s *registry.Session) int {
	if s.Sends {
		return 1
	}
	return 0
}

func (s *Service) collect(sample *attr.Sample) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, n := range s.created {
		createdCounter.Add(sample, i, n)
	}
	restartsCounter.Add(sample, s.restarts)
	movesCounter.Add(sample, s.moves)
	eventStreamsGauge.Set(sample, float64(s.feeds))
	eventStreamsRefused.Add(sample, s.feedsRefused)
	for i := range s.refused {
		refusedCounter.Add(sample, i, s.refused[i].Load())
	}
	for _, stream := range s.registry.Streams() {
		if stream.Live() {
			streamsGauge.Add(sample, 1)
		}
		viewersGauge.Add(sample, float64(len(stream.Viewers)))
	}
	s.collectBudgets(sample)
	s.collectPlacement(sample)
	fixedGauge.Set(sample, float64(len(FixedStreams.Objects(s.tree))))
}
