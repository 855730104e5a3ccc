package load

import (
	"context"
	"math/rand/v2"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"golang.org/x/sys/unix"

	"sluice/perf/client"
)

// Media is what the publishers send.
type Media struct {
	Streams int           // publishers, each with a stream of its own; 0: one
	FPS     int           // frames a second; 0: audio alone
	PPF     int           // packets a frame, key or not
	Size    int           // bytes of a video RTP packet, header and extensions included, before SRTP adds its tag
	Spread  time.Duration // a frame's packets leave evenly over this time; 0: in one burst
	Silent  bool          // video alone
	Trains  bool          // what leaves in one burst leaves as one message, at most 64 packets
}

const (
	audioPeriod = 20 * time.Millisecond
	audioSize   = 120       // bytes of an audio RTP packet, counted like Media.Size
	never       = 1<<63 - 1 // a time
	tocByte     = 0xFC
	reportEvery = time.Second
	ntpEpoch    = 2208988800 // seconds from 1900 to 1970
)

// stream is one RTP stream of the publisher.
type stream struct {
	kind     kind
	header   rtp.Header
	clock    uint64 // RTP clock rate, Hz
	size     int
	sent     atomic.Uint64
	octets   uint32
	twcc     *uint16 // next transport-wide sequence number, nil when not negotiated
	mid      string  // "" when not negotiated
	original uint32  // RTP timestamp at time zero
}

// publisher sends one VP8 and one Opus stream on schedule, when the pacer says so.
type publisher struct {
	media   Media
	allKey  bool // every frame is a keyframe: nobody asks for one
	conn    *client.Conn
	streams [kinds]*stream
	rtx     *stream
	history history
	out     [][]byte // protected packets of one chunk
	picture uint16
	key     bool // the frame that is being sent is one
	wantKey atomic.Bool
	pacer   *pacer
	late    atomic.Int64 // worst lateness of a packet against the schedule since the window began, ns

	// of the schedule, CLOCK_MONOTONIC in ns
	phase  time.Duration // from the begin of a schedule to what is due first: cameras do not keep time with each other
	zero   int64         // where RTP timestamps begin
	frame  int64         // when the first packet of the frame is due
	part   int           // how many of its packets have left
	sound  int64         // when the next audio packet is due
	report int64         // when the next sender reports are

	// owned by the hub
	feedback Feedback
	closed   string
}

// Feedback counts the RTCP that the publisher got.
type Feedback struct {
	PLI     int `json:"pli"` // FIR too
	NACK    int `json:"nack"`
	TWCC    int `json:"twcc"`
	Reports int `json:"reports"`
}

func (f *Feedback) add(g Feedback) {
	f.PLI += g.PLI
	f.NACK += g.NACK
	f.TWCC += g.TWCC
	f.Reports += g.Reports
}

// dial connects to the target with the sections that the media needs.
func dial(ctx context.Context, hc *http.Client, t Target, endpoint string, media Media, o client.Offer) (*client.Conn, error) {
	if t.Bare {
		return client.DialBare(ctx, hc, endpoint, o.Local)
	}
	o.CM, o.NoAudio, o.NoVideo = t.CM, media.Silent, media.FPS == 0
	return client.Dial(ctx, hc, endpoint, o)
}

// publish connects; the pacer lets it send.
func publish(ctx context.Context, hc *http.Client, h *hub, pace *pacer, t Target, endpoint string, media Media) (*publisher, error) {
	ssrcs := &client.SSRCs{Audio: rand.Uint32(), Video: rand.Uint32(), RTX: rand.Uint32()}
	conn, err := dial(ctx, hc, t, endpoint, media, client.Offer{Publish: ssrcs, MID: true, TWCC: true, TCP: t.TCPPublish})
	if err != nil {
		return nil, err
	}
	p := &publisher{media: media, allKey: t.Bare, conn: conn, pacer: pace, out: make([][]byte, media.PPF)}
	twcc := new(uint16)
	p.streams[audio] = newStream(audio, ssrcs.Audio, client.AudioPT, 48000, audioSize, "0")
	p.streams[video] = newStream(video, ssrcs.Video, client.VideoPT, 90000, media.Size, "1")
	p.rtx = newStream(video, ssrcs.RTX, client.RTXPT, 90000, 0, "1")
	for _, s := range append(p.streams[:], p.rtx) {
		if conn.Answer.TWCC {
			s.twcc = twcc
		}
		if !conn.Answer.MID {
			s.mid = ""
		}
	}
	p.wantKey.Store(true)
	if err := h.add(conn, p); err != nil {
		return nil, err
	}
	return p, nil
}

// newStream begins in the lower half of the sequence numbers: nobody tells the viewers of a stand-in how often they rolled over before
// they came (RFC 3711 section 3.3.1).
func newStream(k kind, ssrc uint32, pt uint8, clock uint64, size int, mid string) *stream {
	return &stream{
		kind: k, clock: clock, size: size, mid: mid, original: rand.Uint32(),
		header: rtp.Header{Version: 2, PayloadType: pt, SSRC: ssrc, SequenceNumber: uint16(rand.Uint32() >> 17)},
	}
}

// sent is how many packets have left; it only stands still between a pause and resume.
func (p *publisher) sent() (n uint64) {
	for _, s := range p.streams {
		n += s.sent.Load()
	}
	return n
}

// begin starts the schedule anew.
func (p *publisher) begin(at int64) {
	p.frame = at + int64(p.phase)
	p.part = 0
	p.sound = p.frame
	if p.media.FPS == 0 {
		p.frame = never
	}
	if p.media.Silent {
		p.sound = never
	}
}

// finish leaves the rest of the frame that was begun, if one was, of the schedule.
func (p *publisher) finish() {
	p.sound = never
	if p.part == 0 {
		p.frame = never
	}
}

// due is when the publisher sends next.
func (p *publisher) due() int64 { return min(p.frameDue(), p.sound) }

// frameDue is when the next packet of the frame leaves.
func (p *publisher) frameDue() int64 {
	if p.part == 0 {
		return p.frame
	}
	return p.frame + int64(p.part)*int64(p.media.Spread)/int64(p.media.PPF)
}

// send sends what is due: an audio packet, or what leaves together of a frame; each second sender reports before it.
func (p *publisher) send() error {
	due := p.due()
	p.noteLateness(due)
	if due >= p.report {
		p.report = due + int64(reportEvery)
		if err := p.sendReports(due - p.zero); err != nil {
			return err
		}
	}
	if p.sound == due {
		p.sound += int64(audioPeriod)
		return p.sendAudio(due - p.zero)
	}
	return p.sendVideo()
}

// sendVideo sends the next packet of a paced frame, or a whole frame in one burst.
func (p *publisher) sendVideo() error {
	if p.part == 0 {
		p.key = p.wantKey.Swap(false) || p.allKey
		p.picture++
	}
	n := p.media.PPF
	if p.media.Spread > 0 {
		n = 1
	}
	if err := p.sendChunk(p.part, n); err != nil {
		return err
	}
	p.part += n
	if p.part == p.media.PPF {
		p.part = 0
		p.frame += int64(time.Second) / int64(p.media.FPS)
	}
	return nil
}

// sendChunk prepares and protects packets first to first+n of a frame and lets them go in one system call.
func (p *publisher) sendChunk(first, n int) error {
	s := p.streams[video]
	stamp := now(unix.CLOCK_REALTIME)
	out := p.out[:n]
	for j := range out {
		i := first + j
		packet := p.history.room(s.header.SequenceNumber+1, s.size)
		payload, err := s.packet(packet, p.frame-p.zero, i == p.media.PPF-1)
		if err != nil {
			return err
		}
		vp8Payload(payload, p.picture, i == 0, p.key, marker{video, s.sent.Load(), stamp})
		if out[j], err = p.protect(s, out[j], packet); err != nil {
			return err
		}
	}
	if p.media.Trains {
		return p.conn.SendTrain(out)
	}
	return p.conn.SendBatch(out)
}

func (p *publisher) sendAudio(elapsed int64) error {
	s := p.streams[audio]
	packet := make([]byte, s.size)
	payload, err := s.packet(packet, elapsed, false)
	if err != nil {
		return err
	}
	for i := range payload {
		payload[i] = filler
	}
	payload[0] = tocByte
	marker{audio, s.sent.Load(), now(unix.CLOCK_REALTIME)}.put(payload[1:])
	protected, err := p.protect(s, nil, packet)
	if err != nil {
		return err
	}
	return p.conn.Send(protected)
}

func (p *publisher) noteLateness(due int64) {
	p.late.Store(max(p.late.Load(), now(unix.CLOCK_MONOTONIC)-due))
}

// packet marshals the next header of the stream into a packet, and returns the room for the payload behind it.
func (s *stream) packet(packet []byte, elapsed int64, last bool) (payload []byte, err error) {
	h := &s.header
	h.Marker = last
	h.Timestamp = s.timestamp(elapsed)
	h.SequenceNumber++
	if err := s.extensions(); err != nil {
		return nil, err
	}
	n, err := h.MarshalTo(packet)
	return packet[n:], err
}

func (s *stream) extensions() error {
	if s.mid != "" {
		if err := s.header.SetExtension(client.MIDExtension, []byte(s.mid)); err != nil {
			return err
		}
	}
	if s.twcc == nil {
		return nil
	}
	n := *s.twcc
	*s.twcc++
	return s.header.SetExtension(client.TWCCExtension, []byte{byte(n >> 8), byte(n)})
}

func (s *stream) timestamp(elapsed int64) uint32 {
	return s.original + uint32(uint64(elapsed)*s.clock/uint64(time.Second))
}

// protect seals a packet of a stream into a buffer, which grows if need be.
func (p *publisher) protect(s *stream, buffer, packet []byte) ([]byte, error) {
	s.sent.Add(1)
	s.octets += uint32(len(packet) - s.header.MarshalSize())
	return p.conn.Out.EncryptRTP(buffer, packet, &s.header)
}

// sendReports sends a sender report for each stream (RFC 3550 section 6.4.1).
func (p *publisher) sendReports(elapsed int64) error {
	wall := now(unix.CLOCK_REALTIME)
	ntp := uint64(wall/1e9+ntpEpoch)<<32 | uint64(wall%1e9)<<32/1e9
	for _, s := range p.streams {
		if s.sent.Load() == 0 {
			continue
		}
		report := rtcp.SenderReport{
			SSRC: s.header.SSRC, NTPTime: ntp, RTPTime: s.timestamp(elapsed),
			PacketCount: uint32(s.sent.Load()), OctetCount: s.octets,
		}
		plain, err := report.Marshal()
		if err != nil {
			return err
		}
		protected, err := p.conn.Out.EncryptRTCP(nil, plain, nil)
		if err != nil {
			return err
		}
		if err := p.conn.Send(protected); err != nil {
			return err
		}
	}
	return nil
}

// rtp ignores media: nobody sends it to a publisher.
func (p *publisher) rtp([]byte, int64) {}

// rtcp answers a request for a keyframe with the next frame, lets missing packets be sent again, and counts all of it.
func (p *publisher) rtcp(b []byte) {
	plain, err := p.conn.In.DecryptRTCP(nil, b, nil)
	if err != nil {
		return
	}
	packets, err := rtcp.Unmarshal(plain)
	if err != nil {
		return
	}
	for _, packet := range packets {
		switch packet := packet.(type) {
		case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
			p.feedback.PLI++
			p.wantKey.Store(true)
		case *rtcp.TransportLayerNack:
			p.feedback.NACK++
			p.want(packet)
		case *rtcp.TransportLayerCC:
			p.feedback.TWCC++
		case *rtcp.ReceiverReport:
			p.feedback.Reports++
		}
	}
}

func (p *publisher) ended(reason string) { p.closed = reason }
