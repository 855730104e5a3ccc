package engine

import (
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// stun answers a connectivity check (RFC 8445 section 7.3). State changes only
// after MESSAGE-INTEGRITY verified.
//
//hot:path
func (e *Engine) stun(d *pkt.Datagram, landed int) wire.Drop {
	var m wire.STUN
	switch {
	case !wire.ParseSTUN(d.Data, &m):
		return wire.DropSTUNMalformed
	case m.Type != wire.STUNBindingRequest:
		return wire.DropSTUNClass
	}
	ufrag := m.LocalUfrag()
	h, ok := e.byUfrag[string(ufrag)]
	if !ok {
		return e.stunElsewhere(d, ufrag, landed)
	}
	s, l := e.sessions.Get(h), &e.links[h.Index()]
	key, fresh := l.local.key, true
	if string(ufrag) == l.former.ufrag {
		key, fresh = l.former.key, false
	}
	switch {
	case !m.HasIntegrity():
		return e.refuse(d, &m, ice.CodeBadRequest)
	case !key.Verify(&m):
		return e.refuse(d, &m, ice.CodeUnauthenticated)
	case m.Unknown != 0:
		return e.answerError(key, d, &m, ice.CodeUnknownAttribute, wire.DropSTUNAttribute)
	case m.Controlled:
		return e.answerError(key, d, &m, ice.CodeRoleConflict, wire.DropSTUNRole)
	}
	if landed != e.cfg.Shard && e.reportLanded(s, d, &m, landed) {
		return wire.Kept
	}
	e.checked(h, s, &d.Path, landed)
	l.adopted = l.adopted || fresh
	if fresh && m.UseCandidate {
		e.nominated(s, l, &d.Path)
	}
	e.Counters.Checks++
	n := key.Success(e.scratch[:wire.MaxSTUNResponse], &m, &d.Path.Remote)
	e.answerCheck(landed, e.keeps(s, d.Path.Remote), &d.Path, e.scratch[:n])
	return wire.Kept
}

// reportLanded asks the control plane where a publisher shall be whose first check
// came to another shard: what it sends is a relay less for each packet there. It is
// asked once, and gives the check back.
func (e *Engine) reportLanded(s *session, d *pkt.Datagram, m *wire.STUN, landed int) bool {
	if !e.set.Follow || e.steering || s.landed || s.nIn == 0 || s.agent.Selected() != nil || d.Path.Remote.Stream() {
		return false
	}
	s.landed = true
	m.Restore()
	e.landed = append(e.landed, msg.Landed{ID: s.id, Check: msg.Check{Path: d.Path, Shard: landed, Data: append([]byte(nil), d.Data...)}})
	return true
}

// answerCheck sends the answer to a check that came to the socket of a shard: by
// way of that shard, if it is another. What the peer sends when it has the answer
// is known there then.
func (e *Engine) answerCheck(landed int, held bool, path *pkt.Path, answer []byte) {
	if landed != e.cfg.Shard {
		e.relay(landed, Relay{Kind: RelayOwner, Path: *path, Held: held}, answer)
		return
	}
	if slot := e.control.Reserve(len(answer)); slot != nil {
		e.control.Commit(path, copy(slot, answer))
	}
}

// keeps reports whether a session has its media at an address, so that no other
// session takes that.
func (e *Engine) keeps(s *session, remote pkt.Addr) bool {
	return s.keyed && s.agent.Holds(e.now, remote)
}

// checked takes an authenticated check into the session's state.
func (e *Engine) checked(h pkt.Handle, s *session, path *pkt.Path, landed int) {
	first := s.agent.Selected() == nil
	if old, gone := s.agent.Checked(e.now, path); gone {
		e.forgetRemote(h, old)
	}
	if e.byRemote[path.Remote] != h && !e.taken(path.Remote, landed) {
		e.byRemote[path.Remote] = h
		e.steer(path.Remote, true)
	}
	if first {
		s.since = e.now
		e.reportPath(h, s)
		e.beginPath(h, s)
	}
}

// taken reports whether a remote address is another session's, which is there and
// has media. A check does not change that: whoever has a session of its own could
// send one with another's source address, and take its packets away.
func (e *Engine) taken(remote pkt.Addr, landed int) bool {
	if h, ok := e.byRemote[remote]; ok {
		s := e.sessions.Get(h)
		return e.keeps(s, remote)
	}
	return landed == e.cfg.Shard && e.now < e.foreign[remote].heldUntil
}

// restartICE gives a session new credentials. Those of a restart that the peer
// never made use of are forgotten.
func (e *Engine) restartICE(c *msg.RestartICE) {
	h, ok := e.byID[c.ID]
	if !ok {
		return
	}
	s, l := e.sessions.Get(h), &e.links[h.Index()]
	if l.former.key == nil || l.adopted {
		e.forgetFormer(l)
		l.former = l.local
	} else {
		delete(e.byUfrag, l.local.ufrag)
	}
	l.local, l.adopted = credentials{c.Ufrag, ice.NewCredentials(c.Pwd)}, false
	e.byUfrag[c.Ufrag] = h
	s.restarted = e.now
}

// nominated ends an ICE restart that is under way: the peer has nominated a path
// with its new credentials (RFC 8839 section 4.4.1.1.1). Media goes there at once.
func (e *Engine) nominated(s *session, l *link, path *pkt.Path) {
	if l.former.key == nil {
		return
	}
	e.forgetFormer(l)
	if s.agent.Nominated(path) {
		e.moved(s)
	}
}

func (e *Engine) forgetFormer(l *link) {
	if l.former.key != nil {
		delete(e.byUfrag, l.former.ufrag)
		l.former = credentials{}
	}
}

// forgetRemote ends what a session has to do with an address.
func (e *Engine) forgetRemote(h pkt.Handle, remote pkt.Addr) {
	if e.byRemote[remote] != h {
		return
	}
	delete(e.byRemote, remote)
	e.steer(remote, false)
	if remote.Stream() {
		e.hangups = append(e.hangups, remote)
	}
}

// stunElsewhere passes a check on to the shard that its ufrag names, unless it
// would crowd out media: anyone can send checks, and an honest one is sent again.
// An unknown ufrag gets no answer: it would tell who is there, to whoever asks. A
// connection is with its owner already.
func (e *Engine) stunElsewhere(d *pkt.Datagram, ufrag []byte, landed int) wire.Drop {
	shard, ok := e.home(ufrag)
	_, moved := e.forward[string(ufrag)]
	if !ok || d.Path.Remote.Stream() || shard == e.cfg.Shard || landed != e.cfg.Shard && !moved {
		return wire.DropSTUNUnknownUser
	}
	if e.outboxes[shard].crowded() {
		return wire.DropRelayFull
	}
	return e.relayDatagram(shard, d, landed)
}

// home returns the shard of the session with a ufrag, as far as that is known here.
func (e *Engine) home(ufrag []byte) (shard int, ok bool) {
	if _, here := e.byUfrag[string(ufrag)]; here {
		return e.cfg.Shard, true
	}
	if shard, ok = e.forward[string(ufrag)]; !ok {
		shard, ok = ice.UfragShard(ufrag)
	}
	return shard, ok && shard < e.cfg.Shards
}

func (e *Engine) forwardChecks(c *msg.ForwardChecks) {
	if c.Shard == e.cfg.Shard {
		delete(e.forward, c.Ufrag)
		return
	}
	e.forward[c.Ufrag] = c.Shard
}

// maxRefusals bounds error responses to unauthenticated checks: they help a
// person who debugs a client, and nobody else.
const maxRefusals = 50

// refuse answers an unauthenticated check, with less than was asked.
func (e *Engine) refuse(d *pkt.Datagram, m *wire.STUN, code int) wire.Drop {
	if e.refusals == maxRefusals {
		return wire.DropSTUNBudget
	}
	slot := e.control.Reserve(wire.MaxSTUNResponse)
	if slot == nil {
		return wire.DropSTUNBudget
	}
	if n := ice.Refuse(slot, m, code); n <= len(d.Data) {
		e.refusals++
		e.control.Commit(&d.Path, n)
	}
	return wire.DropSTUNIntegrity
}

func (e *Engine) answerError(key *ice.Credentials, d *pkt.Datagram, m *wire.STUN, code int, drop wire.Drop) wire.Drop {
	if slot := e.control.Reserve(wire.MaxSTUNResponse); slot != nil {
		e.control.Commit(&d.Path, key.Error(slot, m, code))
	}
	return drop
}
