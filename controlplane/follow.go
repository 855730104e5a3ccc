package controlplane

import "sluice/dataplane/msg"

// A publisher's shard is chosen with its POST, before anybody can know where the
// kernel's hash will bring its datagrams. Where that is another shard, each of them
// would be handed over, and wake two threads instead of one. So the first check says
// where they land, and the session begins anew there (design note 0026). Viewers stay:
// what they send is little, and they are where their stream is.

// landed decides where a publisher shall be, and has its first check answered there.
func (s *Service) landed(ev msg.Landed) {
	s.mu.Lock()
	defer s.mu.Unlock()
	to := ev.Shard
	if !s.move(ev.ID, to) {
		to = ev.ID.Shard()
	}
	s.plane.Send(to, msg.TakeCheck{Check: ev.Check})
}

// move begins a publisher's session anew on another shard, with the same credentials
// under another id. Its ufrag still names the first shard, which passes checks on.
func (s *Service) move(id msg.SessionID, to int) bool {
	p := s.peers[id]
	if p == nil || p.begun == nil || !s.registry.Move(p.session, to) {
		return false
	}
	add := *p.begun
	add.ID = p.session.ID
	delete(s.peers, id)
	s.peers[add.ID], s.byToken[p.token] = p, add.ID
	s.keyer.Rename(id, add.ID)
	s.send()
	s.beginTuning(p.session.Stream)
	s.plane.Send(to, add)
	p.begun, p.forwarding = nil, &msg.ForwardChecks{Ufrag: add.Ufrag, Shard: to}
	s.plane.Send(id.Shard(), *p.forwarding)
	p.forwarding.Shard = id.Shard() // which ends it there
	s.moves++
	s.log.Info("publisher moved", "session", id, "now", add.ID)
	return true
}
