package engine

import (
	"time"

	"sluice/dataplane/histogram"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
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
	Early       uint64 // SRTP datagrams held until their session had keys
	Misplaced   uint64 // datagrams relayed to the shard that owns them
	SteerMiss   uint64 // of those, while steering should have brought them there
	Forgotten   uint64 // addresses of other shards' peers that made room for others
	Relayed     uint64 // media packets relayed to shards with viewers
	Late        uint64 // packets sent later than their stream's budget
	Skipped     uint64 // video frames that viewers by TCP did not get, because their connections were too slow
	Expired     uint64 // sessions ended for want of checks, keys or consent
}

// Stats is a picture of an engine.
type Stats struct {
	Counters
	Sessions  int
	Ingresses int
	Egresses  int
	Routes    []RouteStats
	Untold    int // messages that Engine.SetSteering left to be passed on
	Loop      Loop
}

// Times are the histograms of a shard: apart from Stats, since they are large and
// that is read each second.
type Times struct {
	Latency histogram.Histogram // from a packet's arrival to the return of the call that sent it on
	Stamped histogram.Histogram // from arrival to the kernel's transmit timestamp, of a sample
	Turn    histogram.Histogram // length of a turn of the loop, sleep apart; the shell's
}

// Loop is what the shell measures of its own loop; it lies here so that one
// picture holds everything.
type Loop struct {
	Stages [NumStages]time.Duration // spent since the start
	Socket Socket
	Queues [NumQueues]int // items that wait now
}

// Stage is a part of the loop.
type Stage uint8

// The stages, in the order of the loop.
const (
	StageReceive  Stage = iota // taking datagrams from the kernel
	StageDecrypt               // deciding about them, decrypting, keeping
	StageRelay                 // taking from and handing to other shards
	StageCommands              // of the control plane
	StageTimers
	StageFanOut // rewriting and protecting
	StageSend   // handing batches to the kernel
	StageSpin   // asking for work instead of sleeping
	StageSleep
	NumStages
)

func (s Stage) String() string {
	return [...]string{"receive", "decrypt", "relay", "commands", "timers", "fan_out", "send", "spin", "sleep"}[s]
}

// Queue is a queue between a shard and others.
type Queue uint8

// The queues.
const (
	QueueCommands Queue = iota // from the control plane
	QueueEvents                // to the control plane
	QueueRelays                // from other shards
	NumQueues
)

func (q Queue) String() string { return [...]string{"commands", "events", "relays"}[q] }

// Socket is what a shard's socket did, and what the kernel says of it
// (SO_MEMINFO, socket(7)).
type Socket struct {
	Uses                        pkt.Accel
	BusyPolls                   bool
	RxMessages, TxMessages      uint64 // single datagrams, and trains of them
	GSOFallbacks                uint64 // times that the kernel stopped taking trains
	GSORefusals                 uint64 // trains that it did not take, whose packets went alone
	ReceiveQueue, ReceiveBuffer int    // bytes that wait, and may
	SendQueue, SendBuffer       int    // likewise, on the way out
	Overflows                   uint64 // datagrams dropped because the receive buffer was full
}

// RouteStats is a picture of a route on one shard.
type RouteStats struct {
	Route   msg.RouteID
	Home    bool          // the ingress is here
	Viewers int           // egresses here that get media
	Packets uint64        // kept so far
	Bytes   uint64        // of header extensions and payload
	Sent    uint64        // copies to viewers whose latency was measured
	Late    uint64        // of these, later than the budget
	Budget  time.Duration // 0 for none
}

// Stats returns a picture of the engine.
func (e *Engine) Stats() *Stats {
	st := &Stats{Counters: e.Counters, Sessions: e.sessions.Len(), Ingresses: e.ingresses.Len(), Egresses: e.egresses.Len(), Untold: e.untold(), Loop: e.Loop}
	for _, r := range e.routes {
		st.Routes = append(st.Routes, RouteStats{
			Route: r.id, Home: r.home == e.cfg.Shard, Viewers: e.viewers(r), Packets: r.packets, Bytes: r.bytes,
			Sent: r.sent, Late: r.late, Budget: e.budget(r),
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
