package dataplane

import (
	"slices"
	"sync"
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/internal/shard"
	"sluice/netopt/attr"
)

// Steerer brings datagrams to the shards that own them.
type Steerer = shard.Steerer

// Attacher puts a Steerer in front of the shards' sockets, given by index; at
// most peers addresses are known at once.
type Attacher func(sockets []int, peers int) (Steerer, error)

var (
	steerModeAttr = Attrs.Enum(attr.Decl{
		Path: "steer/mode", Mode: attr.RW, Values: []string{"off", "reuseport"}, Since: "0.1",
		Doc: `What brings a peer's datagrams to the shard that owns its session. off: the kernel spreads them by a hash, and the
			shards pass on what is not theirs. reuseport: an eBPF program at the sockets picks the shard; this needs root or
			CAP_BPF and CAP_NET_ADMIN (deploy/README.md has a drop-in for the service that grants them), and saves one hand-over for most of what publishers and viewers send. Nothing is lost
			when it changes.`,
	})
	steerStateAttr = Attrs.Text(attr.Decl{
		Path: "steer/state", Mode: attr.RO, Default: "off", Since: "0.1",
		Doc: "What became of steer/mode: off, on, or why it could not be switched on.",
	})
	steerMiss = counter("steer/miss_packets", "packets", "Datagrams that landed at the wrong shard although steer/mode is not off.")
)

// peersPerSession is how many addresses of a session are worth a place in the
// Steerer's table: browsers check from two or three, and use one.
const peersPerSession = 4

// steering switches a Steerer on and off.
type steering struct {
	mu     sync.Mutex
	active Steerer
}

// FollowSteering lets the attribute steer/mode put a Steerer before the shards,
// from now on. To be called once.
func (p *Plane) FollowSteering(tree *attr.Tree, attach Attacher) {
	follow := func(mode string) {
		p.steering.mu.Lock()
		defer p.steering.mu.Unlock()
		p.stopSteering()
		state := "off"
		if mode != "off" {
			state = p.startSteering(tree, attach)
		}
		_ = steerStateAttr.Put(tree, state) // any line of text will do
	}
	steerModeAttr.Watch(tree, follow)
	follow(steerModeAttr.Get(tree))
}

// startSteering returns the state that it led to.
func (p *Plane) startSteering(tree *attr.Tree, attach Attacher) string {
	var sockets []int
	for _, s := range p.shards {
		sockets = append(sockets, s.FD())
	}
	steerer, err := attach(sockets, peersPerSession*int(MaxSessions.Get(tree)))
	if err != nil {
		return "off: " + err.Error()
	}
	p.steering.active = steerer
	for _, s := range p.shards {
		s.Steer(steerer)
	}
	return "on"
}

func (p *Plane) stopSteering() {
	if p.steering.active == nil {
		return
	}
	for _, s := range p.shards {
		s.Steer(nil)
	}
	// When this is answered nobody calls the Steerer; and without it the shards
	// have to know whose the peers are.
	for !told(p.Inspect()) {
		time.Sleep(time.Millisecond)
	}
	p.steering.active.Close()
	p.steering.active = nil
}

// told reports whether no shard has more to say to the others about its peers.
func told(shards []*engine.Stats) bool {
	return !slices.ContainsFunc(shards, func(st *engine.Stats) bool { return st != nil && st.Untold > 0 })
}
