package load

import (
	"context"
	"math/rand/v2"
	"net/http"
	"runtime"
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

// publisher sends one VP8 and one Opus stream on schedule, from a thread of its own.
type publisher struct {
	media   Media
	allKey  bool // every frame is a keyframe: nobody asks for one
	conn    *client.Conn
	streams [kinds]*stream
	rtx     *stream
	history history
	wanted  chan uint16 // video sequence numbers that the server misses
	picture uint16
	wantKey atomic.Bool
	phase   time.Duration // from the begin of a schedule to what is due first: cameras do not keep time with each other
	late    atomic.Int64  // worst lateness of a packet against the schedule since the window began, ns

	pausing atomic.Bool
	paused  chan struct{}
	resumed chan struct{}
	stop    chan struct{}
	done    chan struct{}
	failure atomic.Pointer[error]

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

// publish connects; run sends.
func publish(ctx context.Context, hc *http.Client, h *hub, t Target, endpoint string, media Media) (*publisher, error) {
	ssrcs := &client.SSRCs{Audio: rand.Uint32(), Video: rand.Uint32(), RTX: rand.Uint32()}
	conn, err := dial(ctx, hc, t, endpoint, media, client.Offer{Publish: ssrcs, MID: true, TWCC: true, TCP: t.TCPPublish})
	if err != nil {
		return nil, err
	}
	p := &publisher{
		media: media, allKey: t.Bare, conn: conn, wanted: make(chan uint16, historySize),
		paused: make(chan struct{}), resumed: make(chan struct{}), stop: make(chan struct{}), done: make(chan struct{}),
	}
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

func newStream(k kind, ssrc uint32, pt uint8, clock uint64, size int, mid string) *stream {
	return &stream{
		kind: k, clock: clock, size: size, mid: mid, original: rand.Uint32(),
		header: rtp.Header{Version: 2, PayloadType: pt, SSRC: ssrc, SequenceNumber: uint16(rand.Uint32())},
	}
}

// sent is how many packets have left; it only stands still between a pause and resume.
func (p *publisher) sent() (n uint64) {
	for _, s := range p.streams {
		n += s.sent.Load()
	}
	return n
}

// awaitPause returns, once pausing is set, when the frame that is being sent is out and no other one follows.
func (p *publisher) awaitPause() error {
	select {
	case <-p.paused:
		return nil
	case <-p.done:
		return p.err()
	}
}

// resume starts the schedule anew from now.
func (p *publisher) resume() {
	p.pausing.Store(false)
	select {
	case p.resumed <- struct{}{}:
	case <-p.done:
	}
}

func (p *publisher) err() error {
	if err := p.failure.Load(); err != nil {
		return *err
	}
	return nil
}

func (p *publisher) run() {
	defer close(p.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.schedule(); err != nil {
		p.failure.Store(&err)
	}
}

// schedule sends until it is stopped: a frame every 1/FPS, audio every 20 ms, sender reports every second.
func (p *publisher) schedule() error {
	zero := now(unix.CLOCK_MONOTONIC)
	frame, sound := p.begin(zero)
	report := zero + int64(reportEvery)
	for {
		sleepUntil(min(frame, sound))
		select {
		case <-p.stop:
			return nil
		default:
		}
		if err := p.retransmitWanted(); err != nil {
			return err
		}
		if p.pausing.Load() {
			if resumed, err := p.rest(); !resumed {
				return err
			}
			frame, sound = p.begin(now(unix.CLOCK_MONOTONIC))
		}
		if due := min(frame, sound); due >= report {
			report = due + int64(reportEvery)
			if err := p.sendReports(due - zero); err != nil {
				return err
			}
		}
		if sound <= frame {
			if err := p.sendAudio(sound, zero); err != nil {
				return err
			}
			sound += int64(audioPeriod)
			continue
		}
		next, err := p.sendFrame(frame, zero, &sound)
		if err != nil {
			return err
		}
		frame = next
	}
}

// begin is when the first frame and the first audio packet of a schedule are due.
func (p *publisher) begin(at int64) (frame, sound int64) {
	frame = at + int64(p.phase)
	sound = frame
	if p.media.FPS == 0 {
		frame = never
	}
	if p.media.Silent {
		sound = never
	}
	return frame, sound
}

// rest waits for resume and retransmits meanwhile; it is false when the publisher was stopped or failed instead.
func (p *publisher) rest() (bool, error) {
	select {
	case p.paused <- struct{}{}:
	case <-p.stop:
		return false, nil
	}
	for {
		select {
		case <-p.resumed:
			return true, nil
		case <-p.stop:
			return false, nil
		case seq := <-p.wanted:
			if err := p.retransmit(seq); err != nil {
				return false, err
			}
		}
	}
}

// sendFrame sends the frame that is due at a time, in one burst or spread, audio in between when it is due, and returns when the
// next frame is due.
func (p *publisher) sendFrame(at, zero int64, sound *int64) (next int64, err error) {
	key := p.wantKey.Swap(false) || p.allKey
	p.picture++
	chunk := p.media.PPF
	if p.media.Spread > 0 {
		chunk = 1
	}
	for i := 0; i < p.media.PPF; i += chunk {
		due := at + int64(i)*int64(p.media.Spread)/int64(p.media.PPF)
		for ; *sound < due; *sound += int64(audioPeriod) {
			sleepUntil(*sound)
			if err := p.sendAudio(*sound, zero); err != nil {
				return 0, err
			}
		}
		sleepUntil(due)
		p.noteLateness(due)
		if err := p.sendChunk(i, chunk, at-zero, key); err != nil {
			return 0, err
		}
	}
	return at + int64(time.Second)/int64(p.media.FPS), nil
}

// sendChunk prepares and protects packets first to first+n of a frame and lets them go in one system call.
func (p *publisher) sendChunk(first, n int, elapsed int64, key bool) error {
	s := p.streams[video]
	stamp := now(unix.CLOCK_REALTIME)
	out := make([][]byte, n)
	for j := range out {
		i := first + j
		packet, payload, err := s.packet(elapsed, i == p.media.PPF-1)
		if err != nil {
			return err
		}
		vp8Payload(payload, p.picture, i == 0, key, marker{video, s.sent.Load(), stamp})
		p.history.put(s.header.SequenceNumber, packet)
		if out[j], err = p.protect(s, packet); err != nil {
			return err
		}
	}
	if p.media.Trains {
		return p.conn.SendTrain(out)
	}
	return p.conn.SendBatch(out)
}

func (p *publisher) sendAudio(at, zero int64) error {
	p.noteLateness(at)
	s := p.streams[audio]
	packet, payload, err := s.packet(at-zero, false)
	if err != nil {
		return err
	}
	for i := range payload {
		payload[i] = filler
	}
	payload[0] = tocByte
	marker{audio, s.sent.Load(), now(unix.CLOCK_REALTIME)}.put(payload[1:])
	protected, err := p.protect(s, packet)
	if err != nil {
		return err
	}
	return p.conn.Send(protected)
}

func (p *publisher) noteLateness(due int64) {
	p.late.Store(max(p.late.Load(), now(unix.CLOCK_MONOTONIC)-due))
}

// packet marshals the next header of the stream in front of room for the payload.
func (s *stream) packet(elapsed int64, last bool) (packet, payload []byte, err error) {
	h := &s.header
	h.Marker = last
	h.Timestamp = s.timestamp(elapsed)
	h.SequenceNumber++
	if err := s.extensions(); err != nil {
		return nil, nil, err
	}
	packet = make([]byte, s.size)
	n, err := h.MarshalTo(packet)
	return packet, packet[n:], err
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

func (p *publisher) protect(s *stream, packet []byte) ([]byte, error) {
	s.sent.Add(1)
	s.octets += uint32(len(packet) - s.header.MarshalSize())
	return p.conn.Out.EncryptRTP(nil, packet, &s.header)
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

func now(clock int32) int64 {
	var ts unix.Timespec
	unix.ClockGettime(clock, &ts)
	return ts.Nano()
}

func sleepUntil(monotonic int64) {
	ts := unix.NsecToTimespec(monotonic)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
	}
}
