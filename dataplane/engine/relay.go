package engine

import (
	"sluice/dataplane/clock"
	"sluice/dataplane/history"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// RelayKind says what one shard tells another.
type RelayKind uint8

// The kinds.
const (
	RelayDatagram RelayKind = iota // a datagram that landed here and is yours
	RelayOwner                     // Path.Remote is mine: relay what comes from there, and send it this
	RelayMedia                     // a packet of a route that you have viewers of
	RelayReport                    // that route's clock
	RelayKeyframe                  // a viewer of mine needs a keyframe of your route
)

// Relay is a message between shards. Which fields count is said by the kind.
// Data is good until the next Handle of the engine that gave it.
type Relay struct {
	Kind    RelayKind
	Path    pkt.Path   // RelayDatagram, RelayOwner
	Landed  int        // RelayDatagram: the shard whose socket it came to
	Held    bool       // RelayOwner: media goes there
	Arrived clock.Time // RelayDatagram
	Route   msg.RouteID
	Space   uint64         // RelayMedia, RelayReport: what the numbers count in
	Report  senderReport   // RelayReport
	Packet  history.Packet // RelayMedia
	Deaf    bool           // RelayMedia: the source cannot be asked for keyframes
	Data    []byte         // RelayDatagram, RelayMedia; the answer of RelayOwner, if a check is the reason
}

// outbox is what waits for another shard.
type outbox struct {
	queue []Relay
	taken int      // of queue
	buf   []byte   // what the queue's Data points into
	media []*route // routes with packets for that shard
	told  int      // of Engine.tell
}

// remote is another shard's place in a route's history.
type remote struct {
	shard  int
	cursor uint64
	joins  bool // it has nothing yet: the keyframe's first packet goes ahead
	queued bool // the route is in the outbox's media
}

// foreignOwner is the shard that owns a remote address.
type foreignOwner struct {
	shard     int
	renewed   clock.Time
	heldUntil clock.Time // until then it stays its session's, see Engine.taken
}

// maxForeign is how many addresses of other shards' peers are remembered, or twice
// as many as there may be sessions here.
const maxForeign = 1 << 14

// RelayPending reports whether PollRelay may have something for another shard.
//
//hot:path
func (e *Engine) RelayPending(shard int) bool {
	o := &e.outboxes[shard]
	return len(o.queue) > 0 || len(o.media) > 0 || o.told < len(e.tell)
}

// PollRelay returns the next message for another shard, false when there is
// none.
//
//hot:path
func (e *Engine) PollRelay(shard int, m *Relay) bool {
	o := &e.outboxes[shard]
	if o.taken < len(o.queue) {
		*m = o.queue[o.taken]
		if o.taken++; o.taken == len(o.queue) {
			o.queue, o.buf, o.taken = o.queue[:0], o.buf[:0], 0
		}
		return true
	}
	if o.told < len(e.tell) {
		*m = Relay{Kind: RelayOwner, Path: pkt.Path{Remote: e.tell[o.told].remote}, Held: e.tell[o.told].held}
		o.told++
		return true
	}
	for len(o.media) > 0 {
		r := o.media[len(o.media)-1]
		if e.nextMedia(r, r.remoteFor(shard), m) {
			return true
		}
		o.media = o.media[:len(o.media)-1]
	}
	return false
}

// nextMedia gives a shard the next packet of a route that it has not got;
// false when it has all.
//
//hot:path
func (e *Engine) nextMedia(r *route, to *remote, m *Relay) bool {
	if to == nil {
		return false
	}
	if tail := r.ring.Tail(); to.cursor < tail {
		e.Counters.Drops[wire.DropRelayFull] += tail - to.cursor
		to.cursor = tail
	}
	if to.cursor == r.ring.Head() {
		to.queued = false
		return false
	}
	p, data := r.ring.At(r.nextFor(to))
	e.Counters.Relayed++
	*m = Relay{Kind: RelayMedia, Route: r.id, Space: r.space, Packet: *p, Deaf: r.deaf, Data: data}
	return true
}

// nextFor takes a position of the history for another shard. One that begins to
// follow drops what comes before the first packet of a keyframe, so it gets that
// first, and drops it the second time.
//
//hot:path
func (r *route) nextFor(to *remote) uint64 {
	if to.joins {
		to.joins = false
		if r.hasKey && r.keyAt > to.cursor {
			return r.keyAt
		}
	}
	to.cursor++
	return to.cursor - 1
}

func (r *route) remoteFor(shard int) *remote {
	for i := range r.remotes {
		if r.remotes[i].shard == shard {
			return &r.remotes[i]
		}
	}
	return nil
}

// followRoute makes a route's remotes those shards that have viewers. A new one
// starts at the newest keyframe, as a viewer would.
func (e *Engine) followRoute(r *route, shards uint64) {
	var remotes []remote
	for shard := range e.cfg.Shards {
		if shard == e.cfg.Shard || shards>>shard&1 == 0 {
			continue
		}
		to := remote{shard: shard, cursor: e.entry(r), joins: true}
		if old := r.remoteFor(shard); old != nil {
			to = *old
		}
		remotes = append(remotes, to)
	}
	r.remotes = remotes
	e.markRemotes(r)
}

// entry is the position where a shard that joins a route begins.
func (e *Engine) entry(r *route) uint64 {
	switch {
	case r.ring == nil:
		return 0
	case r.hasKey && r.keyAt >= r.ring.Tail():
		return max(r.keyFrom, r.ring.Tail())
	}
	return r.ring.Head()
}

// markRemotes queues a route that has packets for the shards that follow it.
//
//hot:path
func (e *Engine) markRemotes(r *route) {
	if r.ring == nil {
		return
	}
	for i := range r.remotes {
		to := &r.remotes[i]
		if !to.queued {
			to.queued = true
			o := &e.outboxes[to.shard]
			o.media = append(o.media, r)
		}
	}
}

// crowded reports whether only what comes from known addresses may be added.
func (o *outbox) crowded() bool { return len(o.queue) >= maxOutbox/4 || len(o.buf) >= maxOutboxBytes/4 }

// grow makes room: what a busy shard needs, and then what piles up while the other's
// thread is kept from its work, as it would in a socket. False when that is used up.
func (o *outbox) grow() bool {
	items, bytes := outboxItems, outboxBytes
	switch cap(o.queue) {
	case 0:
	case outboxItems:
		items, bytes = maxOutbox, maxOutboxBytes
	default:
		return false
	}
	o.queue = append(make([]Relay, 0, items), o.queue...)
	o.buf = append(make([]byte, 0, bytes), o.buf...)
	return true
}

// shrink gives back what was only needed for a while.
func (o *outbox) shrink() {
	if len(o.queue) == 0 && cap(o.queue) == maxOutbox {
		o.queue, o.buf = nil, nil
	}
}

// relay queues a small message; data is copied.
func (e *Engine) relay(shard int, m Relay, data []byte) wire.Drop {
	o := &e.outboxes[shard]
	for len(o.buf)+len(data) > cap(o.buf) || len(o.queue) == cap(o.queue) {
		if !o.grow() {
			return wire.DropRelayFull
		}
	}
	at := len(o.buf)
	o.buf = append(o.buf, data...)
	m.Data = o.buf[at:]
	o.queue = append(o.queue, m)
	return wire.Kept
}

func (e *Engine) relayDatagram(shard int, d *pkt.Datagram, landed int) wire.Drop {
	e.Counters.Misplaced++
	if e.steering {
		e.Counters.SteerMiss++
	}
	return e.relay(shard, Relay{Kind: RelayDatagram, Path: d.Path, Landed: landed, Arrived: d.Arrived}, d.Data)
}

func (e *Engine) relayKeyframe(r *route) {
	e.relay(r.home, Relay{Kind: RelayKeyframe, Route: r.id}, nil)
}

// HandleRelay takes what another shard told us.
//
//hot:path
func (e *Engine) HandleRelay(now clock.Time, from int, m *Relay) {
	e.now = now
	switch m.Kind {
	case RelayDatagram:
		e.datagram(&pkt.Datagram{Path: m.Path, Arrived: m.Arrived, Data: m.Data}, m.Landed)
	case RelayOwner:
		e.learnOwner(m.Path.Remote, from, m.Held)
		if len(m.Data) > 0 {
			e.answerCheck(e.cfg.Shard, m.Held, &m.Path, m.Data)
		}
	default:
		if r := e.routes[m.Route]; r != nil {
			e.handleRouteRelay(r, from, m)
		}
	}
}

// claimEvery is how often a shard is told again whose datagrams it relays: well
// within the time after which it would forget, or let another session have them.
const claimEvery = ice.HoldTimeout / 2

// claim tells a shard where a peer's datagrams land whose they are. Checks do that
// too, but there are peers that check no more once they are connected.
func (e *Engine) claim(s *session, remote pkt.Addr, landed int) {
	if !s.agent.Consents(e.now) {
		return
	}
	s.claimed = e.now
	e.relay(landed, Relay{Kind: RelayOwner, Path: pkt.Path{Remote: remote}, Held: e.keeps(s, remote)}, nil)
}

// learnOwner remembers which shard owns a remote address. Who has a session may
// check from as many addresses as he likes: one that has no media makes room for a
// new one, and comes back with its next check.
func (e *Engine) learnOwner(remote pkt.Addr, shard int, held bool) {
	old, known := e.foreign[remote]
	if old.shard != shard && e.now < old.heldUntil {
		return
	}
	if !known && len(e.foreign) >= max(maxForeign, 2*e.cfg.Sessions) && !e.forgetForeign() {
		return
	}
	owner := foreignOwner{shard, e.now, old.heldUntil}
	if held {
		owner.heldUntil = e.now.Add(ice.HoldTimeout)
	}
	e.foreign[remote] = owner
}

// forgetForeign makes room among the addresses of other shards' peers. False when
// those that it looked at, few at random, all have media.
func (e *Engine) forgetForeign() bool {
	looked := 0
	for remote, owner := range e.foreign {
		if e.now >= owner.heldUntil {
			delete(e.foreign, remote)
			e.Counters.Forgotten++
			return true
		}
		if looked++; looked == 16 {
			break
		}
	}
	return false
}

// handleRouteRelay takes a message about a route. Only its home may feed it:
// what a former home still had in its ring is no longer the stream.
//
//hot:path
func (e *Engine) handleRouteRelay(r *route, from int, m *Relay) {
	switch {
	case m.Kind == RelayKeyframe:
		e.requestKeyframe(r)
	case from != r.home:
		e.Counters.Drops[wire.DropLate]++
	case m.Kind == RelayReport:
		if ts, live := r.splice.TS(m.Report.rtp); live && r.splice.From(m.Space) {
			e.setReport(r, senderReport{ntp: m.Report.ntp, rtp: ts})
		}
	default:
		e.Counters.Drops[e.keepRelayed(r, m)]++
	}
}

//hot:path
func (e *Engine) keepRelayed(r *route, m *Relay) wire.Drop {
	from := &m.Packet
	r.deaf = m.Deaf
	p, room, drop := e.open(r, m.Space, from.Seq, from.TS, len(m.Data), from.KeyStart)
	if drop != wire.Kept {
		return drop
	}
	p.Received, p.CSRC, p.Marker, p.ExtLen = from.Received, from.CSRC, from.Marker, from.ExtLen
	e.close(r, p, copy(room, m.Data))
	return wire.Kept
}
