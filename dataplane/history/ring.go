// Package history keeps the last packets of a route as plaintext, once for all
// its viewers. Fan-out reads it in order of arrival, retransmissions find
// packets by sequence number, and a new viewer starts at the last keyframe.
//
// A viewer that cannot keep up is a cursor that the ring's tail overtakes: no
// viewer has a queue of its own.
package history

import (
	"time"

	"sluice/dataplane/clock"
	"sluice/dataplane/wire"
)

// Packet describes one kept packet. Its bytes are, in this order: the CSRC
// list, the header extension elements that travel with the media, each as
// {wire.Ext, length, data}, and the payload. The source's padding is not kept.
type Packet struct {
	Seq      uint64     // extended sequence number in the route's own space
	TS       uint32     // RTP timestamp, likewise
	off      uint32     // of the first byte in the ring's: finding it again takes no division
	Arrived  clock.Time // when it was kept here
	Received clock.Time // when this machine received it, as the kernel says
	CSRC     uint8
	Marker   bool
	KeyStart bool // a decoder can start here
	ExtLen   uint16
	Len      uint16 // of all bytes
	Fill     uint16 // RTP padding brings size to this, 0 for none: Level sets it

	pos uint64 // of the first byte; positions count up and never wrap
}

// Ring is bounded in packets and in bytes, and uses no more of its bytes than it
// needs to reach back for so long. Not safe for concurrent use. Positions of
// packets count up in order of arrival.
type Ring struct {
	packets []Packet
	bySeq   []uint64 // position+1 of the packet last kept under seq modulo the ring's size
	bytes   []byte
	head    uint64 // position of the next packet
	tail    uint64 // position of the oldest packet kept
	pos     uint64 // byte position of the next packet
	lap     uint64 // position of the packet with the first of the bytes
	reach   time.Duration
}

// New returns a ring for a power of two of packets, and fewer than 4 GiB, whose first
// packet will have the position first. What is older
// than reach may be overwritten before the bytes are used up: memory that is never
// touched takes none, and touching it for the first time costs more than a packet.
func New(packets, bytes int, reach time.Duration, first uint64) *Ring {
	return &Ring{
		packets: make([]Packet, packets), bySeq: make([]uint64, packets), bytes: make([]byte, bytes), reach: reach,
		head: first, tail: first, lap: first,
	}
}

// Head returns the position that the next packet will get.
//
//hot:path
func (r *Ring) Head() uint64 { return r.head }

// Tail returns the position of the oldest packet kept; Head when there is none.
//
//hot:path
func (r *Ring) Tail() uint64 { return r.tail }

// At returns the packet at a position in [Tail, Head), and its bytes. Both are
// good until the next Append.
//
//hot:path
func (r *Ring) At(position uint64) (*Packet, []byte) {
	p := &r.packets[position&uint64(len(r.packets)-1)]
	return p, r.bytes[p.off : uint64(p.off)+uint64(p.Len)]
}

// Find returns the position of the packet with that extended sequence number.
//
//hot:path
func (r *Ring) Find(seq uint64) (uint64, bool) {
	n := r.bySeq[seq&uint64(len(r.bySeq)-1)]
	if n == 0 || n-1 < r.tail || r.packets[(n-1)&uint64(len(r.packets)-1)].Seq != seq {
		return 0, false
	}
	return n - 1, true
}

// Append keeps a packet of at most size bytes that arrived now, and returns it
// with the room to write them; Close then says how many were used. Older packets
// make way. nil when size exceeds the ring.
//
//hot:path
func (r *Ring) Append(now clock.Time, seq uint64, size int) (*Packet, []byte) {
	total := uint64(len(r.bytes))
	if uint64(size) > total {
		return nil, nil
	}
	if off := r.pos % total; off+uint64(size) > total || off >= total/leastLap && r.beyond(now) {
		r.pos += total - off // a packet does not wrap
		r.lap = r.head
	}
	for r.tail < r.head && (r.head-r.tail == uint64(len(r.packets)) || r.pos+uint64(size)-r.packets[r.tail&uint64(len(r.packets)-1)].pos > total) {
		r.tail++
	}
	p := &r.packets[r.head&uint64(len(r.packets)-1)]
	off := r.pos % total
	*p = Packet{Seq: seq, Arrived: now, pos: r.pos, off: uint32(off)}
	r.head++
	r.bySeq[seq&uint64(len(r.bySeq)-1)] = r.head
	return p, r.bytes[off : off+uint64(size)]
}

// leastLap is which part of the bytes is used at least: a stream that suddenly has
// more to say finds some history behind it.
const leastLap = 8

// beyond reports whether the first of the bytes hold nothing that is still within
// reach. From then on, at a steady rate, what is overwritten is as old.
//
//hot:path
func (r *Ring) beyond(now clock.Time) bool {
	return r.lap < r.tail || now.Sub(r.packets[r.lap&uint64(len(r.packets)-1)].Arrived) > r.reach
}

// Close ends the writing of the packet that Append returned last: n bytes were
// used.
//
//hot:path
func (r *Ring) Close(p *Packet, n int) {
	p.Len = uint16(n)
	r.pos = p.pos + uint64(n)
}

// Exts returns a reader over the kept extension elements of a packet.
//
//hot:path
func (p *Packet) Exts(b []byte) ExtReader {
	return ExtReader{b[4*int(p.CSRC) : 4*int(p.CSRC)+int(p.ExtLen)]}
}

// Payload returns the payload.
//
//hot:path
func (p *Packet) Payload(b []byte) []byte { return b[4*int(p.CSRC)+int(p.ExtLen):] }

// ExtReader walks kept extension elements.
type ExtReader struct{ b []byte }

// Next returns the next element; ok is false at the end.
//
//hot:path
func (r *ExtReader) Next() (ext wire.Ext, data []byte, ok bool) {
	if len(r.b) < 2 {
		return 0, nil, false
	}
	n := 2 + int(r.b[1])
	ext, data = wire.Ext(r.b[0]), r.b[2:n]
	r.b = r.b[n:]
	return ext, data, true
}
