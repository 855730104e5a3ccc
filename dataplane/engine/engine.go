// Package engine is one shard's whole brain: sessions, ingresses, routes and
// egresses. It is sans-IO: datagrams, commands and instants go in, datagrams,
// events and the next deadline come out, and the same inputs give the same
// outputs.
//
// The contract of the shell: one goroutine calls; after each Handle it takes a
// batch of PollTransmit and drains PollRelay and PollEvent before the next, and tells
// HandleSent when a batch has gone out. What is left of a fan-out, because there is
// more than a batch or the kernel takes no more, waits in the route's history.
//
// Files in packet order: datagram.go (classify, find the session), stun.go,
// rtp.go (authenticate, number, keep), forged.go (what is not authentic), train.go (when and in which shape packets
// leave), pace.go (who starts behind), fanout.go (rewrite, protect), stream.go
// (peers by TCP), latency.go (how long that took), rtcp.go (what peers report),
// feedback.go (what we report), relay.go (other shards); beside them command.go,
// timeout.go and state.go.
package engine

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/feedback"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/srtp"
)

// Config is fixed for an engine's life.
type Config struct {
	Shard, Shards int
	// Capacities: what does not fit is refused by the control plane, which
	// counts; the engine panics rather than lose a command.
	Sessions, Streams int
	// Memory gives zeroed memory for flat state and buffers; nil takes it from
	// the Go heap.
	Memory    func(bytes int) []byte
	Seed      uint64    // of the numbers that need not be secret
	NTPOrigin clock.NTP // wall clock at clock.Time 0
}

// Settings can change at any time (Engine.Configure).
type Settings struct {
	MTU             int           // bytes of UDP payload that we send at most
	HistoryPackets  int           // kept per video route, a power of two; audio keeps a quarter
	HistoryBytes    int           // likewise
	GOPBytes        int           // kept at least of video whose source cannot be asked for keyframes; 0: it is like others
	KeyframeEvery   time.Duration // at most one keyframe request per source in this time
	StartAge        time.Duration // a new viewer starts on a keyframe that is at most so old
	SetupTimeout    time.Duration // from POST to the first check, and from there to the keys
	FeedbackEvery   time.Duration // transport-wide feedback to publishers
	ResendPerSecond int           // retransmissions to one viewer of one route at most
	ForgedPerSecond int           // wrong tags from one session, before SSRCs that never authenticated are not tried
	StreamLag       time.Duration // what waits for a TCP connection for longer is dropped
	TrainMax        int           // packets of one message to the kernel, 1 to pkt.MaxRunPackets
	TrainHold       time.Duration // a video packet waits so long for the end of its frame; 0 is not at all
	ShortTails      bool          // trains end with a shorter packet: a kernel damages those that do not
	PadMax          int           // bytes of padding that bring a packet to its train's size, at most
	Marks           [2]pkt.Mark   // of what viewers get, by msg.Kind
	Nack            feedback.Limits
	Vectors         bool          // wish for vector instructions in the ciphers of sessions keyed from now on
	Shed            time.Duration // video that waited for longer is left out; 0 is never
	Follow          bool          // publishers to where their datagrams land: tells the control plane
	StampEvery      int           // the kernel is asked for the departure of one run in so many; 0 is never
	Deadlines       msg.Deadlines // of routes that have none of their own
}

// DefaultSettings returns the settings that the attributes default to.
func DefaultSettings() Settings {
	return Settings{
		MTU:             1452,
		HistoryPackets:  1024,
		HistoryBytes:    1 << 20,
		GOPBytes:        4 << 20,
		KeyframeEvery:   500 * time.Millisecond,
		StartAge:        time.Second,
		SetupTimeout:    30 * time.Second,
		FeedbackEvery:   100 * time.Millisecond,
		ResendPerSecond: 1000,
		ForgedPerSecond: 1000,
		StreamLag:       time.Second,
		Shed:            500 * time.Millisecond,
		StampEvery:      1024,
		TrainMax:        44,
		PadMax:          16,
		Vectors:         true,
		Follow:          true,
		Nack:            feedback.DefaultLimits(),
	}
}

// Engine is one shard's state and decisions. Not safe for concurrent use.
type Engine struct {
	cfg Config
	set Settings
	now clock.Time

	// Flat state, and beside it what is derived from it.
	sessions  pkt.Slab[session]
	ingresses pkt.Slab[ingress]
	egresses  pkt.Slab[egress]
	links     []link // by session index, as far as places were ever taken

	// Indexes, derived.
	byID     map[msg.SessionID]pkt.Handle
	byUfrag  map[string]pkt.Handle
	forward  map[string]int // shards of sessions whose ufrag names this one
	byRemote map[pkt.Addr]pkt.Handle
	foreign  map[pkt.Addr]foreignOwner // remote addresses of other shards' sessions
	routes   map[msg.RouteID]*route
	sources  []pkt.Handle // ingresses, for the timers
	early    early

	// Outputs that wait to be polled.
	control  *pkt.Batch     // answers, reports, retransmissions
	dirty    [2]dirtyRoutes // by kind
	paced    []pkt.Handle   // egresses that are behind
	held     []*route       // routes whose newest packets wait for the rest of a frame
	served   []served       // what is in the shell's transmit batch
	most     int            // messages that it may have before a fan-out waits for the next one
	writable []pkt.Handle   // sessions whose connections take more again
	hangups  []pkt.Addr     // connections to be closed
	outboxes []outbox       // by shard
	punts    []msg.Punt
	landed   []msg.Landed
	selected []pkt.Handle // sessions whose selected path is to be reported
	closed   []msg.SessionClosed
	steers   []Steer
	tell     []owned // our peers' addresses, for all other shards

	serial      uint64 // of sources
	steering    bool   // peers' datagrams are brought to their shards
	random      uint64
	refusals    int        // unauthenticated error responses in this second
	nextFast    clock.Time // when publishers are looked after, clock.Never while nothing is due
	lastFast    clock.Time
	nextSlow    clock.Time
	nextPace    clock.Time
	scratch     [1500]byte
	nackScratch [256]uint16
	cipher      srtp.Scratch
	stamp       stamp
	Counters    Counters
	Loop        Loop // the shell's
	Times       Times
}

// dirtyRoutes are routes with packets that some egress has not seen.
type dirtyRoutes struct{ routes []*route }

// MaxAnswers is how many runs of answers, reports and retransmissions may wait. A
// transmit batch has room for so many, or some would wait for the next one.
const MaxAnswers = 512

// Sizes of the queues towards the shell. They are drained each turn.
const (
	controlBytes   = 128 << 10
	maxPunts       = 64
	outboxBytes    = 128 << 10
	outboxItems    = 256
	maxOutboxBytes = 4 << 20 // at 100,000 datagrams a second, 40 ms of them
	maxOutbox      = 4096
)

// New returns an engine without sessions.
func New(cfg Config, set Settings) *Engine {
	if cfg.Memory == nil {
		cfg.Memory = func(bytes int) []byte { return make([]byte, bytes) }
	}
	e := &Engine{
		cfg:       cfg,
		sessions:  pkt.NewSlab(pkt.Place[session](cfg.Memory, cfg.Sessions)),
		ingresses: pkt.NewSlab(pkt.Place[ingress](cfg.Memory, cfg.Streams)),
		egresses:  pkt.NewSlab(pkt.Place[egress](cfg.Memory, maxMedia*cfg.Sessions)),
		byID:      map[msg.SessionID]pkt.Handle{},
		byUfrag:   map[string]pkt.Handle{},
		forward:   map[string]int{},
		byRemote:  map[pkt.Addr]pkt.Handle{},
		foreign:   map[pkt.Addr]foreignOwner{},
		routes:    map[msg.RouteID]*route{},
		control:   pkt.NewBatch(cfg.Memory(controlBytes), MaxAnswers),
		early:     early{of: map[pkt.Handle][]pkt.Datagram{}},
		outboxes:  make([]outbox, cfg.Shards),
		random:    cfg.Seed | 1,
		nextFast:  clock.Never,
	}
	e.Configure(set)
	return e
}

// Configure changes the settings. Routes keep the history they have, and sessions
// their ciphers.
func (e *Engine) Configure(set Settings) {
	e.set = set
	e.cipher.Vectors = set.Vectors
	if len(e.sources) > 0 {
		e.feedbackDue(e.now) // intervals may be shorter now
	}
}

// Settings returns those that hold.
func (e *Engine) Settings() Settings { return e.set }

// PollEvent returns the next event, false when there is none.
func (e *Engine) PollEvent(ev *msg.Event) bool {
	switch {
	case len(e.closed) > 0:
		*ev, e.closed = e.closed[0], e.closed[1:]
	case len(e.landed) > 0:
		*ev, e.landed = e.landed[0], e.landed[1:]
	case len(e.punts) > 0:
		*ev, e.punts = e.punts[0], e.punts[1:]
	default:
		return e.pollSelected(ev)
	}
	return true
}

// pollSelected tells where the media of the next session goes whose path is to be
// reported.
func (e *Engine) pollSelected(ev *msg.Event) bool {
	for len(e.selected) > 0 {
		h := e.selected[0]
		e.selected = e.selected[1:]
		if s := e.sessions.Get(h); s != nil {
			s.owed = false
			*ev = msg.PairSelected{ID: s.id, Path: *s.agent.Selected()}
			return true
		}
	}
	return false
}

// reportPath has a session's selected path reported, once until that is taken.
func (e *Engine) reportPath(h pkt.Handle, s *session) {
	if !s.owed {
		s.owed = true
		e.selected = append(e.selected, h)
	}
}

// rand returns numbers that need not be secret: where sequence numbers start
// (splitmix64).
func (e *Engine) rand() uint64 {
	e.random += 0x9e3779b97f4a7c15
	z := e.random
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// wall returns the NTP time of an instant.
func (e *Engine) wall(t clock.Time) clock.NTP { return e.cfg.NTPOrigin.Add(time.Duration(t)) }
