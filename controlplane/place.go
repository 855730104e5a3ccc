package controlplane

import (
	"time"

	"sluice/controlplane/registry"
	"sluice/dataplane/engine"
	"sluice/netopt/attr"
)

var (
	togetherAttr = Attrs.Int(attr.Decl{
		Path: "placement/stream_viewers", Unit: "viewers", Mode: attr.RW, Min: 0, Max: 65536, Default: "128", Since: "0.1",
		Doc: `How many viewers of one stream a shard takes before another one does, the publisher's first. Together they cost
			least: every further shard takes a copy of each packet. Apart they wait least: a shard serves one after the other. Beyond
			that many on each shard, viewers are spread evenly; 0 always spreads them. Sessions that are there stay where they are.`,
	})
	leadAttr = Attrs.Int(attr.Decl{
		Path: "placement/lead_sessions", Unit: "sessions", Mode: attr.RW, Min: 0, Max: 65536, Default: "256", Since: "0.1",
		Doc: `How many more sessions than the one with the fewest a shard may have and still take a viewer because its stream is
			there.`,
	})
	busyAttr = Attrs.Int(attr.Decl{
		Path: "placement/busy_percent", Unit: "percent", Mode: attr.RW, Min: 1, Max: 100, Default: "75", Since: "0.1",
		Doc: `From which part of its time on that a shard worked in the last second it takes no viewer because its stream is there,
			nor a publisher, while another shard works less.`,
	})
	placedCounter = Attrs.CounterVec(attr.Decl{
		Path: "placed_viewers", Unit: "viewers", Since: "0.1",
		Label: "where", Values: wheres(),
		Doc: `Viewers by the shard that they were given to: home is where the stream comes in, near is where other viewers of it
			are, further is the next one after those have placement/stream_viewers, full is the one with the fewest of them when
			all have, crowded likewise when all work too much or the stream's have too many sessions.`,
	})
	busyGauge = Attrs.Gauge(attr.Decl{
		Path: "busy_shards", Unit: "shards", Since: "0.1", Doc: "Shards that worked for more than placement/busy_percent of the last second.",
	})
)

func wheres() (words []string) {
	for w := range registry.NumWheres {
		words = append(words, w.String())
	}
	return words
}

// followPlacement keeps placement as the tree says.
func (s *Service) followPlacement() {
	read := func(string, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.registry.Placement = registry.Placement{Together: int(togetherAttr.Get(s.tree)), Lead: int(leadAttr.Get(s.tree))}
	}
	read("", "")
	s.tree.Watch("placement", read)
}

// watchShards tells the registry which shards have little time left. s.mu is held.
func (s *Service) watchShards(shards []*engine.Stats) {
	if s.work == nil {
		s.work = make([]work, len(shards))
	}
	busy := make([]bool, len(shards))
	s.busy = 0
	for i, st := range shards {
		if busy[i] = s.work[i].percent(st) >= busyAttr.Get(s.tree); busy[i] {
			s.busy++
		}
	}
	s.registry.SetBusy(busy)
}

// work is how much a shard has worked since the start.
type work struct{ busy, idle time.Duration }

// percent returns how much of the time since the last call a shard worked: all of
// it if it has none to answer.
func (w *work) percent(st *engine.Stats) int64 {
	if st == nil {
		return 100
	}
	var now work
	for stage, d := range st.Loop.Stages {
		switch engine.Stage(stage) {
		case engine.StageSpin, engine.StageSleep:
			now.idle += d
		default:
			now.busy += d
		}
	}
	busy, idle := now.busy-w.busy, now.idle-w.idle
	*w = now
	return int64(100 * busy / max(busy+idle, 1))
}

// collectPlacement fills the metrics. s.mu is held.
func (s *Service) collectPlacement(sample *attr.Sample) {
	for w, n := range s.registry.Placed() {
		placedCounter.Add(sample, w, n)
	}
	busyGauge.Set(sample, float64(s.busy))
}
