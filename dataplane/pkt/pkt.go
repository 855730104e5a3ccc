// Package pkt holds the currency between the shell, which talks to the kernel,
// and the engine, which decides.
//
// Sizes, from small to large, and the only words used for them:
//
//	packet  one datagram
//	run     packets for one destination, back to back and of equal size (the
//	        last may be shorter): what one UDP_SEGMENT message can carry
//	entry   one mmsghdr: a run, or a single packet
//	chunk   what one sendmmsg takes
//	batch   what one turn of the loop handles
package pkt

import (
	"net/netip"

	"sluice/dataplane/clock"
)

// Addr is an IP address and port, and what carries datagrams there, without
// pointers, so that it can live in slabs and be a map key. IPv4 addresses are
// held IPv4-mapped (RFC 4291 section 2.5.5.2): an address has one form, and
// comparing is comparing bytes.
type Addr struct {
	IP   [16]byte
	Port uint16
	// Conn is 0 for UDP, otherwise the shard's name of a TCP connection with
	// that address. No two connections that a shard ever has share a name and
	// an address, so what is known of one that ended holds of no other.
	Conn uint32
}

// AddrFrom converts a netip.AddrPort; the zone is dropped.
func AddrFrom(a netip.AddrPort) Addr { return Addr{IP: a.Addr().As16(), Port: a.Port()} }

// AddrPort converts back, IPv4-mapped addresses to plain IPv4.
func (a Addr) AddrPort() netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom16(a.IP).Unmap(), a.Port)
}

// Stream reports whether a TCP connection carries the datagrams.
func (a Addr) Stream() bool { return a.Conn != 0 }

// Is4 reports whether the address is an IPv4-mapped one.
func (a Addr) Is4() bool {
	return [12]byte(a.IP[:12]) == [12]byte{10: 0xff, 11: 0xff}
}

func (a Addr) String() string {
	if a.Stream() {
		return a.AddrPort().String() + "/tcp"
	}
	return a.AddrPort().String()
}

// Path is the two ends of a datagram's way: the peer's address, and the local
// address it came to, which answers must leave from (RFC 8445 section 7.3.1.2).
type Path struct {
	Remote Addr
	Local  [16]byte
}

// Datagram is one received packet. Data is the receiver's buffer: the engine
// may change it in place during the call it is passed to, and keeps nothing.
type Datagram struct {
	Path    Path
	Arrived clock.Time
	Data    []byte
}

// Run is part of a Batch: Len bytes at Off for Path, cut into packets of
// Segment bytes of which only the last may be shorter.
type Run struct {
	Path    Path
	Off     int32
	Len     int32
	Segment int32
	Mark    Mark
	Stamp   bool // the kernel is asked when it hands the run to the network device
}

// Mark says how networks on the way and this machine's own queues are to treat a
// packet; the zero value is like any other.
type Mark struct {
	Class    uint8 // traffic class (RFC 2474): the DSCP and two bits of 0
	Priority uint8 // in the queues (SO_PRIORITY, socket(7)), 1 to 6; 0 is none of its own
}

// Packets returns how many packets the run holds.
func (r *Run) Packets() int { return int((r.Len + r.Segment - 1) / r.Segment) }

// A run is one UDP_SEGMENT message: the kernel takes at most 64 segments (udp(7),
// UDP_MAX_SEGMENTS; 128 since Linux 6.9) and 64 KiB with the headers.
const (
	MaxRunPackets = 64
	maxRunBytes   = 65000
)

// Batch is a transmit buffer. The engine writes packets straight into it with
// Reserve and Commit; the shell sends its runs and resets it. Not safe for
// concurrent use.
type Batch struct {
	buf     []byte
	used    int
	runs    []Run
	streams []Run
	most    int32 // packets of a run
	open    *Run  // the last run, while it may still grow
	mark    Mark  // of what is committed
}

// NewBatch returns a batch over the given memory, with room for runs runs of
// each transport.
func NewBatch(buf []byte, runs int) *Batch {
	return &Batch{buf: buf, runs: make([]Run, 0, runs), streams: make([]Run, 0, runs), most: MaxRunPackets}
}

// Limit lets runs have at most so many packets, 1 to MaxRunPackets.
func (b *Batch) Limit(packets int) { b.most = int32(packets) }

// Mark gives what is committed from now on, until Reset, a mark.
//
//hot:path
func (b *Batch) Mark(m Mark) {
	if m != b.mark {
		b.mark, b.open = m, nil
	}
}

// Reserve returns room for a packet of at most size bytes, or nil when the
// batch is full. The room is the caller's until Commit or the next Reserve.
//
//hot:path
func (b *Batch) Reserve(size int) []byte {
	if b.used+size > len(b.buf) || len(b.runs) == cap(b.runs) || len(b.streams) == cap(b.streams) {
		return nil
	}
	return b.buf[b.used : b.used+size : b.used+size]
}

// Fits reports whether there is room for so many bytes, or nothing in the batch
// that emptying it could make room of.
//
//hot:path
func (b *Batch) Fits(size int) bool { return b.used == 0 || b.used+size <= len(b.buf) }

// Commit takes the first n bytes of the room that Reserve returned as a packet
// for path, and lets it join the last run when it fits there.
//
//hot:path
func (b *Batch) Commit(path *Path, n int) {
	off := b.used
	b.used += n
	if r := b.open; r != nil && int32(n) <= r.Segment && r.Len < r.Segment*b.most && r.Len+int32(n) <= maxRunBytes && r.Path == *path {
		r.Len += int32(n)
		if int32(n) < r.Segment {
			b.open = nil
		}
		return
	}
	list := &b.runs
	if path.Remote.Stream() {
		list = &b.streams
	}
	*list = (*list)[:len(*list)+1]
	b.open = &(*list)[len(*list)-1]
	*b.open = Run{Path: *path, Off: int32(off), Len: int32(n), Segment: int32(n), Mark: b.mark}
}

// Stamp asks for the instant at which the last run is handed to the network
// device. It reports whether that run goes by UDP, and to path.
//
//hot:path
func (b *Batch) Stamp(path *Path) bool {
	if len(b.runs) == 0 || b.runs[len(b.runs)-1].Path != *path {
		return false
	}
	b.runs[len(b.runs)-1].Stamp = true
	return true
}

// Runs returns the runs that go by UDP, in the order they were committed.
func (b *Batch) Runs() []Run { return b.runs }

// Streams returns the runs that go by TCP, in the order they were committed.
func (b *Batch) Streams() []Run { return b.streams }

// Messages returns how many runs there are of both.
func (b *Batch) Messages() int { return len(b.runs) + len(b.streams) }

// Bytes returns the bytes of a run.
func (b *Batch) Bytes(r *Run) []byte { return b.buf[r.Off : r.Off+r.Len] }

// Empty reports whether the batch holds no packet.
func (b *Batch) Empty() bool { return b.Messages() == 0 }

// Reset empties the batch.
func (b *Batch) Reset() {
	b.used, b.runs, b.streams, b.open, b.mark = 0, b.runs[:0], b.streams[:0], nil, Mark{}
}
