package engine

import (
	"sluice/dataplane/clock"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// HandleDatagrams takes what one turn received. It may change the datagrams'
// bytes and keeps none of them.
//
//hot:path
func (e *Engine) HandleDatagrams(now clock.Time, rx []pkt.Datagram) {
	e.now = now
	for i := range rx {
		e.Counters.RxPackets++
		e.Counters.RxBytes += uint64(len(rx[i].Data))
		// The kernel tells arrival by the wall clock, which may be set meanwhile.
		rx[i].Arrived = min(rx[i].Arrived, now)
		e.datagram(&rx[i], e.cfg.Shard)
	}
}

// datagram decides about one datagram that came to the socket of a shard,
// which need not be ours.
//
//hot:path
func (e *Engine) datagram(d *pkt.Datagram, landed int) {
	proto := wire.Classify(d.Data)
	var drop wire.Drop
	switch {
	case proto == wire.ProtoUnknown:
		drop = wire.DropUnknownProto
	case proto == wire.ProtoSTUN:
		drop = e.stun(d, landed)
	default:
		drop = e.fromPeer(d, proto, landed)
	}
	e.Counters.Drops[drop]++
}

// fromPeer takes what only a checked address may send.
//
//hot:path
func (e *Engine) fromPeer(d *pkt.Datagram, proto wire.Proto, landed int) wire.Drop {
	h, ok := e.byRemote[d.Path.Remote]
	if !ok {
		return e.fromElsewhere(d, landed)
	}
	s := e.sessions.Get(h)
	l := &e.links[h.Index()]
	if landed != e.cfg.Shard && e.now.Sub(s.claimed) >= claimEvery {
		e.claim(s, d.Path.Remote, landed)
	}
	switch {
	case !s.agent.Knows(&d.Path):
		return wire.DropUnknownTuple
	case proto == wire.ProtoDTLS:
		return e.punt(s, d)
	case l.ciphers == nil:
		return e.keepEarly(h, s, d)
	}
	return e.protected(s, l, proto, d)
}

// protected takes SRTP and SRTCP of a session that has keys.
//
//hot:path
func (e *Engine) protected(s *session, l *link, proto wire.Proto, d *pkt.Datagram) wire.Drop {
	if proto == wire.ProtoRTCP {
		return e.rtcp(s, l, d)
	}
	return e.rtp(s, l, d)
}

// fromElsewhere passes a datagram on to the shard whose session it belongs to.
func (e *Engine) fromElsewhere(d *pkt.Datagram, landed int) wire.Drop {
	owner, ok := e.foreign[d.Path.Remote]
	if !ok || landed != e.cfg.Shard {
		if wire.Classify(d.Data) == wire.ProtoDTLS {
			return wire.DropDTLSUnchecked
		}
		return wire.DropUnknownTuple
	}
	return e.relayDatagram(owner.shard, d, landed)
}

// maxPuntsPerSecond is generous for a handshake with a large certificate, and
// what a keyed session may make the control plane look at.
const maxPuntsPerSecond = 64

func (e *Engine) punt(s *session, d *pkt.Datagram) wire.Drop {
	if s.punts == maxPuntsPerSecond || len(e.punts) == maxPunts {
		return wire.DropDTLSBudget
	}
	s.punts++
	e.Counters.Punts++
	e.punts = append(e.punts, msg.Punt{ID: s.id, Path: d.Path, Data: append([]byte(nil), d.Data...)})
	return wire.Kept
}

// authentic records that the peer with the session's keys spoke over a path.
//
//hot:path
func (e *Engine) authentic(s *session, path *pkt.Path) {
	if s.agent.Authentic(e.now, path) {
		e.moved(s)
	}
}

// moved has media go to the path that is selected now.
func (e *Engine) moved(s *session) {
	h := e.byID[s.id]
	e.Counters.PathChanges++
	e.reportPath(h, s)
	e.beginPath(h, s)
}
