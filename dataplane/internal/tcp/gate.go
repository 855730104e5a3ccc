package tcp

import (
	"sync"

	"sluice/dataplane/pkt"
)

// Refusal says why a connection was not taken, or ended before a session
// claimed it.
type Refusal uint8

// The refusals.
const (
	Total       Refusal = iota // as many connections as there may be
	Source                     // as many of its source as may wait to be claimed
	Descriptors                // the process has none left
	Late                       // no session claimed it in time
	BadFrame                   // a frame larger than any datagram, or what is no frame
	NoCheck                    // the first frame is not a connectivity check
	Busy                       // the owning shard takes no more now
	numRefusals
)

var refusalNames = [numRefusals]string{"total", "source", "descriptors", "late", "frame", "no_check", "busy"}

// RefusalNames returns the names of all refusals, in their order.
func RefusalNames() []string { return refusalNames[:] }

// Limits of a gate.
type Limits struct {
	Connections int // at most, of all shards
	PerSource   int // of these, not claimed by a session yet, of one IPv4 address or one IPv6 /64
}

// Counts of a gate; all but Open count up.
type Counts struct {
	Open     int
	Accepted uint64
	Refused  [numRefusals]uint64
}

// Gate bounds and counts the connections of all shards together: it is asked
// when one comes and when one goes, never for a packet. Safe for concurrent use.
type Gate struct {
	limits Limits

	mu      sync.Mutex
	counts  Counts
	waiting map[source]int // connections that no session has claimed
}

// source is an IPv4 address or the first half of an IPv6 address: what one
// subscriber line has.
type source [16]byte

func sourceOf(remote *pkt.Addr) (s source) {
	if remote.Is4() {
		return remote.IP
	}
	copy(s[:8], remote.IP[:])
	return s
}

// NewGate returns a gate with nobody inside.
func NewGate(l Limits) *Gate { return &Gate{limits: l, waiting: map[source]int{}} }

// Counts returns the figures.
func (g *Gate) Counts() Counts {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.counts
}

func (g *Gate) enter(from source) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.counts.Open >= g.limits.Connections:
		g.counts.Refused[Total]++
		return false
	case g.waiting[from] >= g.limits.PerSource:
		g.counts.Refused[Source]++
		return false
	}
	g.counts.Open++
	g.counts.Accepted++
	g.waiting[from]++
	return true
}

// claimed takes note that a session has a connection of a source.
func (g *Gate) claimed(from source) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.forget(from)
}

func (g *Gate) leave(from source, claimed bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts.Open--
	if !claimed {
		g.forget(from)
	}
}

func (g *Gate) refuse(why Refusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.counts.Refused[why]++
}

func (g *Gate) forget(from source) {
	if g.waiting[from]--; g.waiting[from] == 0 {
		delete(g.waiting, from)
	}
}
