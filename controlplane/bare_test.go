package controlplane_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"

	"sluice/controlplane/keying"
	"sluice/dataplane/wire"
)

// bare is a publisher made of its parts, a socket, checks, a DTLS end and SRTP,
// so that a test sees every datagram and can send any. As it is, it does what
// FFmpeg 8's WHIP muxer does (libavformat/whip.c; protocol checklist 4.10; Debian
// 12 has no FFmpeg with that muxer): its offer is passive and without candidates,
// it checks the first UDP host candidate only, by a request without PRIORITY or
// ICE-CONTROLLING, waits for our ClientHello, reads that first datagram away
// before its DTLS end does, knows one SRTP profile, and sends media at once.
type bare struct {
	*rig
	session     string // URL
	answer      string
	certificate tls.Certificate // what it shows
	ufrag, pwd  string          // the service's
	server      *net.UDPAddr
	conn        *bareConn
	dtls        *dtls.Conn
	send        *srtp.Context
	feeds       [2]feed // audio, video
}

// bareConn is a socket that keeps what arrives; DTLS goes on to who reads.
type bareConn struct {
	*net.UDPConn
	swallow int // DTLS datagrams that are read away

	mu   sync.Mutex
	got  map[wire.Proto][][]byte
	sent [][]byte
}

// WriteTo implements net.PacketConn.
func (c *bareConn) WriteTo(b []byte, to net.Addr) (int, error) {
	c.mu.Lock()
	c.sent = append(c.sent, slices.Clone(b))
	c.mu.Unlock()
	return c.UDPConn.WriteTo(b, to)
}

// Close implements net.PacketConn. The socket stays: DTLS that failed closes
// what it runs over, and the peer is not done with it.
func (c *bareConn) Close() error { return nil }

// ReadFrom implements net.PacketConn.
func (c *bareConn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := c.UDPConn.ReadFrom(b)
		if err != nil {
			return n, from, err
		}
		proto := wire.Classify(b[:n])
		c.mu.Lock()
		c.got[proto] = append(c.got[proto], slices.Clone(b[:n]))
		swallowed := len(c.got[proto]) <= c.swallow
		c.mu.Unlock()
		if proto == wire.ProtoDTLS && !swallowed {
			return n, from, nil
		}
	}
}

func (c *bareConn) received(proto wire.Proto) [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.got[proto])
}

func (c *bareConn) said() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.sent)
}

const (
	bareUfrag, barePwd       = "d34db33f", "0123456789abcdef0123456789abcdef"
	bareAudioPT, bareVideoPT = 111, 106
	bareAudioSSRC            = 1111
	bareVideoSSRC            = 2222
)

// bareOffer is an offer in the shape of the muxer's.
func bareOffer(setup, fingerprint string) string {
	var b strings.Builder
	b.WriteString("v=0\no=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1\ns=FFmpegPublishSession\nt=0 0\n" +
		"a=group:BUNDLE 0 1\na=extmap-allow-mixed\na=msid-semantic: WMS\n")
	section := func(media, mid string, pt, ssrc int, formats string) {
		fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %d\nc=IN IP4 0.0.0.0\na=ice-ufrag:%s\na=ice-pwd:%s\na=fingerprint:sha-256 %s\n"+
			"a=setup:%s\na=mid:%s\na=sendonly\na=msid:FFmpeg %s\na=rtcp-mux\n%sa=ssrc:%d cname:FFmpeg\na=ssrc:%d msid:FFmpeg %s\n",
			media, pt, bareUfrag, barePwd, fingerprint, setup, mid, media, formats, ssrc, ssrc, media)
	}
	section("audio", "0", bareAudioPT, bareAudioSSRC, "a=rtpmap:111 opus/48000/2\n")
	section("video", "1", bareVideoPT, bareVideoSSRC, "a=rtcp-rsize\na=rtpmap:106 H264/90000\n"+
		"a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n")
	return strings.ReplaceAll(b.String(), "\n", "\r\n")
}

// newBare posts an offer with the given role, announces one certificate, and
// opens a socket towards the candidate of the answer. The offer ends with the
// lines given.
func (r *rig) newBare(setup string, announced tls.Certificate, lines ...string) *bare {
	r.Helper()
	p := &bare{rig: r, certificate: announced}
	sum := sha256.Sum256(announced.Certificate[0])
	var refused *refusal
	p.answer, p.session, refused = r.post("/whip/live", bareOffer(setup, strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":"))+strings.Join(lines, ""))
	if refused != nil {
		r.Fatalf("%+v", refused)
	}
	for line := range strings.SplitSeq(p.answer, "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case name == "a=ice-ufrag":
			p.ufrag = value
		case name == "a=ice-pwd":
			p.pwd = value
		case name == "a=candidate" && p.server == nil:
			fields := strings.Fields(value)
			if fields[2] != "udp" || fields[7] != "host" {
				r.Fatalf("the first candidate is %s", value)
			}
			p.server = net.UDPAddrFromAddrPort(netip.MustParseAddrPort(net.JoinHostPort(fields[4], fields[5])))
		}
	}
	p.conn = p.socket()
	for kind, m := range []media{opus, h264} {
		p.feeds[kind] = feed{media: m, random: rand.New(rand.NewPCG(uint64(kind), 0))}
	}
	return p
}

// socket opens a socket of this peer's; where it has two, both are its own.
func (p *bare) socket() *bareConn {
	p.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(p.T, err)
	p.Cleanup(func() { socket.Close() })
	return &bareConn{UDPConn: socket, got: map[wire.Proto][][]byte{}}
}

// check sends a connectivity check, until it is answered.
func (p *bare) check() {
	p.Helper()
	m, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(p.ufrag+":"+bareUfrag),
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity(p.pwd), stun.Fingerprint)
	must(p.T, err)
	b := make([]byte, 2048)
	for range int(patience / (100 * time.Millisecond)) {
		_, err := p.conn.WriteTo(m.Raw, p.server)
		must(p.T, err)
		p.conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, _, err := p.conn.UDPConn.ReadFrom(b)
		if err == nil && stun.IsMessage(b[:n]) {
			p.conn.SetReadDeadline(time.Time{})
			return
		}
	}
	p.Fatal("the check is not answered")
}

// handshake is the peer's part in the DTLS handshake.
func (p *bare) handshake(server bool) error {
	p.Helper()
	options := []dtls.Option{
		dtls.WithCertificates(p.certificate), dtls.WithInsecureSkipVerify(true),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80),
	}
	var err error
	if server {
		all := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(true)}
		for _, o := range options {
			all = append(all, o)
		}
		p.dtls, err = dtls.ServerWithOptions(p.conn, p.server, all...)
	} else {
		var all []dtls.ClientOption
		for _, o := range options {
			all = append(all, o)
		}
		p.dtls, err = dtls.ClientWithOptions(p.conn, p.server, all...)
	}
	must(p.T, err)
	p.Cleanup(func() { p.dtls.Close() })
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	if err := p.dtls.HandshakeContext(ctx); err != nil {
		return err
	}
	state, _ := p.dtls.ConnectionState()
	cfg := srtp.Config{Profile: srtp.ProtectionProfileAes128CmHmacSha1_80}
	must(p.T, cfg.ExtractSessionKeysFromDTLS(&state, !server))
	p.send, err = srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile)
	must(p.T, err)
	return nil
}

// anyKeys lets the peer send media though it has no keys of the service's.
func (p *bare) anyKeys() {
	var err error
	p.send, err = srtp.CreateContext(make([]byte, 16), make([]byte, 14), srtp.ProtectionProfileAes128CmHmacSha1_80)
	must(p.T, err)
}

// media sends a frame of some packets, all at once, from a socket.
func (p *bare) media(from net.PacketConn, kind int, key bool, packets int) {
	p.Helper()
	f := &p.feeds[kind]
	pt, ssrc := uint8(bareAudioPT), uint32(bareAudioSSRC)
	if kind == 1 {
		pt, ssrc = bareVideoPT, bareVideoSSRC
	}
	f.ts += f.media.codec.ClockRate / 50
	for i := range packets {
		packet := f.next(key && i == 0, i == packets-1)
		packet.PayloadType, packet.SSRC = pt, ssrc
		b, err := packet.Marshal()
		must(p.T, err)
		b, err = p.send.EncryptRTP(nil, b, nil)
		must(p.T, err)
		_, err = from.WriteTo(b, p.server)
		must(p.T, err)
	}
}

// FFmpeg's muxer publishes: a keyframe that leaves at once with the end of its
// handshake is whole at a viewer, byte by byte, as is what follows. It hears of
// the end of its session.
func TestFFmpegPublishes(t *testing.T) {
	for _, swallow := range []int{1, 0} {
		t.Run(fmt.Sprintf("%d hellos lost", swallow), func(t *testing.T) {
			r := start(t)
			p := r.newBare("passive", testCertificate(t))
			for text, want := range map[string]bool{"a=setup:active\r\n": true, "a=setup:passive": false, "a=ice-lite\r\n": true} {
				if strings.Contains(p.answer, text) != want {
					t.Errorf("%q in the answer: want %v\n%s", text, want, p.answer)
				}
			}
			if len(p.answer) >= 8192 || !strings.HasPrefix(p.answer, "v=") {
				t.Errorf("an answer of %d bytes, %.10q", len(p.answer), p.answer)
			}
			viewer := r.watch("live", settings{}, opus, h264)
			p.conn.swallow = swallow
			p.check()
			must(t, p.handshake(true))
			p.media(p.conn, 1, true, 100)
			p.media(p.conn, 0, true, 1)
			viewer.gets(audioKind, p.feeds[0].last()) // a viewer begins with the sound as it is then
			for range 20 {
				p.media(p.conn, 1, false, 3)
				p.media(p.conn, 0, false, 1)
				time.Sleep(pace)
			}
			viewer.same(videoKind, p.feeds[1].sent)
			viewer.same(audioKind, p.feeds[0].sent)
			r.reaches("keying/started_handshakes", 2)
			if status, _ := r.ask("DELETE", p.session); status != 200 {
				t.Errorf("DELETE: status %d", status)
			}
			closed := make(chan struct{})
			go func() {
				defer close(closed)
				p.dtls.Read(make([]byte, 100))
			}()
			r.wait(closed, "close_notify")
		})
	}
}

// Whose certificate is not the one announced forwards nothing, in either role,
// whatever it sends afterwards; it is told by an alert and nothing else, and the
// session ends with the reason.
func TestImpostorsForwardNothing(t *testing.T) {
	for _, setup := range []string{"passive", "active", "actpass"} {
		t.Run(setup, func(t *testing.T) {
			r := start(t)
			p := r.newBare(setup, testCertificate(t))
			p.certificate = testCertificate(t)
			viewer := r.watch("live", settings{}, opus, h264)
			p.check()
			if err := p.handshake(setup == "passive"); err == nil || !strings.Contains(err.Error(), "BadCertificate") {
				t.Errorf("the handshake ended with %v", err)
			}
			p.anyKeys()
			for range 50 {
				p.media(p.conn, 1, true, 3)
				p.media(p.conn, 0, true, 1)
			}
			r.ended(p.session, "the peer's certificate is not the one that its description announced")
			for _, d := range p.conn.received(wire.ProtoDTLS) {
				if strings.Contains(string(d), "\x14\xfe\xfd\x00\x00") {
					t.Errorf("it was told that we have finished: %x", d)
				}
			}
			r.reaches("keying/ended_handshakes/failed", 1)
			if n := r.metric("forwarded_packets"); n != 0 || len(viewer.packets(videoKind))+len(viewer.packets(audioKind)) != 0 {
				t.Errorf("%d packets were forwarded", n)
			}
		})
	}
}

// Nothing is ever sent to an address that an offer names: the peer checks, we
// answer. So nobody can have us knock at loopback, a cloud's metadata or a group.
func TestCandidatesAreNeverProbed(t *testing.T) {
	r := start(t)
	target, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer target.Close()
	port := target.LocalAddr().(*net.UDPAddr).Port
	var lines []string
	for i, host := range []string{"127.0.0.1", "169.254.169.254", "224.0.0.1", "0.0.0.0", "::1", "ff02::1", "x.local"} {
		lines = append(lines, fmt.Sprintf("a=candidate:%d 1 udp 2122260223 %s %d typ host\r\n", i, host, port))
	}
	p := r.newBare("passive", testCertificate(t), lines...)
	viewer := r.watch("live", settings{}, opus, h264)
	p.check()
	must(t, p.handshake(true))
	p.media(p.conn, 1, true, 10)
	p.media(p.conn, 0, true, 1)
	viewer.gets(videoKind, p.feeds[1].last())
	target.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if n, from, err := target.ReadFrom(make([]byte, 2048)); err == nil {
		t.Errorf("%d bytes from %v at an address that only the offer names", n, from)
	}
}

// Once a session has its keys, handshakes of any kind change nothing: not the
// whole first one said again, by the peer or by a stranger, nor another one, nor alerts.
// A stranger gets not a byte back; the peer gets our last flight again at most,
// in the active role nothing. Its media goes on, and nothing else is forwarded.
func TestHandshakesOnKeyedSession(t *testing.T) {
	for _, setup := range []string{"passive", "active"} {
		t.Run(setup, func(t *testing.T) {
			r := start(t)
			p := r.newBare(setup, testCertificate(t))
			viewer := r.watch("live", settings{}, opus, h264)
			p.check()
			must(t, p.handshake(setup == "passive"))
			p.media(p.conn, 1, true, 3)
			viewer.gets(videoKind, p.feeds[1].last())
			r.reaches("keying/keyed_sessions", 2)
			said, before := p.conn.said(), p.conn.received(wire.ProtoDTLS)

			stranger := p.socket()
			heard := make(chan []byte, 100)
			go func() {
				b := make([]byte, 2048)
				for {
					n, _, err := stranger.UDPConn.ReadFrom(b)
					if err != nil {
						return
					}
					heard <- slices.Clone(b[:n])
				}
			}()
			var datagrams [][]byte
			for _, d := range said {
				if wire.Classify(d) != wire.ProtoSTUN { // a check said again is answered: it is authentic
					datagrams = append(datagrams, d)
				}
			}
			datagrams = append(datagrams, hello(t, p.certificate))
			encrypted := append([]byte{21, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 9, 0, 26}, make([]byte, 26)...)
			datagrams = append(datagrams, encrypted,
				[]byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 2, 40}, // fatal handshake_failure
				[]byte{21, 0xfe, 0xfd, 0, 0, 0, 0, 0, 0, 0, 9, 0, 2, 1, 0})  // close_notify
			for _, d := range datagrams {
				for _, from := range []*bareConn{stranger, p.conn} {
					_, err := from.UDPConn.WriteTo(d, p.server)
					must(t, err)
					time.Sleep(pace)
				}
			}
			p.media(p.conn, 1, false, 3)
			viewer.same(videoKind, p.feeds[1].sent)
			select {
			case d := <-heard:
				t.Errorf("a stranger was answered: %x", d)
			default:
			}
			answers := p.conn.received(wire.ProtoDTLS)[len(before):]
			for _, d := range answers {
				if setup == "passive" || !slices.ContainsFunc(before, func(b []byte) bool { return string(b) == string(d) }) {
					t.Errorf("the peer was answered: %x", d)
				}
			}
			if got := r.metric("keying/started_handshakes"); got != 2 {
				t.Errorf("%d handshakes were started, want those of the two sessions", got)
			}
			if status, _ := r.ask("GET", p.session); status >= 300 {
				t.Errorf("the session is gone: status %d", status)
			}
		})
	}
}

// hello returns the ClientHello of another handshake.
func hello(t *testing.T, certificate tls.Certificate) []byte {
	t.Helper()
	near, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer near.Close()
	far, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	defer far.Close()
	conn, err := dtls.ClientWithOptions(near, far.LocalAddr(), dtls.WithCertificates(certificate), dtls.WithInsecureSkipVerify(true))
	must(t, err)
	go conn.Handshake()
	b := make([]byte, 2048)
	n, err := far.Read(b)
	must(t, err)
	conn.Close()
	return b[:n]
}

func testCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	certificate, err := keying.NewCertificate()
	must(t, err)
	return certificate
}
