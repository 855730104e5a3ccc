package main

import "encoding/binary"

// rollovers counts how often the sequence number of a stream that arrives in order has wrapped (RFC 3711 section 3.3.1).
type rollovers struct {
	ssrc uint32
	last uint16
	roc  uint32
}

func (r *rollovers) next(seq uint16) uint32 {
	if seq < r.last && r.last-seq > 1<<15 {
		r.roc++
	}
	r.last = seq
	return r.roc
}

// roc is the roll-over counter of a packet. Streams beyond the second take the place of the oldest.
func (f *forwarder) roc(p []byte) uint32 {
	ssrc, seq := binary.BigEndian.Uint32(p[8:]), binary.BigEndian.Uint16(p[2:])
	for i := range f.streams {
		if f.streams[i].ssrc == ssrc {
			return f.streams[i].next(seq)
		}
	}
	f.streams[0], f.streams[1] = f.streams[1], rollovers{ssrc: ssrc, last: seq}
	return 0
}
