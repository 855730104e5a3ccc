package engine

import (
	"slices"

	"sluice/dataplane/clock"
	"sluice/dataplane/codec"
	"sluice/dataplane/feedback"
	"sluice/dataplane/histogram"
	"sluice/dataplane/history"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/rewrite"
	"sluice/dataplane/srtp"
	"sluice/dataplane/wire"
)

// maxMedia is how many m-sections of one direction a session may have: one
// audio and one video.
const maxMedia = 2

// session is one peer's transport. Flat: what must survive.
type session struct {
	id           msg.SessionID
	agent        ice.Agent
	since        clock.Time // of the current setup stage
	restarted    clock.Time // last ICE restart
	owed         bool       // a report of where media goes
	landed       bool       // the control plane was asked where it shall be
	claimed      clock.Time // when another shard was told last that its datagrams are ours
	keyed        bool
	keys         msg.Keys
	rtcpIndex    uint32 // last SRTCP index used
	rtcp         srtp.Control
	timeline     feedback.Timeline // of the sender reports that the peer sends
	arrivalsSent clock.Time        // last transport-wide feedback
	punts        uint16            // DTLS datagrams passed up in this second
	forged       uint32            // packets with wrong tags in this second

	ingress      [maxMedia]pkt.Handle
	egress       [maxMedia]pkt.Handle
	nIn, nOut    uint8
	reducedSize  bool
	feedbackSSRC uint32 // sender of our RTCP where we send no media
}

// link is what is derived from a session.
type link struct {
	local    credentials
	former   credentials        // those of before an ICE restart that is under way
	adopted  bool               // the peer has used those that the restart gave it
	ciphers  *srtp.Context      // nil before the keys
	arrivals *feedback.Arrivals // nil unless transport-wide feedback was agreed on
	remote   pkt.Addr           // where media goes
	room     int                // bytes that this connection may be given; counts where it is one
	starved  bool               // something waits for room
}

// credentials are our half of a session's ICE credentials; zero for none.
type credentials struct {
	ufrag string
	key   *ice.Credentials
}

// ingress is one received RTP stream with its retransmission stream.
type ingress struct {
	session   pkt.Handle
	route     msg.RouteID
	source    uint64 // names this SSRC's reign to the splices
	kind      msg.Kind
	codec     codec.Codec
	clockRate uint32
	pt, rtxPT uint8
	mid       [maxMIDLen]byte
	midLen    uint8
	midExt    uint8 // the peer's ids of what we read ourselves
	ccExt     uint8
	exts      [15]wire.Ext // by the peer's id
	fb        msg.Feedback
	firSeq    uint8

	ssrc, rtxSSRC uint32 // 0 until known
	latches       uint8
	former        [2 * maxLatches]uint32 // SSRCs that were left for others
	formers       uint8
	stream        srtp.Stream
	rtxStream     srtp.Stream
	reception     feedback.Reception
	nack          feedback.Nack
	clock         feedback.SenderClock
	keyframe      feedback.Throttle
	broken        bool   // what is missing will not come: only a keyframe helps
	beforeKey     uint64 // highest extended sequence number that was dropped since no keyframe had come
}

// maxMIDLen bounds the MIDs that incoming packets are matched by.
const maxMIDLen = 16

// maxLatches is how many SSRCs an m-section may go through: an encoder that
// starts again takes a new one, an attacker with keys would take thousands.
const maxLatches = 16

// egress is one sent RTP stream to one viewer.
type egress struct {
	session  pkt.Handle
	route    msg.RouteID
	view     rewrite.Map
	rtxPT    uint8
	rtxSSRC  uint32
	rtxIndex uint64 // of the next retransmission
	firSeq   uint8  // last one answered
	firSeen  bool
	started  bool
	startSeq uint64 // route sequence number of the first packet
	behind   bool   // it may go up to limit now, and is to be level with the stream at until
	limit    uint64
	perTick  uint64 // packets that the stream goes on by in a paceTick
	until    clock.Time
	cursor   uint64    // position in the route's history of the next packet
	measured uint64    // position from which on its packets' latency counts
	frame    uint32    // timestamp of the frame that is being sent or left out
	inFrame  bool      // frame is one
	leaveOut wire.Drop // why it is left out
	gap      uint64    // position from which on packets were dropped on purpose the last time,
	skipped  uint64    // and up to which
	waitKey  bool      // everything is, until the next keyframe
	reportNo uint32    // last sender report passed on
	packets  uint32
	octets   uint32
	resent   uint32 // retransmissions in this second
	reported feedback.Reported
}

// left reports whether the SSRC is one that was left for another. It is never
// taken again: its replay list is gone, and what comes may be a replay.
func (in *ingress) left(ssrc uint32) bool {
	return slices.Contains(in.former[:in.formers], ssrc)
}

// route joins what arrives to those who watch. It is derived state: sessions
// and commands rebuild it, and its history may be lost.
type route struct {
	id        msg.RouteID
	kind      msg.Kind
	codec     codec.Codec
	clockRate uint32
	home      int
	space     uint64   // names this route's numbering to other shards
	remotes   []remote // other shards that have viewers; home only
	ingress   pkt.Handle

	splice   rewrite.Splice
	ring     *history.Ring        // nil before the first packet
	latency  *histogram.Histogram // of what was sent here; made with the ring
	stamped  *histogram.Histogram // to the kernel's transmit timestamp, of a sample; likewise
	sent     uint64               // how many it counts
	late     uint64               // of these, later than the budget
	tuning   msg.Tuning           // its own, where it is not 0
	waitKey  bool                 // nothing passes before a keyframe
	deaf     bool                 // the source cannot be asked for keyframes
	reaches  bool                 // the ring was made for such a source
	hasKey   bool
	keyAt    uint64 // position of the newest keyframe's first packet
	keyFrom  uint64 // position from which on there are packets of it
	keyTS    uint32
	wantKey  feedback.Throttle // requests towards another shard
	report   senderReport
	reportNo uint32 // sender reports of the source so far

	egresses []pkt.Handle
	ready    uint64 // position in the history up to which viewers are served
	round    uint64 // position up to which all are when this round of them ends
	fresh    uint64 // position from which on packets are served for the first time
	held     bool   // is in the engine's held
	injected uint64 // highest extended sequence number of an injected source
	first    int    // who is served first; rotates
	turn     int    // how many were served in this round
	dirty    bool
	packets  uint64 // kept so far, from whatever source
	bytes    uint64
}

// mark is what a route's viewers get, marked as it says or as its kind is.
//
//hot:path
func (e *Engine) mark(r *route) pkt.Mark {
	m := e.set.Marks[r.kind]
	if r.tuning.Marked {
		m.Class = r.tuning.Class
	}
	return m
}

// senderReport relates our clock to the route's RTP time.
type senderReport struct {
	ntp clock.NTP
	rtp uint32
}
