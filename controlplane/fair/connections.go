package fair

import (
	"net"
	"net/http"
	"net/netip"
	"sync"

	"sluice/controlplane/subnet"
	"sluice/netopt/attr"
)

// Connections bounds and counts the connections of HTTP servers together. Safe
// for concurrent use.
type Connections struct {
	tree *attr.Tree

	mu      sync.Mutex
	open    map[net.Conn]netip.Prefix
	of      map[netip.Prefix]int
	refused [2]uint64 // all, of a source
}

// NewConnections returns what bounds connections as the tree says, which holds
// Attrs, and counts them there.
func NewConnections(tree *attr.Tree) *Connections {
	c := &Connections{tree: tree, open: map[net.Conn]netip.Prefix{}, of: map[netip.Prefix]int{}}
	tree.Collect(c.collect)
	return c
}

// ConnState is for the field of http.Server: that calls it with a new connection
// before it reads from it or accepts another one.
func (c *Connections) ConnState(conn net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if !c.enter(conn) {
			conn.Close()
		}
	case http.StateClosed, http.StateHijacked:
		c.leave(conn)
	}
}

func (c *Connections) enter(conn net.Conn) bool {
	addr := parseSource(conn.RemoteAddr().String())
	source, proxy := subnet.Of(addr), trusts(c.tree, addr)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case int64(len(c.open)) >= connectionsAttr.Get(c.tree):
		c.refused[0]++
		return false
	case !proxy && int64(c.of[source]) >= ofSourceAttr.Get(c.tree):
		c.refused[1]++
		return false
	}
	c.open[conn] = source
	c.of[source]++
	return true
}

// leave takes note of the end of a connection, which may have been refused.
func (c *Connections) leave(conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	source, entered := c.open[conn]
	if !entered {
		return
	}
	delete(c.open, conn)
	if c.of[source]--; c.of[source] == 0 {
		delete(c.of, source)
	}
}

func (c *Connections) collect(s *attr.Sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	connectionsGauge.Add(s, float64(len(c.open)))
	for reason, n := range c.refused {
		connectionsRefused.Add(s, reason, n)
	}
}
