package dataplane

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/engine"
	"sluice/dataplane/internal/tcp"
	"sluice/dataplane/internal/udp"
	"sluice/netopt/attr"
)

// ICETCP says whether peers may come by TCP; answers then tell where.
var ICETCP = Attrs.Bool(attr.Decl{
	Path: "dataplane/tcp", Mode: attr.Boot, Default: "1", Since: "0.1",
	Doc: `Whether the media port is open for TCP too, for peers whose network lets no UDP through (ICE-TCP, RFC 6544).
		Answers then have TCP candidates behind the UDP ones.`,
})

var (
	tcpConnectionsAttr = Attrs.Int(attr.Decl{
		Path: "limits/tcp_connections", Unit: "connections", Mode: attr.Boot, Min: 1, Max: 1 << 20, Default: "16384", Since: "0.1",
		Doc: "How many connections the media port has at most. One more is closed at once.",
	})
	tcpPendingAttr = Attrs.Int(attr.Decl{
		Path: "limits/tcp_pending_connections", Unit: "connections", Mode: attr.Boot, Min: 1, Max: 1 << 20, Default: "64", Since: "0.1",
		Doc: `How many connections of one source, an IPv4 address or an IPv6 /64, may be at the media port without having
			shown that they belong to a session. One more is closed at once.`,
	})
	tcpSetupAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/tcp_setup_ms", Unit: "ms", Mode: attr.Boot, Min: 100, Max: 60000, Default: "5000", Since: "0.1",
		Doc: "A connection to the media port is closed when no authenticated connectivity check came on it in this time.",
	})
	tcpUnsentAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/tcp_unsent_bytes", Unit: "bytes", Mode: attr.Boot, Min: 4096, Max: 16 << 20, Default: "65536", Since: "0.1",
		Doc: `How many bytes the kernel holds for a viewer by TCP beyond what is on its way. Less lets a viewer whose network
			has become slow skip sooner; a keyframe should fit, or it takes several turns.`,
	})
	tcpNoDelayAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/tcp_nodelay", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether a small packet to a viewer by TCP leaves at once (TCP_NODELAY). Without, it waits while one before it is not
			acknowledged (RFC 896), which receivers put off for up to 40 ms: fewer segments, and sound that comes late.`,
	})
	tcpLagAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/tcp_lag_ms", Unit: "ms", Mode: attr.RW, Min: 50, Max: 60000, Default: "1000", Since: "0.1",
		Doc: `A packet that waits for a viewer's TCP connection for longer than this is dropped: video up to the newest
			keyframe, or the next one, which is asked for; sound up to what is younger. How many bytes may wait is bounded
			by dataplane/history_bytes.`,
	})
)

var (
	tcpGauge    = gauge("tcp_connections", "connections", "Connections at the media port.")
	tcpAccepted = counter("tcp_accepted_connections", "connections", "Connections taken at the media port.")
	tcpRefused  = Attrs.CounterVec(attr.Decl{
		Path: "tcp_refused_connections", Unit: "connections", Since: "0.1", Label: "reason", Values: tcp.RefusalNames(),
		Doc: "Connections to the media port that were closed without belonging to a session, or for what came on them, by reason.",
	})
	skippedFrames = counter("tcp_skipped_frames", "frames", "Video frames that viewers by TCP did not get because their connections were too slow.")
)

// portAttempts is how often a free port number is looked for that both
// transports have.
const portAttempts = 16

// listen opens a shard's sockets on one port number; the second is nil without
// ICE-TCP.
func (p *Plane) listen(addr netip.AddrPort, tree *attr.Tree) (*udp.Socket, *tcp.Socket, error) {
	for range portAttempts - 1 {
		datagrams, streams, err := p.tryListen(addr, tree)
		if addr.Port() != 0 || !errors.Is(err, unix.EADDRINUSE) {
			return datagrams, streams, err
		}
	}
	return p.tryListen(addr, tree)
}

func (p *Plane) tryListen(addr netip.AddrPort, tree *attr.Tree) (*udp.Socket, *tcp.Socket, error) {
	datagrams, err := udp.Listen(addr, udp.Options{
		ReceiveBuffer: int(receiveBufferAttr.Get(tree)),
		SendBuffer:    int(sendBufferAttr.Get(tree)),
		Share:         len(p.shards) > 0,
		Able:          p.able,
		Memory:        p.memory,
	})
	if err != nil {
		return nil, nil, fmt.Errorf("media %v: %w", addr, err)
	}
	if p.gate == nil {
		return datagrams, nil, nil
	}
	addr = netip.AddrPortFrom(addr.Addr(), datagrams.Port())
	streams, err := tcp.Listen(addr, tcp.Options{
		Gate:     p.gate,
		Window:   engine.StreamWindow,
		Unsent:   int(tcpUnsentAttr.Get(tree)),
		Patience: time.Duration(tcpSetupAttr.Get(tree)) * time.Millisecond,
	})
	if err != nil {
		datagrams.Close()
		return nil, nil, fmt.Errorf("media %v: %w (dataplane/tcp 0 does without TCP)", addr, err)
	}
	return datagrams, streams, nil
}

// newGate returns the gate of all shards, nil without ICE-TCP.
func newGate(tree *attr.Tree) *tcp.Gate {
	if !ICETCP.Get(tree) {
		return nil
	}
	return tcp.NewGate(tcp.Limits{
		Connections: int(tcpConnectionsAttr.Get(tree)),
		PerSource:   int(tcpPendingAttr.Get(tree)),
	})
}

// collectGate tells the figures of the gate.
func (p *Plane) collectGate(s *attr.Sample) {
	if p.gate == nil {
		return
	}
	counts := p.gate.Counts()
	tcpGauge.Add(s, float64(counts.Open))
	tcpAccepted.Add(s, counts.Accepted)
	for why, n := range counts.Refused {
		tcpRefused.Add(s, why, n)
	}
}
