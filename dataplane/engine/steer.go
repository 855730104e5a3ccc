package engine

import "sluice/dataplane/pkt"

// Steer says where a peer's datagrams belong: to this shard, or no longer.
type Steer struct {
	Remote pkt.Addr
	Here   bool
}

// SetSteering says whether something in front of the shards brings datagrams to
// where they belong. When it is switched on it is told of all peers, by PollSteer,
// and what lands elsewhere all the same is counted. When it is switched off the
// other shards are told of all peers: theirs is what the hash makes of them, and
// the checks that would have told them came here.
func (e *Engine) SetSteering(on bool) {
	was := e.steering
	e.steering, e.steers = on, nil
	switch {
	case on:
		e.peers(func(p owned) { e.steer(p.remote, true) })
	case was:
		e.tell = nil
		for i := range e.outboxes {
			e.outboxes[i].told = 0
		}
		e.peers(func(p owned) { e.tell = append(e.tell, p) })
	}
}

// untold returns how many messages about peers still wait for other shards.
func (e *Engine) untold() (n int) {
	for shard := range e.outboxes {
		if shard != e.cfg.Shard {
			n += len(e.tell) - e.outboxes[shard].told
		}
	}
	return n
}

// owned is an address of a peer of ours.
type owned struct {
	remote pkt.Addr
	held   bool // as Relay.Held
}

// peers calls f for every address of a peer of ours.
func (e *Engine) peers(f func(owned)) {
	e.sessions.All(func(h pkt.Handle, s *session) {
		s.agent.Remotes(func(remote pkt.Addr) {
			if e.byRemote[remote] == h && !remote.Stream() {
				f(owned{remote, e.keeps(s, remote)})
			}
		})
	})
}

// PollSteer returns the next news about a peer, false when there is none.
func (e *Engine) PollSteer(s *Steer) bool {
	if len(e.steers) == 0 {
		return false
	}
	*s, e.steers = e.steers[0], e.steers[1:]
	return true
}

// steer notes where a peer's datagrams belong. A TCP connection is its owner's
// anyway.
func (e *Engine) steer(remote pkt.Addr, here bool) {
	if e.steering && !remote.Stream() {
		e.steers = append(e.steers, Steer{remote, here})
	}
}
