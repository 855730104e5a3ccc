package engine

import (
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// Where the peer has the last word in the handshake, it has its keys before we
// have ours, and sends media at once; and media can overtake that word. What comes
// between is held, as it came: it may be the keyframe of an encoder that cannot
// be asked for another.
type early struct {
	of   map[pkt.Handle][]pkt.Datagram // by session
	held int                           // of all sessions
}

const (
	maxEarly      = 256 // datagrams of a session: a large keyframe
	maxEarlyShard = 4 * maxEarly
)

// keepEarly keeps a publisher's datagram until there are keys to read it with.
func (e *Engine) keepEarly(h pkt.Handle, s *session, d *pkt.Datagram) wire.Drop {
	if s.nIn == 0 || len(e.early.of[h]) == maxEarly || e.early.held == maxEarlyShard {
		return wire.DropNoKeys
	}
	e.early.held++
	e.early.of[h] = append(e.early.of[h], pkt.Datagram{Path: d.Path, Arrived: d.Arrived, Data: append([]byte(nil), d.Data...)})
	e.Counters.Early++
	return wire.Kept
}

// takeEarly returns what is held of a session, and forgets it.
func (e *Engine) takeEarly(h pkt.Handle) []pkt.Datagram {
	held := e.early.of[h]
	delete(e.early.of, h)
	e.early.held -= len(held)
	return held
}

// deliverEarly takes what was held, now that there are keys.
func (e *Engine) deliverEarly(h pkt.Handle, s *session, l *link) {
	held := e.takeEarly(h)
	for i := range held {
		if drop := e.protected(s, l, wire.Classify(held[i].Data), &held[i]); drop != wire.Kept {
			e.Counters.Drops[drop]++
		}
	}
}
