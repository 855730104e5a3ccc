package keying

import (
	"time"

	"sluice/netopt/attr"
)

// Attrs declares the limits and figures of the handshakes.
var Attrs attr.Table

var (
	parallelAttr = Attrs.Int(attr.Decl{
		Path: "keying/parallel", Mode: attr.Boot, Min: 0, Max: 65536, Default: "0", Since: "0.1",
		Doc: `How many DTLS handshakes run at once; 0 is 64 for each CPU. One mostly waits for its peer, and holds about
			40 kB meanwhile. Sessions beyond wait in the queue.`,
	})
	queueAttr = Attrs.Int(attr.Decl{
		Path: "keying/queue", Mode: attr.Boot, Min: 1, Max: 1 << 20, Default: "1024", Since: "0.1",
		Doc: `How many sessions wait for their turn to do a DTLS handshake, at up to 8 KiB each. The hello of one more is
			dropped; its peer says it again.`,
	})
	sourceAttr = Attrs.Int(attr.Decl{
		Path: "keying/source_percent", Unit: "percent", Mode: attr.Boot, Min: 1, Max: 100, Default: "50", Since: "0.1",
		Doc: `How much of keying/parallel and of keying/queue the sessions of one source address may take up (of IPv6, of one
			network of 64 bits), so that peers that stall their handshakes leave room for others.`,
	})
	timeoutAttr = Attrs.Int(attr.Decl{
		Path: "keying/timeout_ms", Unit: "ms", Mode: attr.Boot, Min: 100, Max: 600_000, Default: "10000", Since: "0.1",
		Doc: `How long a DTLS handshake may take from its turn on. After that the session has failed.`,
	})

	runningGauge = Attrs.Gauge(attr.Decl{
		Path: "keying/running_handshakes", Unit: "handshakes", Since: "0.1",
		Doc: "DTLS handshakes under way.",
	})
	queuedGauge = Attrs.Gauge(attr.Decl{
		Path: "keying/queued_sessions", Unit: "sessions", Since: "0.1",
		Doc: "Sessions that wait for their turn to do a DTLS handshake.",
	})
	keyedGauge = Attrs.Gauge(attr.Decl{
		Path: "keying/keyed_sessions", Unit: "sessions", Since: "0.1",
		Doc: "Sessions that have SRTP keys.",
	})
	keptGauge = Attrs.Gauge(attr.Decl{
		Path: "keying/kept_bytes", Unit: "bytes", Since: "0.1",
		Doc: "DTLS datagrams that are kept for keyed sessions: the last flight and the close_notify.",
	})
	startedCounter = Attrs.Counter(attr.Decl{
		Path: "keying/started_handshakes", Unit: "handshakes", Since: "0.1",
		Doc: "DTLS handshakes that were started. Those that neither run nor ended were closed on the way.",
	})
	endedCounter = Attrs.CounterVec(attr.Decl{
		Path: "keying/ended_handshakes", Unit: "handshakes", Since: "0.1",
		Label: "outcome", Values: []string{"keyed", "failed"},
		Doc: "DTLS handshakes that came to an end.",
	})
	replayedCounter = Attrs.Counter(attr.Decl{
		Path: "keying/replayed_flights", Unit: "flights", Since: "0.1",
		Doc: "Last flights that were sent again, for peers that had lost them.",
	})
	droppedCounter = Attrs.CounterVec(attr.Decl{
		Path: "keying/dropped_datagrams", Unit: "datagrams", Since: "0.1",
		Label: "reason", Values: []string{"stray", "busy", "source", "keyed"},
		Doc: `DTLS datagrams that ended here. stray: malformed, of no session, or before any ClientHello. busy: the queue,
			or the session's share of it, had no room. source: the source's share of the queue had none. keyed: came after
			the handshake and asked for nothing.`,
	})
)

// Limit sets the limits of a Config to what the attributes of a tree say.
func (c *Config) Limit(t *attr.Tree) {
	c.Parallel = int(parallelAttr.Get(t))
	c.Queue = int(queueAttr.Get(t))
	c.SourcePercent = int(sourceAttr.Get(t))
	c.Timeout = time.Duration(timeoutAttr.Get(t)) * time.Millisecond
}

// Collect adds the Keyer's figures to a sample; it is for attr.Tree.Collect.
func (k *Keyer) Collect(s *attr.Sample) {
	stats := k.Stats()
	runningGauge.Set(s, float64(stats.Running))
	queuedGauge.Set(s, float64(stats.Queued))
	keyedGauge.Set(s, float64(stats.Keyed))
	keptGauge.Set(s, float64(stats.KeptBytes))
	startedCounter.Add(s, stats.Started)
	endedCounter.Add(s, 0, stats.Done)
	endedCounter.Add(s, 1, stats.Failed)
	replayedCounter.Add(s, stats.Replayed)
	droppedCounter.Add(s, 0, stats.DroppedStray)
	droppedCounter.Add(s, 1, stats.DroppedBusy)
	droppedCounter.Add(s, 2, stats.DroppedShare)
	droppedCounter.Add(s, 3, stats.DroppedKeyed)
}
