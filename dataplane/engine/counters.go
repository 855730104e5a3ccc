package engine

import (
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// Counters count up from an engine's start.
type Counters struct {
	Drops       [wire.NumDrop]uint64 // by reason; those kept under Kept
	RxPackets   uint64               // datagrams at this shard's socket, and injected packets
	RxBytes     uint64
	TxPackets   uint64 // datagrams handed to the shell
	TxBytes     uint64
	Forwarded   uint64 // RTP packets to viewers, first transmissions
	Resent      uint64 // RTP packets to viewers again
	Repaired    uint64 // packets that a publisher's retransmission brought back
	NACKIn      uint64 // packets that viewers asked for
	NACKMissed  uint64 // of those, not sent again
	NACKOut     uint64 // packets that we asked publishers for
	PLIIn       uint64 // keyframe requests from viewers
	PLIOut      uint64 // keyframe requests to publishers
	Checks      uint64 // authenticated connectivity checks
	PathChanges uint64 // sessions whose media moved to another address
	Punts       uint64 // DTLS datagrams passed up
	Misplaced   uint64 // datagrams relayed to the shard that owns them
	Relayed     uint64 // media packets relayed to shards with viewers
	Expired     uint64 // sessions ended for want of checks, keys or consent
}

// Stats is a picture of an engine.
type Stats struct {
	Counters
	Sessions  int
	Ingresses int
	Egresses  int
	Routes    []RouteStats
}

// RouteStats is a picture of a route on one shard.
type RouteStats struct {
	Route   msg.RouteID
	Home    bool   // the ingress is here
	Viewers int    // egresses here that get media
	Packets uint64 // kept so far
	Bytes   uint64 // of header extensions and payload
}

// Stats returns a picture of the engine.
func (e *Engine) Stats() *Stats {
	st := &Stats{Counters: e.Counters, Sessions: e.sessions.Len(), Ingresses: e.ingresses.Len(), Egresses: e.egresses.Len()}
	for _, r := range e.routes {
		st.Routes = append(st.Routes, RouteStats{
			Route: r.id, Home: r.home == e.cfg.Shard, Viewers: e.viewers(r), Packets: r.packets, Bytes: r.bytes,
		})
	}
	return st
}

func (e *Engine) viewers(r *route) int {
	n := 0
	for _, h := range r.egresses {
		if e.egresses.Get(h).started {
			n++
		}
	}
	return n
}
