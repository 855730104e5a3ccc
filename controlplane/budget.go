package controlplane

import (
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
	"sluice/netopt/attr"
)

var (
	budgetAttr = Attrs.Int(attr.Decl{
		Path: "streams/<name>/budget_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 10_000_000, Default: "0", Since: "0.1",
		Doc: `Latency budget of the stream: how long a packet may take from the kernel's receive timestamp to the return of the
			call that sends it on. 0 is dataplane/budget_us.`,
	})
	quantileAttr = Attrs.Int(attr.Decl{
		Path: "streams/<name>/budget_quantile_permille", Unit: "permille", Mode: attr.RW, Min: 1, Max: 1000, Default: "990", Since: "0.1",
		Doc: `How many of a thousand packets must keep to the budget. Where fewer do within a window, the budget is exceeded: that
			is counted in budget_exceeded and logged as the event budget_exceeded.`,
	})
	windowAttr = Attrs.Int(attr.Decl{
		Path: "streams/<name>/budget_window_ms", Unit: "ms", Mode: attr.RW, Min: 1000, Max: 3_600_000, Default: "10000", Since: "0.1",
		Doc: "Over which time that is judged, rounded up to seconds.",
	})
	lateDropAttr = Attrs.Int(attr.Decl{
		Path: "streams/<name>/late_drop_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 10_000_000, Default: "0", Since: "0.1",
		Doc: `Frames of the stream whose first packet waited longer than this are not sent, nor are retransmissions of what is
			older. 0 is dataplane/late_drop_us.`,
	})
	exceededCounter = Attrs.Counter(attr.Decl{
		Path: "budget_exceeded", Since: "0.1",
		Doc: "Windows in which a stream did not keep to its latency budget.",
	})
	overBudgetGauge = Attrs.Gauge(attr.Decl{
		Path: "over_budget_streams", Unit: "streams", Since: "0.1",
		Doc: "Streams that did not keep to their latency budget in their last window.",
	})
)

// judge follows whether a stream keeps to its budget. The zero value begins with
// the first call of see.
type judge struct {
	began      time.Time // of the window
	sent, late uint64    // before it
	verdict    verdict
}

// verdict is about the last window that ended.
type verdict struct {
	Sent, Late uint64
	Exceeded   bool
}

// see takes what a stream has sent so far, and how much of it late. It reports
// whether a window ended.
func (j *judge) see(now time.Time, window time.Duration, permille int64, sent, late uint64) (ended bool) {
	if j.began.IsZero() || sent < j.sent || late < j.late { // new, or moved to another shard, which counts anew
		*j = judge{began: now, sent: sent, late: late, verdict: j.verdict}
		return false
	}
	if now.Sub(j.began) < window {
		return false
	}
	v := verdict{Sent: sent - j.sent, Late: late - j.late}
	v.Exceeded = v.Late*1000 > v.Sent*uint64(1000-permille)
	*j = judge{began: now, sent: sent, late: late, verdict: v}
	return true
}

// judgeBudgets ends the windows that are over. s.mu is held.
func (s *Service) judgeBudgets(now time.Time, shards []*engine.Stats) {
	type sum struct{ sent, late uint64 }
	sums := map[msg.RouteID]sum{}
	for _, st := range shards {
		if st == nil {
			continue
		}
		for _, r := range st.Routes {
			total := sums[r.Route]
			sums[r.Route] = sum{total.sent + r.Sent, total.late + r.Late}
		}
	}
	judges := map[string]*judge{}
	for _, stream := range s.registry.Streams() {
		var total sum
		for _, t := range stream.Tracks {
			total.sent += sums[t.Route].sent
			total.late += sums[t.Route].late
		}
		j := s.judges[stream.Name]
		if j == nil {
			j = &judge{}
		}
		judges[stream.Name] = j
		window := time.Duration(windowAttr.Of(s.tree, stream.Name)) * time.Millisecond
		if j.see(now, window, quantileAttr.Of(s.tree, stream.Name), total.sent, total.late) && j.verdict.Exceeded {
			s.exceeded++
			s.log.Warn("latency budget exceeded", "event", "budget_exceeded", "stream", stream.Name,
				"late", j.verdict.Late, "of", j.verdict.Sent, "window", window)
		}
	}
	s.judges = judges
}

// collectBudgets fills the metrics. s.mu is held.
func (s *Service) collectBudgets(sample *attr.Sample) {
	exceededCounter.Add(sample, s.exceeded)
	for _, j := range s.judges {
		if j.verdict.Exceeded {
			overBudgetGauge.Add(sample, 1)
		}
	}
}
