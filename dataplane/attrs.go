package dataplane

import (
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/internal/shard"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
	"sluice/netopt/attr"
)

// Attrs declares the data plane's attributes and metrics.
var Attrs attr.Table

// The limits that the control plane keeps to when it places sessions.
var (
	MaxSessions = Attrs.Int(attr.Decl{
		Path: "limits/sessions", Unit: "sessions", Mode: attr.Boot, Min: 1, Max: 65536, Default: "8192", Since: "0.1",
		Doc: "How many sessions, publishers and viewers together, there may be at once. One more is refused with 503.",
	})
	MaxStreams = Attrs.Int(attr.Decl{
		Path: "limits/streams", Unit: "streams", Mode: attr.Boot, Min: 1, Max: 16384, Default: "1024", Since: "0.1",
		Doc: "How many streams there may be at once. A publisher or source of one more is refused with 503.",
	})
)

var (
	shardsAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/shards", Unit: "shards", Mode: attr.Boot, Min: 0, Max: 64, Default: "0", Since: "0.1",
		Doc: "How many threads forward packets, each with its own socket on the media port; 0 is one for each CPU.",
	})
	pinAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/pin", Mode: attr.Boot, Default: "1", Since: "0.1",
		Doc: "Whether each shard stays on a CPU of its own.",
	})
	receiveBufferAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/receive_buffer_bytes", Unit: "bytes", Mode: attr.RW, Min: 65536, Max: 256 << 20, Default: "8388608", Since: "0.1",
		Doc: `Receive buffer of each shard's socket, as the kernel charges datagrams: with their bookkeeping, for which it grants twice
			the value. Without CAP_NET_ADMIN it grants at most twice net.core.rmem_max. receive_queue_max_bytes says what it did grant.`,
	})
	sendBufferAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/send_buffer_bytes", Unit: "bytes", Mode: attr.RW, Min: 65536, Max: 256 << 20, Default: "8388608", Since: "0.1",
		Doc: `Send buffer of each shard's socket, as dataplane/receive_buffer_bytes, with net.core.wmem_max. send_queue_max_bytes says
			what the kernel granted.`,
	})
	mtuAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/mtu_bytes", Unit: "bytes", Mode: attr.RW, Min: 576, Max: 1952, Default: "1452", Since: "0.1",
		Doc: `The largest UDP payload that is sent to a viewer. What a publisher's packet grows by (authentication tag,
			header extensions, retransmission header) counts; a packet that does not fit is dropped and counted in
			dropped_packets, reason mtu. 1452 fits IPv6 over Ethernet.`,
	})
	historyPacketsAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/history_packets", Unit: "packets", Mode: attr.RW, Min: 64, Max: 16384, Default: "1024", Since: "0.1",
		Doc: `How many packets of a video stream are kept for retransmissions and new viewers, rounded up to a power of two.
			Audio keeps a quarter. Streams that already run keep what they have.`,
	})
	historyBytesAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/history_bytes", Unit: "bytes", Mode: attr.RW, Min: 65536, Max: 64 << 20, Default: "1048576", Since: "0.1",
		Doc: `How many bytes of a video stream are kept at most; audio keeps a sixteenth. A slow stream takes less: what is a second older than
			dataplane/start_age_ms and dataplane/tcp_lag_ms is overwritten first. Streams that already run keep what they have.`,
	})
	trainMaxAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/train_max", Mode: attr.RW, Min: 1, Max: pkt.MaxRunPackets, Default: "44", Since: "0.1",
		Doc: `How many packets for one viewer go to the kernel as one message (UDP_SEGMENT) at most. 1 sends each alone.`,
	})
	trainHoldAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/train_hold_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 20000, Default: "0", Since: "0.1",
		Doc: `How long a video packet may wait for the rest of its frame, so that more of it leaves as one message. It trades
			latency for CPU where publishers send the packets of a frame one by one; 0 never waits. Audio never waits.`,
	})
	padMaxAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/pad_max_bytes", Unit: "bytes", Mode: attr.RW, Min: 0, Max: 200, Default: "16", Since: "0.1",
		Doc: `By how much a packet is padded at most (RTP padding), so that the packets of a frame have one size and leave as one
			message. 0 sends packets as they came. A packet has the same padding for all viewers and whenever it is sent again.`,
	})
	audioDSCPAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/audio_dscp", Mode: attr.RW, Min: 0, Max: 63, Default: "0", Since: "0.1",
		Doc: `The mark (DSCP, RFC 2474) of audio to viewers over UDP, for networks that put some packets before others; RFC 8837 has
			46 (EF) for it. 0 is no mark: some networks drop what they are not asked to mark. This machine's own queues take an
			IPv4 packet's priority from it too.`,
	})
	videoDSCPAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/video_dscp", Mode: attr.RW, Min: 0, Max: 63, Default: "0", Since: "0.1",
		Doc: "As dataplane/audio_dscp, for video; streams/<name>/dscp is of one stream. RFC 8837 has 34 (AF41) or 36 (AF42) for it.",
	})
	audioPriorityAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/audio_priority", Mode: attr.RW, Min: 0, Max: 6, Default: "0", Since: "0.1",
		Doc: `The priority of audio to viewers over UDP in this machine's own queues (SO_PRIORITY of each message): bands of pfifo_fast
			and prio, classes of mqprio, and the 802.1p priority of a VLAN whose egress-qos-map says so. 0 is none of its own. Linux
			takes it since 6.14; elsewhere it does nothing, which "sluice doctor" says.`,
	})
	videoPriorityAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/video_priority", Mode: attr.RW, Min: 0, Max: 6, Default: "0", Since: "0.1",
		Doc: "As dataplane/audio_priority, for video.",
	})
	busyPollAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/busy_poll_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 10000, Default: "0", Since: "0.1",
		Doc: `How long a shard looks into the network device's queue itself before it sleeps (SO_BUSY_POLL, and since Linux 6.9 the same of
			its epoll set), where the device has such a queue: network cards do, the loopback device does not. Some kernels want
			CAP_NET_ADMIN for it; busy_poll_shards says whether it was granted. dataplane/spin_us asks the sockets, whatever is behind them.`,
	})
	busyPollBudgetAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/busy_poll_budget", Mode: attr.RW, Min: 1, Max: 1024, Default: "8", Since: "0.1",
		Doc: "How many packets one such look takes at most (SO_BUSY_POLL_BUDGET). To change it needs CAP_NET_ADMIN.",
	})
	busyPollPreferAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/busy_poll_prefer", Mode: attr.RW, Default: "0", Since: "0.1",
		Doc: `Whether the device need not interrupt while a shard looks (SO_PREFER_BUSY_POLL). It does something only where
			napi_defer_hard_irqs and gro_flush_timeout of the device are set, and needs CAP_NET_ADMIN.`,
	})
	gsoAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/gso", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether packets for one viewer go to the kernel as one message (UDP_SEGMENT). It is used where a test at start found
			that the kernel does it right; where the kernel refuses it later, each packet goes alone until 0 and 1 are written.`,
	})
	groAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/gro", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether datagrams that the kernel has merged are received as one (UDP_GRO), where a test at start found that it works.
			Writing 0 can lose those that wait to be read at that moment.`,
	})
	timestampsAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/timestamps", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether the kernel tells when a datagram came (SO_TIMESTAMPNS), where a test at start found that it works. Without, a
			datagram comes when it is read, which feedback to publishers then shows as jitter.`,
	})
	vectorsAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/vector_aes", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether AES-128-GCM uses the vector instructions of the processor (VAES, VPCLMULQDQ and AVX-512 of amd64), where it has
			them and a test at start found that they give what the standard library gives. Sessions keep what they began with.`,
	})
	spinAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/spin_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 100_000, Default: "0", Since: "0.1",
		Doc: `How long a shard asks for work before it sleeps. Waking a sleeping CPU takes tens of microseconds, which every packet
			that meets it awake saves. It asks only while packets come within that time of each other; loop_seconds, stage spin, is what it costs.`,
	})
	gopAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/gop_bytes", Unit: "bytes", Mode: attr.RW, Min: 0, Max: 64 << 20, Default: "4194304", Since: "0.1",
		Doc: `How many bytes of a video stream are kept at least whose source cannot be asked for keyframes (no PLI or FIR was
			agreed on, or it is no WebRTC peer), unless the stream says otherwise (streams/<name>/gop_bytes). New viewers of such a stream start at its last keyframe however old it is, as far
			as it is kept. 0 treats such streams as others: a new viewer waits for the next keyframe. Streams that already run
			keep what they have.`,
	})
	keyframeAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/keyframe_interval_ms", Unit: "ms", Mode: attr.RW, Min: 50, Max: 60000, Default: "500", Since: "0.1",
		Doc: "A publisher is asked for a keyframe at most once in this time, however many viewers want one.",
	})
	startAgeAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/start_age_ms", Unit: "ms", Mode: attr.RW, Min: 0, Max: 60000, Default: "1000", Since: "0.1",
		Doc: `A new viewer starts at the last keyframe if that is at most this old, and gets what came since at three times the
			stream's rate or more; otherwise the publisher is asked for a keyframe.`,
	})
	followAttr = Attrs.Bool(attr.Decl{
		Path: "dataplane/follow_publishers", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether a publisher moves to the shard where the kernel's hash brings its datagrams, which its first check shows. Otherwise
			each of them is handed over (misplaced_packets), which wakes two threads instead of one. It needs none of that
			where steer/mode brings datagrams to their shards.`,
	})
	setupAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/setup_timeout_ms", Unit: "ms", Mode: attr.RW, Min: 1000, Max: 300000, Default: "30000", Since: "0.1",
		Doc: `A session ends when no authenticated connectivity check came in this time after its POST, or no DTLS handshake
			ended in this time after the first check.`,
	})
	feedbackAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/feedback_interval_ms", Unit: "ms", Mode: attr.RW, Min: 20, Max: 1000, Default: "100", Since: "0.1",
		Doc: "How often a publisher gets transport-wide congestion control feedback.",
	})
	resendAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/resend_per_second", Mode: attr.RW, Min: 0, Max: 100000, Default: "1000", Since: "0.1",
		Doc: "How many packets a second are sent again to one viewer of one stream at most.",
	})
	forgedAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/forged_per_second", Mode: attr.RW, Min: 1, Max: 1000000, Default: "1000", Since: "0.1",
		Doc: `How many SRTP and SRTCP packets with a wrong authentication tag one session may have in a second. After those, packets
			of SSRCs that never authenticated are dropped unread for the rest of it (dropped_packets, reason auth_budget);
			its known streams go on.`,
	})
)

var (
	dropsCounter = Attrs.CounterVec(attr.Decl{
		Path: "dropped_packets", Unit: "packets", Since: "0.1",
		Label: "reason", Values: wire.DropNames()[1:],
		Doc: "Datagrams and packets that ended here, by reason.",
	})
	sessionsGauge  = gauge("sessions", "sessions", "Sessions that exist, in any state.")
	ingressesGauge = gauge("ingress_streams", "streams", "RTP streams that publishers may send.")
	egressesGauge  = gauge("egress_streams", "streams", "RTP streams to viewers.")

	rxPackets   = counter("rx_packets", "packets", "Datagrams received, and packets of built-in sources.")
	rxBytes     = counter("rx_bytes", "bytes", "Bytes of what rx_packets counts.")
	txPackets   = counter("tx_packets", "packets", "Datagrams sent.")
	txBytes     = counter("tx_bytes", "bytes", "Bytes of what tx_packets counts.")
	forwarded   = counter("forwarded_packets", "packets", "RTP packets sent to viewers for the first time.")
	resent      = counter("resent_packets", "packets", "RTP packets sent to viewers again, because they asked.")
	repaired    = counter("repaired_packets", "packets", "Packets that a publisher's retransmission brought back.")
	nackIn      = counter("nack_in_packets", "packets", "Packets that viewers asked for again.")
	nackMissed  = counter("nack_missed_packets", "packets", "Packets that viewers asked for again and did not get: too old, never sent, or over the limit.")
	nackOut     = counter("nack_out_packets", "packets", "Packets that publishers were asked for again.")
	pliIn       = counter("keyframe_in_requests", "requests", "Keyframe requests (PLI, FIR) from viewers.")
	pliOut      = counter("keyframe_out_requests", "requests", "Keyframe requests to publishers.")
	checks      = counter("ice_checks", "checks", "Authenticated connectivity checks.")
	pathChanges = counter("path_changes", "changes", "Times that a session's media moved to another address of its peer.")
	punts       = counter("punted_packets", "packets", "DTLS datagrams passed to the control plane.")
	early       = counter("early_packets", "packets", "Media of publishers that came before their keys, and was held until those were there.")
	misplaced   = counter("misplaced_packets", "packets", "Datagrams that landed at another shard than the one that owns their session.")
	forgotten   = counter("forgotten_addresses", "addresses", "Addresses of other shards' peers, without media, that made room for new ones: somebody checks from thousands.")
	relayed     = counter("relayed_packets", "packets", "Media packets passed to other shards with viewers.")
	expired     = counter("expired_sessions", "sessions", "Sessions ended for want of checks, keys or consent.")
)

func counter(name, unit, doc string) attr.Counter {
	return Attrs.Counter(attr.Decl{Path: name, Unit: unit, Since: "0.1", Doc: doc})
}

func gauge(name, unit, doc string) attr.Gauge {
	return Attrs.Gauge(attr.Decl{Path: name, Unit: unit, Since: "0.1", Doc: doc})
}

// settings reads what can change while the plane runs.
func (p *Plane) settings(t *attr.Tree) shard.Settings {
	ms := func(a attr.Attr[int64]) time.Duration { return time.Duration(a.Get(t)) * time.Millisecond }
	us := func(a attr.Attr[int64]) time.Duration { return time.Duration(a.Get(t)) * time.Microsecond }
	set := engine.DefaultSettings()
	set.MTU = int(mtuAttr.Get(t))
	set.HistoryPackets = powerOfTwo(int(historyPacketsAttr.Get(t)))
	set.HistoryBytes = int(historyBytesAttr.Get(t))
	set.KeyframeEvery = ms(keyframeAttr)
	set.StartAge = ms(startAgeAttr)
	set.Follow = followAttr.Get(t)
	set.SetupTimeout = ms(setupAttr)
	set.FeedbackEvery = ms(feedbackAttr)
	set.StampEvery = int(stampAttr.Get(t))
	set.Shed = ms(shedAttr)
	set.Deadlines = msg.Deadlines{Budget: us(budgetAttr), LateDrop: us(lateDropAttr)}
	set.ResendPerSecond = int(resendAttr.Get(t))
	set.ForgedPerSecond = int(forgedAttr.Get(t))
	set.GOPBytes = int(gopAttr.Get(t))
	set.StreamLag = ms(tcpLagAttr)
	set.TrainMax = int(trainMaxAttr.Get(t))
	set.TrainHold = time.Duration(trainHoldAttr.Get(t)) * time.Microsecond
	set.PadMax = int(padMaxAttr.Get(t))
	set.Vectors = vectorsAttr.Get(t)
	set.Marks = [...]pkt.Mark{
		msg.Audio: {Class: uint8(audioDSCPAttr.Get(t)) << 2, Priority: uint8(audioPriorityAttr.Get(t))},
		msg.Video: {Class: uint8(videoDSCPAttr.Get(t)) << 2, Priority: uint8(videoPriorityAttr.Get(t))},
	}
	set.ShortTails = p.able.EqualTrains != nil
	return shard.Settings{
		Engine: set,
		Accel:  pkt.Accel{GSO: gsoAttr.Get(t), GRO: groAttr.Get(t), Timestamps: timestampsAttr.Get(t)},
		Spin:   time.Duration(spinAttr.Get(t)) * time.Microsecond,

		NoDelay:       tcpNoDelayAttr.Get(t),
		ReceiveBuffer: int(receiveBufferAttr.Get(t)), SendBuffer: int(sendBufferAttr.Get(t)),
		BusyPoll: pkt.BusyPoll{For: us(busyPollAttr), Budget: int(busyPollBudgetAttr.Get(t)), Prefer: busyPollPreferAttr.Get(t)},
	}
}

func powerOfTwo(n int) int {
	p := 1
	for p < n {
		p *= 2
	}
	return p
}

// follow keeps the shards' settings at what the tree says, and tells the tree
// the figures.
func (p *Plane) follow(t *attr.Tree) {
	t.Watch("dataplane", func(string, string) {
		set := p.settings(t)
		for _, s := range p.shards {
			s.Configure(set)
		}
	})
	t.Collect(func(s *attr.Sample) {
		p.collectGate(s)
		for _, st := range p.Inspect() {
			if st != nil {
				collect(s, st)
				collectNumbers(s, st)
			}
		}
		for _, t := range p.Times() {
			if t != nil {
				collectTimes(s, t)
			}
		}
	})
}

func collect(s *attr.Sample, st *engine.Stats) {
	for reason, n := range st.Drops[1:] {
		dropsCounter.Add(s, reason, n)
	}
	sessionsGauge.Add(s, float64(st.Sessions))
	ingressesGauge.Add(s, float64(st.Ingresses))
	egressesGauge.Add(s, float64(st.Egresses))
	for _, c := range []struct {
		counter attr.Counter
		n       uint64
	}{
		{rxPackets, st.RxPackets}, {rxBytes, st.RxBytes}, {txPackets, st.TxPackets}, {txBytes, st.TxBytes},
		{forwarded, st.Forwarded}, {resent, st.Resent}, {repaired, st.Repaired},
		{nackIn, st.NACKIn}, {nackMissed, st.NACKMissed}, {nackOut, st.NACKOut},
		{pliIn, st.PLIIn}, {pliOut, st.PLIOut}, {checks, st.Checks}, {pathChanges, st.PathChanges},
		{punts, st.Punts}, {early, st.Early}, {misplaced, st.Misplaced}, {steerMiss, st.SteerMiss}, {forgotten, st.Forgotten},
		{relayed, st.Relayed}, {skippedFrames, st.Skipped}, {expired, st.Expired},
	} {
		c.counter.Add(s, c.n)
	}
}
