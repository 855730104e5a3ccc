// Package simnet is a virtual network under virtual time, for tests of sans-IO
// code: one server, any number of hosts, each behind a link of its own that
// loses, delays, reorders, duplicates and queues. The same seed gives the same
// run. Not safe for concurrent use.
package simnet

import (
	"bytes"
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/pkt"
)

// Net is the network and its clock.
type Net struct {
	now    clock.Time
	serial uint64
	queue  queue
	rand   *Rand
	hosts  map[pkt.Addr]*Host
	server func(from pkt.Addr, b []byte)
}

// New returns a network at the given instant. What hosts send arrives at
// server, whose slice is its own.
func New(seed uint64, start clock.Time, server func(from pkt.Addr, b []byte)) *Net {
	return &Net{now: start, rand: NewRand(seed), hosts: map[pkt.Addr]*Host{}, server: server}
}

// Now returns the current instant.
func (n *Net) Now() clock.Time { return n.now }

// At calls f at an instant, at once if that has passed. What is due at the same
// instant is called in the order it was asked for.
func (n *Net) At(t clock.Time, f func()) {
	n.serial++
	n.queue.push(event{max(t, n.now), n.serial, f})
}

// After calls f after a duration.
func (n *Net) After(d time.Duration, f func()) { n.At(n.now.Add(d), f) }

// Run does what is due until an instant, which it is then.
func (n *Net) Run(until clock.Time) {
	for len(n.queue) > 0 && n.queue[0].at <= until {
		e := n.queue.pop()
		n.now = e.at
		e.do()
	}
	n.now = max(n.now, until)
}

// Link is one direction of a host's way to the server. The zero value is
// perfect. It may be changed at any time.
type Link struct {
	Delay         time.Duration
	Jitter        time.Duration // up to so much more, evenly; packets overtake each other
	Loss          float64       // probability
	Duplicate     float64       // probability
	BitsPerSecond int           // 0 for no limit
	Dark          clock.Time    // nothing passes before

	free clock.Time // when the bottleneck has sent what waits
}

// maxQueue is how long a packet may wait at the bottleneck of a link.
const maxQueue = 300 * time.Millisecond

// carry sends b over a link.
func (n *Net) carry(l *Link, b []byte, arrive func(b []byte)) {
	if n.now < l.Dark || n.rand.Chance(l.Loss) {
		return
	}
	out := n.now
	if l.BitsPerSecond > 0 {
		out = max(n.now, l.free)
		if out.Sub(n.now) > maxQueue {
			return
		}
		out = out.Add(time.Duration(len(b)) * 8 * time.Second / time.Duration(l.BitsPerSecond))
		l.free = out
	}
	for copies := 1; copies > 0; copies-- {
		if n.rand.Chance(l.Duplicate) {
			copies++
		}
		packet := bytes.Clone(b)
		n.At(out.Add(l.Delay+n.rand.Duration(l.Jitter)), func() { arrive(packet) })
	}
}

// Host is a peer of the server behind a NAT.
type Host struct {
	Up, Down Link
	net      *Net
	addr     pkt.Addr
	receive  func(b []byte)
}

// NewHost adds a host whose NAT gives it an address. What the server sends there
// arrives at receive, whose slice is its own.
func (n *Net) NewHost(addr pkt.Addr, receive func(b []byte)) *Host {
	h := &Host{net: n, addr: addr, receive: receive}
	n.hosts[addr] = h
	return h
}

// Addr returns the address that the server sees.
func (h *Host) Addr() pkt.Addr { return h.addr }

// Rebind changes the address. What is sent to the old one is lost.
func (h *Host) Rebind(addr pkt.Addr) {
	h.Close()
	h.addr = addr
	h.net.hosts[addr] = h
}

// Close takes the host off the network; it can still send.
func (h *Host) Close() { delete(h.net.hosts, h.addr) }

// Send sends a copy of b to the server.
func (h *Host) Send(b []byte) {
	from := h.addr
	h.net.carry(&h.Up, b, func(b []byte) { h.net.server(from, b) })
}

// Deliver sends a copy of b from the server to an address.
func (n *Net) Deliver(to pkt.Addr, b []byte) {
	h := n.hosts[to]
	if h == nil {
		return
	}
	n.carry(&h.Down, b, func(b []byte) {
		if n.hosts[to] == h {
			h.receive(b)
		}
	})
}
