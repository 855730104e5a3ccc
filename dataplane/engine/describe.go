package engine

import (
	"time"

	"sluice/dataplane/feedback"
	"sluice/dataplane/histogram"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// SessionStats is a picture of a session. It holds no key, password or ufrag.
type SessionStats struct {
	Keyed     bool           `json:"keyed"`
	Profile   msg.Profile    `json:"srtp_profile"` // by its number in the DTLS-SRTP registry; 0 before the keys
	Paths     []PathStats    `json:"paths"`
	Ingresses []IngressStats `json:"receives"`
	Egresses  []EgressStats  `json:"sends"`
}

// PathStats is a way to the peer that has passed a check.
type PathStats struct {
	Remote   string        `json:"remote"`
	Local    string        `json:"local"`
	Selected bool          `json:"selected"`
	Age      time.Duration `json:"checked_ns_ago"`
}

// IngressStats is an RTP stream that the peer sends.
type IngressStats struct {
	Kind     string `json:"kind"`
	Codec    string `json:"codec"`
	SSRC     uint32 `json:"ssrc"` // 0 until known
	RTXSSRC  uint32 `json:"rtx_ssrc"`
	PT       uint8  `json:"payload_type"`
	Route    uint32 `json:"route"`
	Received uint64 `json:"received_packets"`
	Expected uint64 `json:"expected_packets"` // from the first to the highest sequence number

	Jitter time.Duration `json:"jitter_ns"` // between arrivals (RFC 3550 section 6.4.1)
}

// EgressStats is an RTP stream that we send.
type EgressStats struct {
	SSRC    uint32 `json:"ssrc"`
	RTXSSRC uint32 `json:"rtx_ssrc"`
	Route   uint32 `json:"route"`
	Started bool   `json:"started"`
	Packets uint32 `json:"sent_packets"`
	Octets  uint32 `json:"sent_octets"`
	Backlog uint64 `json:"backlog_packets"` // kept and not sent yet

	Reported *ReportedStats `json:"reported"` // null while the peer has reported nothing
}

// ReportedStats is what the peer's last receiver report says of a stream: its word.
type ReportedStats struct {
	Age      time.Duration `json:"ns_ago"`
	Fraction float64       `json:"lost_fraction"` // since the report before
	Lost     int32         `json:"lost_packets"`  // in all; below zero when duplicates came
	Jitter   time.Duration `json:"jitter_ns"`
	RTT      time.Duration `json:"rtt_ns"` // 0 for unknown
}

// Session returns a picture of a session, nil when there is none.
func (e *Engine) Session(id msg.SessionID) *SessionStats {
	h, ok := e.byID[id]
	if !ok {
		return nil
	}
	s := e.sessions.Get(h)
	st := &SessionStats{Keyed: s.keyed, Profile: s.keys.Profile}
	s.agent.Paths(e.now, func(path *pkt.Path, selected bool, age time.Duration) {
		local := pkt.Addr{IP: path.Local}.AddrPort().Addr()
		st.Paths = append(st.Paths, PathStats{path.Remote.String(), local.String(), selected, age})
	})
	for _, h := range s.ingress[:s.nIn] {
		in := e.ingresses.Get(h)
		received, expected := in.reception.Totals()
		st.Ingresses = append(st.Ingresses, IngressStats{
			Kind: in.kind.String(), Codec: in.codec.String(), SSRC: in.ssrc, RTXSSRC: in.rtxSSRC, PT: in.pt, Route: uint32(in.route),
			Received: received, Expected: expected, Jitter: feedback.Delay(in.reception.Jitter(), in.clockRate),
		})
	}
	for _, h := range s.egress[:s.nOut] {
		eg := e.egresses.Get(h)
		st.Egresses = append(st.Egresses, EgressStats{
			SSRC: eg.view.SSRC, RTXSSRC: eg.rtxSSRC, Route: uint32(eg.route), Started: eg.started,
			Packets: eg.packets, Octets: eg.octets, Backlog: e.backlog(eg), Reported: e.reportedStats(eg),
		})
	}
	return st
}

// Heard returns how many sessions there are whose peers were heard of within a time:
// by a check or an authentic packet, or by the request that made them.
func (e *Engine) Heard(within time.Duration) (n int) {
	e.sessions.All(func(_ pkt.Handle, s *session) {
		last := s.since
		s.agent.Paths(e.now, func(_ *pkt.Path, selected bool, age time.Duration) {
			if selected {
				last = e.now.Add(-age)
			}
		})
		if e.now.Sub(last) < within {
			n++
		}
	})
	return n
}

func (e *Engine) reportedStats(eg *egress) *ReportedStats {
	r, route := &eg.reported, e.routes[eg.route]
	if !r.Some() || route == nil {
		return nil
	}
	return &ReportedStats{
		Age: e.now.Sub(r.At), Fraction: float64(r.Fraction) / 256, Lost: r.Lost, Jitter: feedback.Delay(r.Jitter, route.clockRate), RTT: r.RTT,
	}
}

// backlog is what a viewer has not got of what is kept.
func (e *Engine) backlog(eg *egress) uint64 {
	r := e.routes[eg.route]
	if !eg.started || r == nil || r.ring == nil {
		return 0
	}
	return r.ring.Head() - max(eg.cursor, r.ring.Tail())
}

// Latency is how long the packets of a route took, from the kernel's receive
// timestamp.
type Latency struct {
	Sent    histogram.Histogram // to the return of the call that sent them on
	Stamped histogram.Histogram // to the kernel's transmit timestamp, of a sample
}

// Merge adds what o counted.
func (l *Latency) Merge(o *Latency) {
	l.Sent.Merge(&o.Sent)
	l.Stamped.Merge(&o.Stamped)
}

// AddLatency adds to l how long the packets of a route took on this shard.
func (e *Engine) AddLatency(id msg.RouteID, l *Latency) {
	if r := e.routes[id]; r != nil && r.latency != nil {
		l.Sent.Merge(r.latency)
		l.Stamped.Merge(r.stamped)
	}
}
