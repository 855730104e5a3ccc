package controlplane

import "sluice/netopt/attr"

// Attrs declares the control plane's own attributes and metrics.
var Attrs attr.Table

var (
	pendingAttr = Attrs.Int(attr.Decl{
		Path: "limits/pending_sessions", Unit: "sessions", Mode: attr.Boot, Min: 1, Max: 65536, Default: "256", Since: "0.1",
		Doc: `How many sessions of one source may be between their POST and the end of their DTLS handshake. One more is
			refused with 429. A source is an IPv4 address or an IPv6 network of 64 bits.`,
	})
	memoryAttr = Attrs.Int(attr.Decl{
		Path: "limits/memory_bytes", Unit: "bytes", Mode: attr.Boot, Min: 0, Max: 1 << 46, Default: "0", Since: "0.1",
		Doc: `How much memory the process may use before new sessions are refused with 503; 0 is no limit. The Go runtime
			works harder to stay below as it comes near.`,
	})
	eventStreamsAttr = Attrs.Int(attr.Decl{
		Path: "limits/event_streams", Unit: "streams", Mode: attr.RW, Min: 0, Max: 65536, Default: "4096", Since: "0.1",
		Doc: `How many viewers at once may have a feed of server-sent events, one each, which is a TCP connection and some
			20 kB. One more is refused with 503; 0 refuses all.`,
	})
	graceAttr = Attrs.Int(attr.Decl{
		Path: "lifecycle/grace_ms", Unit: "ms", Mode: attr.RW, Min: 0, Max: 3600000, Default: "5000", Since: "0.1",
		Doc: `How long SIGTERM waits for sessions to end by themselves before it closes them. It does not wait for peers that
			have been silent for 10 s. New ones are refused meanwhile, and readyz says so. SIGINT does not wait.`,
	})
	takeoverAttr = Attrs.Int(attr.Decl{
		Path: "streams/takeover_ms", Unit: "ms", Mode: attr.RW, Min: 0, Max: 3600000, Default: "3000", Since: "0.1",
		Doc: `A publisher that has sent nothing for this long makes way for a new one of the same stream, which would
			otherwise be refused with 409. An encoder that crashed can so come back at once.`,
	})
)

// What an operator settles of a stream in advance, by its name.
var (
	fixedLimitAttr = Attrs.Int(attr.Decl{
		Path: "limits/fixed_streams", Unit: "streams", Mode: attr.RW, Min: 0, Max: 65536, Default: "1024", Since: "0.1",
		Doc: "How many directories there may be below streams. One more is refused with ENOSPC.",
	})
	fixedRefusedCounter = Attrs.Counter(attr.Decl{
		Path: "refused_fixed_streams", Unit: "streams", Since: "0.1", Doc: "Directories below streams that were refused because of limits/fixed_streams.",
	})
	fixedGauge = Attrs.Gauge(attr.Decl{
		Path: "fixed_streams", Unit: "streams", Since: "0.1", Doc: "Streams that have a directory below streams.",
	})
	// FixedStreams are the streams that have settings of their own.
	FixedStreams = Attrs.Class(attr.Decl{
		Path: "streams/<name>", Since: "0.1",
		Doc: `What is settled in advance of the stream of that name. The stream is listed even while nobody publishes it. A stream
			without a directory goes by the defaults; removing the directory of one that is live cuts nothing, and what comes
			after goes by the defaults.`,
	}, fixedLimitAttr, fixedRefusedCounter)
	titleAttr = Attrs.Text(attr.Decl{
		Path: "streams/<name>/title", Mode: attr.RW, Max: 120, Since: "0.1",
		Doc: "What the page calls the stream; its name if empty.",
	})
	viewersMaxAttr = Attrs.Int(attr.Decl{
		Path: "streams/<name>/viewers_max", Mode: attr.RW, Min: 0, Max: 1 << 20, Default: "0", Since: "0.1",
		Doc: `How many viewers the stream may have at once; 0 is no limit but limits/sessions. One more is refused with 503. A
			lower value ends nobody who watches already.`,
	})
)

var (
	createdCounter = Attrs.CounterVec(attr.Decl{
		Path: "created_sessions", Unit: "sessions", Since: "0.1",
		Label: "role", Values: createdRoles[:],
		Doc: "Sessions that were created.",
	})
	refusedCounter = Attrs.CounterVec(attr.Decl{
		Path: "refused_sessions", Unit: "sessions", Since: "0.1",
		Label: "reason", Values: refusals[:],
		Doc: "Offers that were refused.",
	})
	eventStreamsGauge = Attrs.Gauge(attr.Decl{
		Path: "event_streams", Unit: "streams", Since: "0.1", Doc: "Event feeds that viewers have.",
	})
	eventStreamsRefused = Attrs.Counter(attr.Decl{
		Path: "refused_event_streams", Unit: "streams", Since: "0.1",
		Doc: "Event feeds that were refused because of limits/event_streams.",
	})
	movesCounter = Attrs.Counter(attr.Decl{
		Path: "moved_publishers", Unit: "publishers", Since: "0.1",
		Doc: "Publishers that moved to the shard where their datagrams land (dataplane/follow_publishers).",
	})
	restartsCounter = Attrs.Counter(attr.Decl{
		Path: "ice_restarts", Unit: "restarts", Since: "0.1",
		Doc: "Times that a peer restarted ICE, by PATCH.",
	})
	streamsGauge = Attrs.Gauge(attr.Decl{
		Path: "live_streams", Unit: "streams", Since: "0.1", Doc: "Streams that have a publisher.",
	})
	viewersGauge = Attrs.Gauge(attr.Decl{
		Path: "viewer_sessions", Unit: "sessions", Since: "0.1", Doc: "Sessions that watch a stream.",
	})
)

// refusals are the reasons that refused_sessions tells apart.
var refusals = [...]string{"offer", "mismatch", "published", "not_live", "viewers", "sessions", "streams", "pending", "memory", "draining", "address"}
