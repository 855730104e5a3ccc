package engine_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/engine"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/simnet"
	"sluice/dataplane/wire"
)

const maxShards = 3

// ntpOrigin is the wall clock at clock.Time 0: some day of 2026.
var ntpOrigin = clock.FromWall(time.Unix(1767225600, 0))

// pace says how fast a world lives.
type pace struct {
	video, audio, reports time.Duration
	framePackets          int // of a frame, at most
	payload               int // bytes of a video packet beside what names it, fewer than
	keyframeEvery         int // frames, unasked
	viewerReports, nack   time.Duration
	window                uint64 // numbers a viewer looks back over before it judges
	remember              uint64 // packets of a source that are known
}

// world is engines, a network, peers, a control plane and the rules that must
// hold at every step.
type world struct {
	t      testing.TB
	repeat string // the command that runs this again
	pace   pace
	net    *simnet.Net
	rand   *simnet.Rand

	engines []*engine.Engine
	armed   []clock.Time // the timer event that is set
	free    []clock.Time // when a shard's mailbox has delivered all
	tx      *pkt.Batch
	timer   []func()

	streams    []*stream
	loads      []int
	sessions   map[msg.SessionID]*peer
	keyed      map[msg.SessionID]bool
	closed     int
	onClosed   func(msg.SessionClosed)
	remotes    map[pkt.Addr]*remoteState
	pipes      map[pkt.Addr]*pipe // what goes by TCP
	sourceByID map[uint32]*source
	flights    map[flight]flown
	serial     uint64
	addrs      int
	sources    uint32
	routes     msg.RouteID
	lossy      bool             // new links are
	tcp        bool             // some viewers come by TCP
	perfect    bool             // new links are, without any delay
	muted      bool             // publishers publish nothing
	noRepair   bool             // publishers send nothing again
	steered    map[pkt.Addr]int // where a Steerer brings datagrams, nil for no Steerer
	counts     counts
}

// counts show that a world was not idle.
type counts struct {
	forwarded, received, splices, senderReports, reports, twcc, keyframeRequests, upstreamRepairs, relayed, rebinds int
	trains, padded, paddedAgain, retunes, restarts, connections, steered, moves                                     int
}

// stream is what viewers watch.
type stream struct {
	tracks  [2]*track // by kind
	pub     *publisher
	viewers []*viewer
}

var local = [16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: 1}

func newWorld(t testing.TB, seed uint64, shards int, p pace, repeat string) *world {
	w := &world{
		t: t, repeat: repeat, pace: p, rand: simnet.NewRand(seed ^ 0xabcdef),
		sessions: map[msg.SessionID]*peer{}, keyed: map[msg.SessionID]bool{}, remotes: map[pkt.Addr]*remoteState{}, pipes: map[pkt.Addr]*pipe{},
		sourceByID: map[uint32]*source{}, flights: map[flight]flown{},
		loads: make([]int, shards), armed: make([]clock.Time, shards), free: make([]clock.Time, shards),
		tx: pkt.NewBatch(make([]byte, 8<<10), 8), // small: what is sent often does not fit at once
	}
	w.net = simnet.New(seed, clock.Time(time.Second), w.arrive)
	for i := range shards {
		w.engines = append(w.engines, engine.New(engine.Config{
			Shard: i, Shards: shards, Sessions: 64, Streams: 64, Seed: w.rand.Uint64(), NTPOrigin: ntpOrigin,
		}, engine.DefaultSettings()))
		w.armed[i] = clock.Never
		w.timer = append(w.timer, func() { w.onTimer(i) })
	}
	return w
}

func (w *world) fail(invariant, format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("at %v: %s: %s\nrepeat with: %s", time.Duration(w.net.Now()), invariant, fmt.Sprintf(format, args...), w.repeat)
}

// newLink is a link as bad as the world is.
func (w *world) newLink() simnet.Link {
	if w.perfect {
		return simnet.Link{}
	}
	l := simnet.Link{Delay: w.rand.Duration(40 * time.Millisecond), Jitter: w.rand.Duration(30 * time.Millisecond)}
	if w.lossy {
		l.Loss = float64(w.rand.IntN(10)) / 100
		l.Duplicate = float64(w.rand.IntN(4)) / 100
	}
	if w.rand.Chance(0.2) {
		l.BitsPerSecond = 400000 + w.rand.IntN(1000000)
	}
	return l
}

// drops sums what was decided about datagrams, apart from reasons that concern
// what is sent.
func drops(e *engine.Engine) (sum uint64) {
	for d, n := range e.Counters.Drops {
		if wire.Drop(d) != wire.DropTransmit {
			sum += n
		}
	}
	return sum
}

// arrive brings a datagram to the shard that the kernel would choose.
func (w *world) arrive(from pkt.Addr, b []byte) {
	h := uint32(from.Port) * 2654435761
	for _, c := range from.IP {
		h = (h ^ uint32(c)) * 16777619
	}
	shard := int(h>>8) % len(w.engines)
	if to, ok := w.steered[from]; ok {
		w.counts.steered++
		shard = to
	}
	if pipe := w.pipes[from]; pipe != nil {
		if shard = pipe.peer.id.Shard(); pipe.closed {
			return
		}
	}
	if r := w.remotes[from]; r != nil {
		// A check, or what only the peer can have sealed.
		proto := wire.Classify(b)
		if r.peer != nil && (proto == wire.ProtoSTUN || r.validated && (proto == wire.ProtoRTP || proto == wire.ProtoRTCP)) {
			r.consented, r.validated = w.net.Now(), true
		}
		if !r.validated {
			r.in += len(b)
		}
	}
	e, s := w.engines[shard], w.published(from, b)
	sum, kept := drops(e), e.Counters.Drops[wire.Kept]
	e.HandleDatagrams(w.net.Now(), []pkt.Datagram{{Path: pkt.Path{Remote: from, Local: local}, Arrived: w.net.Now(), Data: b}})
	if drops(e) != sum+1 {
		w.fail("every datagram is accounted for", "shard %d counts %d decisions about one datagram", shard, drops(e)-sum)
	}
	w.keptBy(shard, s, e.Counters.Drops[wire.Kept] > kept)
	w.drain(shard)
}

// keptBy notes that the owner of a publisher has kept its packet.
func (w *world) keptBy(shard int, s *sent, kept bool) {
	if s != nil && kept && s.src.pub.id.Shard() == shard && s.kept[shard] == 0 {
		s.kept[shard], s.came[shard] = w.net.Now(), w.net.Now()
	}
}

// mailbox is how long a command takes at most.
const mailbox = 3 * time.Millisecond

// command sends a command through a shard's mailbox: in order, not at once.
func (w *world) command(shard int, c msg.Command) {
	at := max(w.free[shard], w.net.Now().Add(w.rand.Duration(mailbox)))
	w.free[shard] = at
	w.net.At(at, func() {
		w.engines[shard].HandleCommand(w.net.Now(), c)
		if gone, ok := c.(msg.RemoveRoute); ok {
			w.forget(gone.Route, shard)
		}
		w.drain(shard)
	})
}

// forget notes that a shard has lost the history of a route.
func (w *world) forget(route msg.RouteID, shard int) {
	for _, src := range w.sourceByID {
		if src.track.route != route {
			continue
		}
		for _, s := range src.packets {
			s.kept[shard] = 0
		}
	}
}

func (w *world) onTimer(shard int) {
	if w.armed[shard] != w.net.Now() {
		return // another was armed since
	}
	w.armed[shard] = clock.Never
	if e := w.engines[shard]; e.PollTimeout() <= w.net.Now() {
		e.HandleTimeout(w.net.Now())
	}
	w.drain(shard)
}

// drain takes a batch of an engine, and all that is not to be sent, as the shell does:
// between batches more may come.
func (w *world) drain(shard int) {
	e := w.engines[shard]
	more := e.PollTransmit(w.tx)
	w.transmit(w.tx.Runs())
	w.transmit(w.tx.Streams())
	w.tx.Reset()
	if w.streamed(shard) || more {
		w.net.After(10*time.Microsecond, func() { w.drain(shard) })
	}
	for to := range w.engines {
		var m engine.Relay
		for to != shard && e.PollRelay(to, &m) {
			m := m
			m.Data = slices.Clone(m.Data)
			w.net.After(10*time.Microsecond, func() { w.relay(shard, to, &m) })
		}
	}
	for a := (pkt.Addr{}); e.PollHangup(&a); {
		w.hangUp(a)
	}
	for ev := msg.Event(nil); e.PollEvent(&ev); {
		w.event(ev)
	}
	w.steer(shard)
	if due := max(e.PollTimeout(), w.net.Now()); due < w.armed[shard] {
		w.armed[shard] = due
		w.net.At(due, w.timer[shard])
	}
}

// relay hands a message to another shard.
func (w *world) relay(from, to int, m *engine.Relay) {
	var s *sent
	switch m.Kind {
	case engine.RelayDatagram:
		s = w.published(m.Path.Remote, m.Data)
	case engine.RelayMedia:
		w.counts.relayed++
		for _, st := range w.streams {
			for _, t := range st.tracks {
				if t.route == m.Route {
					s = w.named(t.kind, m.Packet.Payload(m.Data))
				}
			}
		}
		if s == nil {
			w.fail("payload", "shard %d relays a packet that nobody published", from)
		}
	}
	e := w.engines[to]
	sum, kept := drops(e), e.Counters.Drops[wire.Kept]
	e.HandleRelay(w.net.Now(), from, m)
	if m.Kind == engine.RelayDatagram && drops(e) != sum+1 {
		w.fail("every datagram is accounted for", "shard %d counts %d decisions about a relayed datagram", to, drops(e)-sum)
	}
	if kept := e.Counters.Drops[wire.Kept] > kept; m.Kind == engine.RelayDatagram {
		w.keptBy(to, s, kept)
	} else if s != nil && kept {
		s.kept[to], s.came[to] = w.net.Now(), w.net.Now()
	}
	w.drain(to)
}

// transmit puts what an engine sends on the network, and looks at it.
func (w *world) transmit(runs []pkt.Run) {
	for i := range runs {
		run := &runs[i]
		if run.Packets() > 1 {
			w.counts.trains++
		}
		if run.Path.Local != local {
			w.fail("paths", "sent from %v", run.Path.Local)
		}
		for b := w.tx.Bytes(run); len(b) > 0; {
			n := min(int(run.Segment), len(b))
			w.observe(run.Path.Remote, b[:n])
			if pipe := w.pipes[run.Path.Remote]; pipe != nil {
				pipe.put(b[:n])
			} else {
				w.net.Deliver(run.Path.Remote, b[:n])
			}
			b = b[n:]
		}
	}
}

func (w *world) observe(to pkt.Addr, b []byte) {
	r := w.remotes[to]
	if r == nil {
		w.fail("paths", "sent to %v, which nobody ever had", to)
	}
	if !r.validated {
		if r.out += len(b); r.out > r.in {
			w.fail("no amplification", "%d bytes to %v, which sent %d without a good check", r.out, to, r.in)
		}
	}
	proto := wire.Classify(b)
	if proto == wire.ProtoSTUN {
		return
	}
	if !r.validated || w.net.Now().Sub(r.consented) >= 30*time.Second {
		w.fail("consent", "protocol %d to %v, who consented last at %v", proto, to, time.Duration(r.consented))
	}
	switch proto {
	case wire.ProtoRTP:
		r.peer.watch.rtpSent(b)
	case wire.ProtoRTCP:
		r.peer.watch.rtcpSent(b)
	}
}

// The control plane.

func (w *world) newStream() *stream {
	s := &stream{}
	for kind, t := range []track{{codec: codec.Opus, rate: 48000}, {codec: codec.VP8, rate: 90000}} {
		w.routes++
		t.route, t.kind = w.routes, msg.Kind(kind)
		s.tracks[kind] = &t
	}
	w.streams = append(w.streams, s)
	return s
}

// idlest returns the shard with the fewest sessions.
func (w *world) idlest() int {
	shard := w.rand.IntN(len(w.loads))
	for i, load := range w.loads {
		if load < w.loads[shard] {
			shard = i
		}
	}
	w.loads[shard]++
	return shard
}

// sync makes a stream's routes known to the shards that need them.
func (w *world) sync(s *stream) {
	var viewers uint64
	for _, v := range s.viewers {
		viewers |= 1 << v.id.Shard()
	}
	for _, t := range s.tracks {
		shards := viewers
		if s.pub != nil {
			shards |= 1 << t.home
		}
		for shard := range w.engines {
			switch bit := uint64(1) << shard; {
			case shards&bit != 0:
				w.command(shard, msg.AddRoute{Route: t.route, Kind: t.kind, Codec: t.codec, ClockRate: t.rate, Home: t.home, Shards: shards})
			case t.known&bit != 0:
				w.command(shard, msg.RemoveRoute{Route: t.route})
			}
		}
		t.known = shards
	}
}

// event takes what an engine reports.
func (w *world) event(ev msg.Event) {
	switch ev := ev.(type) {
	case msg.Landed:
		w.landed(ev)
	case msg.Punt:
		p := w.sessions[ev.ID]
		if p == nil {
			return
		}
		if !w.keyed[ev.ID] {
			w.keyed[ev.ID] = true
			w.command(ev.ID.Shard(), msg.InstallKeys{ID: ev.ID, Path: ev.Path, Keys: p.keys})
		}
		w.command(ev.ID.Shard(), msg.SendDatagram{ID: ev.ID, Path: ev.Path, Data: []byte{22, 9, 9}})
	case msg.SessionClosed:
		if w.onClosed != nil {
			w.onClosed(ev)
		}
		if p := w.sessions[ev.ID]; p != nil {
			if !p.gone {
				w.fail("sessions live while they check", "%v was closed: %v", ev.ID, ev.Reason)
			}
			w.closed++
			w.remove(p)
		}
	}
}

// landed moves a publisher to where its datagrams land, or does not.
func (w *world) landed(ev msg.Landed) {
	at := ev.ID.Shard()
	if p := w.sessions[ev.ID]; p != nil && p.begun != nil && w.rand.Chance(0.7) {
		w.move(p, ev.Shard)
		at = ev.Shard
	}
	if w.rand.Chance(0.9) { // an event may be lost
		// All shards know of the move before media can come, as their mailboxes have it.
		w.net.After(mailbox, func() { w.command(at, msg.TakeCheck{Check: ev.Check}) })
	}
}

// move begins a publisher's session anew on another shard.
func (w *world) move(p *peer, to int) {
	from := p.id
	w.loads[from.Shard()]--
	w.loads[to]++
	w.serial++
	p.id = msg.NewSessionID(to, w.serial)
	delete(w.sessions, from)
	w.sessions[p.id] = p
	w.command(from.Shard(), msg.RemoveSession{ID: from})
	for _, s := range w.streams {
		if s.pub != nil && s.pub.peer == p {
			for _, t := range s.tracks {
				t.home = to
			}
			w.sync(s)
		}
	}
	p.begun.ID = p.id
	w.command(to, *p.begun)
	w.command(from.Shard(), msg.ForwardChecks{Ufrag: p.begun.Ufrag, Shard: to})
	p.forwarding = &msg.ForwardChecks{Ufrag: p.begun.Ufrag, Shard: from.Shard()}
	p.begun = nil
	w.counts.moves++
}

// remove ends a session, as DELETE and SessionClosed do.
func (w *world) remove(p *peer) {
	p.leave()
	if w.sessions[p.id] == nil {
		return
	}
	delete(w.sessions, p.id)
	w.loads[p.id.Shard()]--
	w.command(p.id.Shard(), msg.RemoveSession{ID: p.id})
	if p.forwarding != nil {
		w.command(p.forwarding.Shard, *p.forwarding)
	}
	for _, s := range w.streams {
		if s.pub != nil && s.pub.peer == p {
			s.pub = nil
		}
		s.viewers = slices.DeleteFunc(s.viewers, func(v *viewer) bool { return v.peer == p })
		w.sync(s)
	}
}

// restart restarts ICE, as PATCH does. Sometimes the peer never hears of it. A
// peer asks for the next one only when it uses what it got by the last.
func (w *world) restart(p *peer) {
	if p.restarting {
		return
	}
	var random [ice.RandomLen]byte
	w.rand.Fill(random[:])
	ufrag, pwd := ice.NewUfrag(p.id.Shard(), &random)
	w.command(p.id.Shard(), msg.RestartICE{ID: p.id, Ufrag: ufrag, Pwd: pwd})
	p.begun = nil
	if w.rand.Chance(0.8) {
		p.ufrag, p.pwd, p.restarting, p.renewed = ufrag, pwd, true, p.serial+1
		w.counts.restarts++
	}
}

// live returns the peers that are there, in an order that the seed decides.
func (w *world) live() (peers []*peer) {
	for _, s := range w.streams {
		if s.pub != nil && !s.pub.gone {
			peers = append(peers, s.pub.peer)
		}
		for _, v := range s.viewers {
			if !v.gone {
				peers = append(peers, v.peer)
			}
		}
	}
	return peers
}

// calm makes all links good.
func (w *world) calm() {
	w.lossy = false
	for _, p := range w.live() {
		for _, l := range []*simnet.Link{&p.host.Up, &p.host.Down} {
			l.Loss, l.Duplicate, l.Dark = 0, 0, 0
		}
	}
}

// settled ends all loss, lets everything in flight arrive, and judges what all
// viewers got.
func (w *world) settled() {
	w.calm()
	w.net.Run(w.net.Now().Add(4 * time.Second))
	calm := w.net.Now().Add(-time.Second)
	w.net.Run(w.net.Now().Add(time.Second))
	w.muted = true
	w.net.Run(w.net.Now().Add(1500 * time.Millisecond))
	w.muted = false
	for _, s := range w.streams {
		if s.pub != nil {
			s.pub.settled(calm)
		}
		for _, v := range s.viewers {
			v.settled(calm)
		}
	}
}

// empty holds that nothing is left of anything.
func (w *world) empty() {
	for i, e := range w.engines {
		st := e.Stats()
		if st.Sessions+st.Ingresses+st.Egresses != 0 {
			w.fail("all handles are freed", "shard %d has %d sessions, %d ingresses, %d egresses", i, st.Sessions, st.Ingresses, st.Egresses)
		}
		if leaks := e.Leaks(); leaks != "" {
			w.fail("all handles are freed", "shard %d: %s", i, leaks)
		}
	}
}
