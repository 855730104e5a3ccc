package shard

import (
	"sluice/dataplane/engine"
	"sluice/dataplane/pkt"
)

// Steerer brings datagrams from the network to the shards that own them. It is
// asked when a peer's address becomes known or is given up, not for each packet;
// its methods may cost a system call, and are safe for concurrent use.
type Steerer interface {
	// Learn says that what comes from remote belongs to a shard.
	Learn(remote pkt.Addr, shard int)
	// Forget ends that, unless another shard said the same since.
	Forget(remote pkt.Addr, shard int)
	// Close leaves datagrams to the kernel's hash.
	Close()
}

// steering is the message that brings a new Steerer; nil is none.
type steering struct{ to Steerer }

// Steer has a Steerer told of all peers from now on, nil for none; the former
// one is not called any more when an Inspect has been answered after this. Safe
// for concurrent use.
func (s *Shard) Steer(to Steerer) { s.post(steering{to}) }

// FD returns the descriptor of the shard's socket.
func (s *Shard) FD() int { return s.socket.FD() }

// steerBudget is how many peers a turn tells the Steerer of: when it is switched
// on there may be thousands, and media must not wait for them.
const steerBudget = 16

// steer passes on what the engine says of its peers; false when there is more.
func (s *Shard) steer() (done bool) {
	var news engine.Steer
	for range steerBudget {
		if !s.engine.PollSteer(&news) {
			return true
		}
		if news.Here {
			s.steerer.Learn(news.Remote, s.index)
		} else {
			s.steerer.Forget(news.Remote, s.index)
		}
	}
	return false
}
