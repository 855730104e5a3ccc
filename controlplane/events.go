package controlplane

import (
	"fmt"
	"math"
	"strconv"

	"sluice/controlplane/registry"
	"sluice/controlplane/sse"
	"sluice/dataplane/msg"
)

// ViewerEvents are the names of the events that viewers can be told, of those in
// the core extensions of draft-ietf-wish-whep.
var ViewerEvents = []string{"active", "inactive", "layers", "viewercount"}

// What a viewer's feed tells.
const (
	topicPublication sse.Topic = iota // active or inactive
	topicLayers
	topicViewers
)

// Listen makes the event feed of a viewer, for events among ViewerEvents, in place
// of the one that it has. The feed ends with the session. It returns the feed's
// name within the session. Errors: ErrNoSession, ErrEventStreams.
func (s *Service) Listen(token string, wanted []string) (name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[s.byToken[token]]
	if p == nil || !p.session.Sends {
		return "", ErrNoSession
	}
	if p.feed == nil && s.feeds >= int(eventStreamsAttr.Get(s.tree)) {
		s.feedsRefused++
		return "", ErrEventStreams
	}
	s.unlisten(p)
	s.feeds++
	s.feedSerial++
	p.feed, p.feedName = sse.New(wanted), strconv.FormatUint(s.feedSerial, 10)
	s.tell(p.session.Stream)
	return p.feedName, nil
}

// Feed returns a session's event feed by its name, nil for none.
func (s *Service) Feed(token, name string) *sse.Feed {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.peers[s.byToken[token]]; p != nil && p.feedName == name {
		return p.feed
	}
	return nil
}

// Unlisten ends an event feed; false when there is none of that name.
func (s *Service) Unlisten(token, name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.peers[s.byToken[token]]
	if p == nil || p.feed == nil || p.feedName != name {
		return false
	}
	s.unlisten(p)
	return true
}

func (s *Service) unlisten(p *peer) {
	if p.feed != nil {
		p.feed.Close()
		p.feed = nil
		s.feeds--
	}
}

// tellAll brings all feeds up to date.
func (s *Service) tellAll() {
	if s.feeds == 0 {
		return
	}
	for _, stream := range s.registry.Streams() {
		s.tell(stream)
	}
}

// tell brings the feeds of a stream's viewers up to date. Nobody is told that a
// stream is inactive who was not told that it was active.
func (s *Service) tell(stream *registry.Stream) {
	if s.feeds == 0 {
		return
	}
	count := fmt.Sprintf(`{"viewercount":%d}`, len(stream.Viewers))
	for id := range stream.Viewers {
		p := s.peers[id]
		if p == nil || p.feed == nil {
			continue
		}
		if stream.Live() {
			p.feed.Tell(topicPublication, "active", "{}")
		} else if p.feed.Told(topicPublication) {
			p.feed.Tell(topicPublication, "inactive", "{}")
		}
		if p.videoLine >= 0 {
			p.feed.Tell(topicLayers, "layers", fmt.Sprintf(`{"%d":%s}`, p.videoLine, s.layers(stream)))
		}
		p.feed.Tell(topicViewers, "viewercount", count)
	}
}

// layers describes the video of a stream, which is one layer, by two digits of its
// bit rate of late.
func (s *Service) layers(stream *registry.Stream) string {
	for _, t := range stream.Carried() {
		if t.Kind != msg.Video {
			continue
		}
		layer := `[{"spatialLayerId":0,"temporalLayerId":0`
		if m := s.meters[t.Route]; m != nil && stream.Live() && m.told >= 1 {
			step := math.Pow(10, math.Floor(math.Log10(m.told))-1)
			layer += fmt.Sprintf(`,"bitrate":%d`, int64(math.Round(m.told/step)*step))
		}
		return layer + "}]"
	}
	return "[]"
}
