package controlplane

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/controlplane/registry"
	"sluice/dataplane/engine"
	"sluice/dataplane/histogram"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// SessionInfo is everything about one session that is no secret. Its token, keys
// and credentials are.
type SessionInfo struct {
	ID     string               `json:"id"`
	Role   string               `json:"role"`
	Stream string               `json:"stream"`
	Since  time.Time            `json:"since"`
	Shard  int                  `json:"shard"`
	Media  *engine.SessionStats `json:"media"` // null when the shard does not answer
}

// Sessions returns the ids of all sessions, sorted.
func (s *Service) Sessions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []msg.SessionID
	for id := range s.peers {
		all = append(all, id)
	}
	slices.Sort(all)
	var ids []string
	for _, id := range all {
		ids = append(ids, id.String())
	}
	return ids
}

// Inspect returns what is known of a session; false when there is none.
func (s *Service) Inspect(id string) (SessionInfo, bool) {
	var shard int
	var serial uint64
	if n, err := fmt.Sscanf(id, "%d.%d", &shard, &serial); n != 2 || err != nil || shard < 0 {
		return SessionInfo{}, false
	}
	name := msg.NewSessionID(shard, serial)
	info, ok := s.inspect(name)
	if !ok || info.ID != id {
		return SessionInfo{}, false
	}
	info.Media = s.plane.Session(name)
	return info, true
}

func (s *Service) inspect(id msg.SessionID) (SessionInfo, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	session, p := s.registry.Session(id), s.peers[id]
	if session == nil || p == nil {
		return SessionInfo{}, false
	}
	return SessionInfo{ID: id.String(), Role: createdRoles[role(session)], Stream: session.Stream.Name, Since: p.since, Shard: id.Shard()}, true
}

// Picture is what the operator's page shows, beside the tree.
type Picture struct {
	Shards  []ShardPicture    `json:"shards"`
	Streams []StreamPicture   `json:"streams"` // those with most viewers, at most maxPictured
	Drops   map[string]uint64 `json:"drops"`
	Edges   []int             `json:"edges_us"` // upper ends of the buckets of all histograms
}

// ShardPicture is a shard; all figures count from its start.
type ShardPicture struct {
	Answers   bool               `json:"answers"` // within a second
	Sessions  int                `json:"sessions"`
	Viewers   int                `json:"egress_streams"`
	RxPackets uint64             `json:"rx_packets"`
	TxPackets uint64             `json:"tx_packets"`
	Overflows uint64             `json:"receive_overflow_packets"`
	Queue     int                `json:"receive_queue_bytes"`
	Room      int                `json:"receive_queue_max_bytes"`
	Stages    map[string]float64 `json:"stage_seconds"`
	Latency   []uint64           `json:"latency"` // packets, by bucket
}

// StreamPicture is a stream's latency against its budget.
type StreamPicture struct {
	Name     string   `json:"name"`
	Live     bool     `json:"live"`
	Viewers  int      `json:"viewers"`
	BudgetUS int64    `json:"budget_us"` // 0 for none
	Permille int64    `json:"budget_quantile_permille"`
	Exceeded bool     `json:"budget_exceeded"` // in the last window
	Late     uint64   `json:"late_packets"`    // in the last window
	Sent     uint64   `json:"sent_packets"`    // in the last window
	Latency  []uint64 `json:"latency"`         // packets, by bucket
	Stamped  []uint64 `json:"transmit"`        // those of a sample, to the kernel's transmit timestamp
}

// maxPictured bounds the streams of a picture: a page with more helps nobody.
const maxPictured = 32

// edges are what the page's histograms tell apart: from 16 us to 1 s, two to each
// doubling.
var edges = func() (us []int) {
	for at := 16.0; at < 1_100_000; at *= 1.4142135623730951 {
		us = append(us, int(at+0.5))
	}
	return us
}()

// coarse counts a histogram into buckets up to edges, and one above.
func coarse(h *histogram.Histogram) []uint64 {
	counts := make([]uint64, len(edges)+1)
	h.Each(func(d time.Duration, n uint64) {
		i, _ := slices.BinarySearch(edges, int(d.Microseconds()))
		counts[i] += n
	})
	return counts
}

// Picture returns what the operator's page shows.
func (s *Service) Picture() Picture {
	p := Picture{Drops: map[string]uint64{}, Edges: edges, Streams: []StreamPicture{}}
	budgets := map[msg.RouteID]time.Duration{}
	times := s.plane.Times()
	for i, st := range s.plane.Inspect() {
		p.Shards = append(p.Shards, pictureOf(st, times[i]))
		if st == nil {
			continue
		}
		for reason, n := range st.Drops {
			if n > 0 && wire.Drop(reason) != wire.Kept {
				p.Drops[wire.Drop(reason).String()] += n
			}
		}
		for _, r := range st.Routes {
			budgets[r.Route] = r.Budget
		}
	}
	streams := s.mostWatched()
	for _, own := range streams {
		var sum engine.Latency
		for i, l := range s.plane.Latency(own.routes) {
			sum.Merge(&l)
			own.picture.BudgetUS = budgets[own.routes[i]].Microseconds()
		}
		own.picture.Latency, own.picture.Stamped = coarse(&sum.Sent), coarse(&sum.Stamped)
		p.Streams = append(p.Streams, own.picture)
	}
	return p
}

func pictureOf(st *engine.Stats, times *engine.Times) ShardPicture {
	if st == nil || times == nil {
		return ShardPicture{}
	}
	stages := map[string]float64{}
	for stage, d := range st.Loop.Stages {
		stages[engine.Stage(stage).String()] = d.Seconds()
	}
	return ShardPicture{
		Answers: true, Sessions: st.Sessions, Viewers: st.Egresses, RxPackets: st.RxPackets, TxPackets: st.TxPackets,
		Overflows: st.Loop.Socket.Overflows, Queue: st.Loop.Socket.ReceiveQueue, Room: st.Loop.Socket.ReceiveBuffer,
		Stages: stages, Latency: coarse(&times.Latency),
	}
}

// pictured is a stream whose latency is still to be asked for.
type pictured struct {
	picture StreamPicture
	routes  []msg.RouteID
}

// mostWatched returns the streams with most viewers.
func (s *Service) mostWatched() []pictured {
	s.mu.Lock()
	defer s.mu.Unlock()
	streams := s.registry.Streams()
	slices.SortFunc(streams, func(a, b *registry.Stream) int {
		return cmp.Or(cmp.Compare(len(b.Viewers), len(a.Viewers)), strings.Compare(a.Name, b.Name))
	})
	var all []pictured
	for _, stream := range streams[:min(len(streams), maxPictured)] {
		p := pictured{picture: StreamPicture{
			Name: stream.Name, Live: stream.Live(), Viewers: len(stream.Viewers), Permille: quantileAttr.Of(s.tree, stream.Name),
		}}
		if j := s.judges[stream.Name]; j != nil {
			p.picture.Exceeded, p.picture.Late, p.picture.Sent = j.verdict.Exceeded, j.verdict.Late, j.verdict.Sent
		}
		for _, t := range stream.Tracks {
			p.routes = append(p.routes, t.Route)
		}
		all = append(all, p)
	}
	return all
}
