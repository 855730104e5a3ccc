package controlplane_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/ice/v4"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"sluice/bpf/steer"
	"sluice/controlplane"
	"sluice/controlplane/auth"
	"sluice/controlplane/fair"
	"sluice/controlplane/keying"
	"sluice/controlplane/whip"
	"sluice/dataplane"
	"sluice/netopt/attr"
)

// patience is how long anything may take before a test gives up on it. No test
// says how fast things have to be.
const patience = 30 * time.Second

// rig is a service with its data plane on loopback, and its HTTP side.
type rig struct {
	*testing.T
	tree    *attr.Tree
	service *controlplane.Service
	url     string
	token   string // sent with offers unless empty
	feeds   uint64 // made so far: no two send the same
}

// place says where a service listens and what it announces.
type place struct {
	listen   string                                       // "127.0.0.1:0" if empty
	announce func(listen netip.AddrPort) []netip.AddrPort // the listening address if nil
	steering dataplane.Attacher                           // the real one if nil
}

func start(t *testing.T, sets ...string) *rig { return startAt(t, place{}, sets...) }

// startAt starts a service with attributes of the test's, "PATH=VALUE". When
// the test ends, nothing of the service may be left.
func startAt(t *testing.T, at place, sets ...string) *rig {
	t.Helper()
	before := census()
	r := &rig{T: t, tree: attr.NewTree(&controlplane.Attrs, &auth.Attrs, &dataplane.Attrs, &keying.Attrs, &fair.Attrs, &whip.Attrs)}
	for _, set := range append([]string{"dataplane/shards=2", "dataplane/pin=0", "placement/stream_viewers=0", "dataplane/shed_ms=0"}, sets...) {
		path, value, _ := strings.Cut(set, "=")
		if err := r.tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	if at.listen == "" {
		at.listen = "127.0.0.1:0"
	}
	if at.announce == nil {
		at.announce = func(listen netip.AddrPort) []netip.AddrPort { return []netip.AddrPort{listen} }
	}
	if at.steering == nil {
		at.steering = steer.Attach
	}
	var err error
	r.service, err = controlplane.Start(controlplane.Config{
		Tree: r.tree, Log: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
		Listen:     netip.MustParseAddrPort(at.listen),
		Candidates: func(listen netip.AddrPort) ([]netip.AddrPort, error) { return at.announce(listen), nil },
		Steering:   at.steering,
	})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	whip.Register(mux, r.service, r.tree, whip.Info{HTTPSURL: func(*http.Request) string { return "" }, OperatorURL: func(*http.Request) string { return "" }})
	web := httptest.NewServer(mux)
	r.url = web.URL
	t.Cleanup(func() {
		web.Close()
		r.service.Close()
		r.eventually(func() string { return before.left() })
	})
	return r
}

// counts are the goroutines and file descriptors of the process.
type counts struct{ goroutines, descriptors int }

func census() counts {
	http.DefaultClient.CloseIdleConnections()
	entries, _ := os.ReadDir("/proc/self/fd")
	return counts{runtime.NumGoroutine(), len(entries)}
}

// left says what there is more of than before, "" for nothing.
func (before counts) left() string {
	now := census()
	if now.goroutines > before.goroutines || now.descriptors > before.descriptors {
		return fmt.Sprintf("left behind: %d goroutines of %d, %d descriptors of %d",
			now.goroutines-before.goroutines, now.goroutines, now.descriptors-before.descriptors, now.descriptors)
	}
	return ""
}

// eventually waits until wrong returns "", and fails with what it says.
func (r *rig) eventually(wrong func() string) {
	r.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text := wrong()
		if text == "" {
			return
		}
		if time.Now().After(end) {
			buf := make([]byte, 1<<20)
			r.Logf("%s", buf[:runtime.Stack(buf, true)])
			r.Fatal(text)
		}
	}
}

// set writes an attribute.
func (r *rig) set(path, value string) {
	r.Helper()
	if err := r.tree.Set(path, value); err != nil {
		r.Fatal(err)
	}
}

// get reads an attribute.
func (r *rig) get(path string) string {
	r.Helper()
	value, err := r.tree.Get(path)
	if err != nil {
		r.Fatal(err)
	}
	return value
}

// metric returns a figure of the tree; for a vector "path/value".
func (r *rig) metric(path string) int {
	r.Helper()
	sample := r.tree.Sample()
	for _, table := range []*attr.Table{&controlplane.Attrs, &auth.Attrs, &dataplane.Attrs, &keying.Attrs} {
		for _, d := range table.Decls() {
			name, ok := strings.CutPrefix(path, d.Path)
			if !ok || !d.Kind.Metric() {
				continue
			}
			if i := slices.Index(d.Values, strings.TrimPrefix(name, "/")); i >= 0 {
				return int(sample.Values(d)[i])
			}
			if name == "" && d.Label == "" {
				return int(sample.Values(d)[0])
			}
		}
	}
	r.Fatalf("there is no metric %s", path)
	return 0
}

// reaches waits until a metric has a value.
func (r *rig) reaches(path string, want int) {
	r.Helper()
	r.eventually(func() string {
		if got := r.metric(path); got != want {
			return fmt.Sprintf("%s is %d, want %d", path, got, want)
		}
		return ""
	})
}

// refusal is what the service answers instead of a session.
type refusal struct {
	status     int
	retryAfter string
	Detail     string
}

// post sends an offer; it returns the answer and the session's URL, or a refusal.
func (r *rig) post(path, offer string) (answer, session string, refused *refusal) {
	r.Helper()
	req, err := http.NewRequest("POST", r.url+path, strings.NewReader(offer))
	must(r.T, err)
	req.Header.Set("Content-Type", "application/sdp")
	if r.token != "" {
		req.Header.Set("Authorization", "Bearer "+r.token)
	}
	resp, err := http.DefaultClient.Do(req)
	must(r.T, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		r.Fatal(err)
	}
	if resp.StatusCode == http.StatusCreated {
		return string(body), r.url + resp.Header.Get("Location"), nil
	}
	refused = &refusal{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After")}
	if err := json.Unmarshal(body, refused); err != nil {
		r.Fatalf("%s: status %d, %s", path, resp.StatusCode, body)
	}
	return "", "", refused
}

// ask sends a request to a session; it returns the status and the detail of a
// problem.
func (r *rig) ask(method, session string) (status int, detail string) {
	r.Helper()
	req, err := http.NewRequest(method, session, nil)
	if err != nil {
		r.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.Fatal(err)
	}
	defer resp.Body.Close()
	var problem struct{ Detail string }
	json.NewDecoder(resp.Body).Decode(&problem)
	return resp.StatusCode, problem.Detail
}

// ended waits until a session is gone, and checks the reason that it gives.
func (r *rig) ended(session, reason string) {
	r.Helper()
	r.eventually(func() string {
		status, detail := r.ask("GET", session)
		if status != http.StatusNotFound || !strings.Contains(detail, reason) {
			return fmt.Sprintf("session: %d %q, want 404 and %q", status, detail, reason)
		}
		return ""
	})
}

// media is a codec as tests use it: how it is offered, and how payloads begin.
type media struct {
	name       string
	kind       webrtc.RTPCodecType
	codec      webrtc.RTPCodecCapability
	pt         webrtc.PayloadType
	key, delta []byte // beginnings of the payloads of keyframes and of what follows
}

var videoFeedback = []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}, {Type: "transport-cc"}}

func audio(name string, mime string, rate uint32, channels uint16, pt webrtc.PayloadType) media {
	return media{name: name, kind: webrtc.RTPCodecTypeAudio, pt: pt,
		codec: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: rate, Channels: channels}}
}

func video(name, mime, fmtp string, key, delta string) media {
	return media{name: name, kind: webrtc.RTPCodecTypeVideo, pt: 96, key: []byte(key), delta: []byte(delta),
		codec: webrtc.RTPCodecCapability{MimeType: mime, ClockRate: 90000, SDPFmtpLine: fmtp, RTCPFeedback: videoFeedback}}
}

var (
	opus = audio("Opus", webrtc.MimeTypeOpus, 48000, 2, 111)
	pcmu = audio("PCMU", webrtc.MimeTypePCMU, 8000, 0, 0)
	pcma = audio("PCMA", webrtc.MimeTypePCMA, 8000, 0, 8)
	g722 = audio("G722", webrtc.MimeTypeG722, 8000, 0, 9)
	vp8  = video("VP8", webrtc.MimeTypeVP8, "", "\x10\x10", "\x10\x11")
	vp9  = video("VP9", webrtc.MimeTypeVP9, "profile-id=0", "\x08\x82", "\x48\x86")
	h264 = video("H264", webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", "\x67", "\x41")
	h265 = video("H265", webrtc.MimeTypeH265, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", "\x40\x01", "\x02\x01")
	av1  = video("AV1", webrtc.MimeTypeAV1, "level-idx=5;profile=0;tier=0", "\x08", "\x00")
)

// settings are what a peer does otherwise than usual.
type settings struct {
	profile dtls.SRTPProtectionProfile // the only one offered
	ipv6    bool
	tcp     bool           // has no UDP
	socket  net.PacketConn // nil for one of pion's
	noRTX   bool
	bare    bool // no interceptors: what the wire brings, tests see
	patient bool // does not repeat its part of the DTLS handshake
}

// api returns a pion that has only some codecs.
func api(t *testing.T, set settings, codecs []media) *webrtc.API {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	for i, m := range codecs {
		pt := m.pt
		if m.kind == webrtc.RTPCodecTypeVideo {
			pt += webrtc.PayloadType(2 * i)
		}
		must(t, engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: m.codec, PayloadType: pt}, m.kind))
		if m.kind == webrtc.RTPCodecTypeVideo && !set.noRTX {
			rtx := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", pt)}
			must(t, engine.RegisterCodec(webrtc.RTPCodecParameters{RTPCodecCapability: rtx, PayloadType: pt + 1}, m.kind))
		}
	}
	var s webrtc.SettingEngine
	s.SetIncludeLoopbackCandidate(true)
	s.SetInterfaceFilter(func(name string) bool { return name == "lo" })
	s.SetICEMulticastDNSMode(ice.MulticastDNSModeDisabled)
	if !set.patient {
		s.SetDTLSRetransmissionInterval(100 * time.Millisecond)
	} else {
		s.SetDTLSRetransmissionInterval(2 * patience)
	}
	s.SetSRTPReplayProtectionWindow(1024) // a packet sent again may be older than the usual 64
	s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	if set.tcp {
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeTCP4})
	}
	if set.ipv6 {
		// pion gathers no candidate on ::1 by itself.
		conn, err := net.ListenUDP("udp6", &net.UDPAddr{IP: net.IPv6loopback})
		must(t, err)
		mux := webrtc.NewICEUDPMux(nil, conn)
		t.Cleanup(func() { mux.Close() })
		s.SetICEUDPMux(mux)
		s.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP6})
	}
	if set.socket != nil {
		mux := webrtc.NewICEUDPMux(nil, set.socket)
		t.Cleanup(func() { mux.Close() })
		s.SetICEUDPMux(mux)
	}
	if set.profile != 0 {
		s.SetSRTPProtectionProfiles(set.profile)
	}
	options := []func(*webrtc.API){webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(s)}
	if set.bare {
		options = append(options, webrtc.WithInterceptorRegistry(argument(webrtc.WithInterceptorRegistry)))
	}
	return webrtc.NewAPI(options...)
}

// argument returns an empty argument for an option of pion's.
func argument[T any](func(*T) func(*webrtc.API)) *T { return new(T) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// peer is a session with the service.
type peer struct {
	*rig
	pc      *webrtc.PeerConnection
	session string // URL
	answer  string
	closed  chan struct{} // the service said close_notify, or the peer left
}

// offer returns the peer's offer, complete with candidates.
func (p *peer) offer() string {
	p.Helper()
	complete := webrtc.GatheringCompletePromise(p.pc)
	offer, err := p.pc.CreateOffer(nil)
	must(p.T, err)
	must(p.T, p.pc.SetLocalDescription(offer))
	<-complete
	return p.pc.LocalDescription().SDP
}

// connect brings the peer's session about, or returns the refusal.
func (p *peer) connect(path string) *refusal {
	p.Helper()
	connected := make(chan struct{})
	var once, closed sync.Once
	p.closed = make(chan struct{})
	p.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		switch state {
		case webrtc.PeerConnectionStateConnected:
			once.Do(func() { close(connected) })
		case webrtc.PeerConnectionStateClosed, webrtc.PeerConnectionStateFailed:
			closed.Do(func() { close(p.closed) })
		}
	})
	p.Cleanup(func() { p.pc.GracefulClose() })
	var refused *refusal
	p.answer, p.session, refused = p.post(path, p.offer())
	if refused != nil {
		return refused
	}
	must(p.T, p.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: p.answer}))
	p.wait(connected, "connection to "+path)
	return nil
}

// wait waits for a channel to close.
func (r *rig) wait(c <-chan struct{}, what string) {
	r.Helper()
	select {
	case <-c:
	case <-time.After(patience):
		r.Fatalf("no %s in %v", what, patience)
	}
}

// publisher sends media that the test makes.
type publisher struct {
	*peer
	tracks map[webrtc.RTPCodecType]*feed
}

// feed is one track of a publisher.
type feed struct {
	*peer
	media  media
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
	seq    uint16
	ts     uint32
	sent   []*rtp.Packet
	wanted chan rtcp.Packet // keyframe requests
	random *rand.Rand
}

// publish makes a publisher of a stream, with one track for each of codecs.
func (r *rig) publish(stream string, set settings, codecs ...media) *publisher {
	r.Helper()
	p, refused := r.tryPublish(stream, set, codecs...)
	if refused != nil {
		r.Fatalf("publish %s: %+v", stream, refused)
	}
	return p
}

func (r *rig) tryPublish(stream string, set settings, codecs ...media) (*publisher, *refusal) {
	r.Helper()
	pc, err := api(r.T, set, codecs).NewPeerConnection(webrtc.Configuration{})
	must(r.T, err)
	p := &publisher{&peer{rig: r, pc: pc}, map[webrtc.RTPCodecType]*feed{}}
	for _, m := range codecs {
		track, err := webrtc.NewTrackLocalStaticRTP(m.codec, m.kind.String(), "publisher")
		must(r.T, err)
		transceiver, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		must(r.T, err)
		r.feeds++
		f := &feed{peer: p.peer, media: m, track: track, sender: transceiver.Sender(), wanted: make(chan rtcp.Packet, 1024),
			random: rand.New(rand.NewPCG(r.feeds, 0))}
		f.seq, f.ts = uint16(f.random.Uint32()), f.random.Uint32()
		p.tracks[m.kind] = f
		go f.listen()
	}
	return p, p.connect("/whip/" + stream)
}

func (p *publisher) video() *feed { return p.tracks[webrtc.RTPCodecTypeVideo] }
func (p *publisher) audio() *feed { return p.tracks[webrtc.RTPCodecTypeAudio] }

// listen notes the keyframe requests.
func (f *feed) listen() {
	for {
		packets, _, err := f.sender.ReadRTCP()
		if err != nil {
			return
		}
		for _, p := range packets {
			switch p.(type) {
			case *rtcp.PictureLossIndication, *rtcp.FullIntraRequest:
				select {
				case f.wanted <- p:
				default:
				}
			}
		}
	}
}

// pace is the time between packets: what a socket of the smallest buffer takes.
const pace = time.Millisecond

// send sends one frame of some packets.
func (f *feed) send(key bool, packets int) {
	f.Helper()
	f.ts += f.media.codec.ClockRate / 50
	for i := range packets {
		must(f.T, f.track.WriteRTP(f.next(key && i == 0, i == packets-1)))
		time.Sleep(pace)
	}
}

// next makes the feed's next packet, and notes it as sent.
func (f *feed) next(key, marker bool) *rtp.Packet {
	begin := f.media.delta
	if key {
		begin = f.media.key
	}
	payload := slices.Clone(begin)
	payload = strconv.AppendInt(append(payload, ' '), int64(len(f.sent)), 10)
	payload = append(payload, ' ')
	for range 20 + f.random.IntN(1000) {
		payload = append(payload, byte(f.random.Uint32()))
	}
	p := &rtp.Packet{Header: rtp.Header{Version: 2, SequenceNumber: f.seq, Timestamp: f.ts, Marker: marker}, Payload: payload}
	f.seq++
	f.sent = append(f.sent, p.Clone())
	return p
}

// run sends a keyframe and, when viewers have it and so have begun, n frames of
// three packets.
func (f *feed) run(n int, viewers ...*viewer) {
	f.Helper()
	f.send(true, 1)
	for _, v := range viewers {
		v.gets(f.media.kind, f.last())
	}
	for range n {
		f.send(false, 3)
	}
}

func (f *feed) last() *rtp.Packet { return f.sent[len(f.sent)-1] }

// viewer keeps what it gets.
type viewer struct {
	*peer
	mu      sync.Mutex
	got     map[webrtc.RTPCodecType][]*rtp.Packet // in order of arrival
	reports map[webrtc.RTPCodecType][]*rtcp.SenderReport
	tracks  map[webrtc.RTPCodecType]*webrtc.TrackRemote
	resent  int // packets that came on a stream for retransmissions
}

// watch makes a viewer of a stream that decodes some codecs.
func (r *rig) watch(stream string, set settings, codecs ...media) *viewer {
	r.Helper()
	v, refused := r.tryWatch(stream, set, codecs...)
	if refused != nil {
		r.Fatalf("watch %s: %+v", stream, refused)
	}
	return v
}

func (r *rig) tryWatch(stream string, set settings, codecs ...media) (*viewer, *refusal) {
	r.Helper()
	pc, err := api(r.T, set, codecs).NewPeerConnection(webrtc.Configuration{})
	must(r.T, err)
	v := &viewer{
		peer: &peer{rig: r, pc: pc}, got: map[webrtc.RTPCodecType][]*rtp.Packet{},
		reports: map[webrtc.RTPCodecType][]*rtcp.SenderReport{}, tracks: map[webrtc.RTPCodecType]*webrtc.TrackRemote{},
	}
	pc.OnTrack(v.receive)
	kinds := map[webrtc.RTPCodecType]bool{}
	for _, m := range codecs {
		if kinds[m.kind] {
			continue
		}
		kinds[m.kind] = true
		_, err := pc.AddTransceiverFromKind(m.kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		must(r.T, err)
	}
	return v, v.connect("/whep/" + stream)
}

func (v *viewer) receive(track *webrtc.TrackRemote, receiver *webrtc.RTPReceiver) {
	v.mu.Lock()
	v.tracks[track.Kind()] = track
	v.mu.Unlock()
	go func() {
		for {
			packets, _, err := receiver.ReadRTCP()
			if err != nil {
				return
			}
			for _, p := range packets {
				if sr, ok := p.(*rtcp.SenderReport); ok {
					v.mu.Lock()
					v.reports[track.Kind()] = append(v.reports[track.Kind()], sr)
					v.mu.Unlock()
				}
			}
		}
	}()
	for {
		p, attributes, err := track.ReadRTP()
		if err != nil {
			return
		}
		v.mu.Lock()
		if attributes.Get(webrtc.AttributeRtxSsrc) != nil {
			v.resent++
		}
		v.got[track.Kind()] = append(v.got[track.Kind()], p.Clone())
		v.mu.Unlock()
	}
}

func (v *viewer) mime(kind webrtc.RTPCodecType) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.tracks[kind].Codec().MimeType
}

func (v *viewer) packets(kind webrtc.RTPCodecType) []*rtp.Packet {
	v.mu.Lock()
	defer v.mu.Unlock()
	return slices.Clone(v.got[kind])
}

// gets waits until the viewer has the payload of a packet.
func (v *viewer) gets(kind webrtc.RTPCodecType, want *rtp.Packet) {
	v.Helper()
	v.eventually(func() string {
		got := v.packets(kind)
		if !slices.ContainsFunc(got, func(p *rtp.Packet) bool { return bytes.Equal(p.Payload, want.Payload) }) {
			return fmt.Sprintf("the viewer has %d %v packets, and not %.20q", len(got), kind, want.Payload)
		}
		return ""
	})
}

// same checks that the viewer has exactly the packets sent, in order, its own
// numbering constantly apart from the publisher's.
func (v *viewer) same(kind webrtc.RTPCodecType, sent []*rtp.Packet) {
	v.Helper()
	v.gets(kind, sent[len(sent)-1])
	got := v.packets(kind)
	if len(got) != len(sent) {
		v.Fatalf("the viewer got %d %v packets of %d", len(got), kind, len(sent))
	}
	for i, want := range sent {
		p := got[i]
		switch {
		case !bytes.Equal(p.Payload, want.Payload):
			v.Fatalf("%v packet %d is %.20q, want %.20q", kind, i, p.Payload, want.Payload)
		case p.Marker != want.Marker:
			v.Fatalf("%v packet %d: marker %v, want %v", kind, i, p.Marker, want.Marker)
		case p.SequenceNumber-got[0].SequenceNumber != want.SequenceNumber-sent[0].SequenceNumber:
			v.Fatalf("%v packet %d: sequence number %d after %d", kind, i, p.SequenceNumber, got[0].SequenceNumber)
		case p.Timestamp-got[0].Timestamp != want.Timestamp-sent[0].Timestamp:
			v.Fatalf("%v packet %d: timestamp %d after %d", kind, i, p.Timestamp, got[0].Timestamp)
		case p.SSRC != got[0].SSRC || p.PayloadType != got[0].PayloadType:
			v.Fatalf("%v packet %d: SSRC or payload type changed", kind, i)
		}
	}
}
