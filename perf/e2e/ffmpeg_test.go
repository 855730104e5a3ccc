package e2e

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/srtp/v3"
	"github.com/pion/stun/v4"

	"sluice/dataplane/wire"
)

// What FFmpeg's WHIP muxer says of itself in its offer.
const (
	muxerUfrag, muxerPwd       = "d34db33f", "0123456789abcdef0123456789abcdef"
	muxerAudioPT, muxerVideoPT = 111, 106
	muxerAudioSSRC             = 1111
	muxerVideoSSRC             = 2222
)

// muxer is a replica of FFmpeg 8's WHIP muxer (libavformat/whip.c), which Debian
// 12 has not got: FFmpeg itself encodes and makes the RTP packets, as it does
// there; the offer, the check, DTLS as the server and SRTP are the replica's. It
// answers no NACK and makes no keyframe when asked.
type muxer struct {
	ns         *netns
	socket     *net.UDPConn
	encoder    *net.UDPConn // where FFmpeg sends its packets
	http       *http.Client
	session    string // URL
	ufrag, pwd string // the server's
	server     *net.UDPAddr
	srtp       *srtp.Context
}

// ffmpeg publishes H264 and Opus by the replica from a namespace until the test ends.
func (l *lab) ffmpeg(t *testing.T, ns *netns, host string, spec peerSpec) *peer {
	t.Helper()
	m := &muxer{ns: ns, http: &http.Client{Transport: &http.Transport{DialContext: ns.dial}}}
	must := func(err error) {
		if err != nil {
			t.Helper()
			t.Fatalf("FFmpeg's replica: %v", err)
		}
	}
	var err error
	m.socket, err = ns.udp(host)
	must(err)
	t.Cleanup(func() { m.socket.Close() })
	m.encoder, err = ns.udp("127.0.0.1")
	must(err)
	t.Cleanup(func() { m.encoder.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	must(m.connect(ctx, spec.url))
	t.Cleanup(func() {
		if err := m.leave(); err != nil {
			t.Error(err)
		}
	})
	proc, err := ns.start(filepath.Join(t.TempDir(), "ffmpeg.log"), nil, encode(m.encoder.LocalAddr().(*net.UDPAddr).Port)...)
	must(err)
	t.Cleanup(func() { proc.stop(patience) })
	go m.forward()
	return &peer{id: t.Name() + "/ffmpeg", b: &browser{name: "ffmpeg", ns: ns, proc: proc, director: l.director}}
}

// udp opens a socket in the namespace.
func (ns *netns) udp(host string) (c *net.UDPConn, err error) {
	err = ns.do(func() error {
		c, err = net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(host)})
		return err
	})
	return c, err
}

// encode is FFmpeg as docs/interop.md has it publish, but for the muxer.
func encode(port int) []string {
	to := fmt.Sprintf("rtp://127.0.0.1:%d?rtcpport=%d&pkt_size=1200", port, port)
	return append(strings.Fields("ffmpeg -nostdin -loglevel error -re -f lavfi -i testsrc=size=320x240:rate=12 -re -f lavfi -i sine -map 0 "+
		"-c:v libx264 -profile:v baseline -tune zerolatency -bf 0 -g 12 -b:v 400k -pix_fmt yuv420p -f rtp"),
		"-payload_type", fmt.Sprint(muxerVideoPT), "-ssrc", fmt.Sprint(muxerVideoSSRC), to,
		"-map", "1", "-c:a", "libopus", "-ar", "48000", "-ac", "2", "-f", "rtp",
		"-payload_type", fmt.Sprint(muxerAudioPT), "-ssrc", fmt.Sprint(muxerAudioSSRC), to)
}

func (m *muxer) connect(ctx context.Context, url string) error {
	certificate, err := selfsign.GenerateSelfSigned()
	if err != nil {
		return err
	}
	if err := m.post(ctx, url, muxerOffer(sha256.Sum256(certificate.Certificate[0]))); err != nil {
		return err
	}
	if err := m.check(ctx); err != nil {
		return err
	}
	end, err := dtls.ServerWithOptions(m.socket, m.server, dtls.WithCertificates(certificate), dtls.WithClientAuth(dtls.RequireAnyClientCert),
		dtls.WithInsecureSkipVerify(true), dtls.WithInsecureSkipVerifyHello(true), dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80))
	if err != nil {
		return err
	}
	if err := end.HandshakeContext(ctx); err != nil {
		return err
	}
	state, _ := end.ConnectionState()
	cfg := srtp.Config{Profile: srtp.ProtectionProfileAes128CmHmacSha1_80}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, false); err != nil {
		return err
	}
	m.srtp, err = srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile)
	return err
}

// muxerOffer is an offer in the shape of the muxer's.
func muxerOffer(fingerprint [32]byte) string {
	var b strings.Builder
	b.WriteString("v=0\no=FFmpeg 4489045141692799359 2 IN IP4 127.0.0.1\ns=FFmpegPublishSession\nt=0 0\n" +
		"a=group:BUNDLE 0 1\na=extmap-allow-mixed\na=msid-semantic: WMS\n")
	section := func(media, mid string, pt, ssrc int, formats string) {
		fmt.Fprintf(&b, "m=%s 9 UDP/TLS/RTP/SAVPF %d\nc=IN IP4 0.0.0.0\na=ice-ufrag:%s\na=ice-pwd:%s\na=fingerprint:sha-256 %s\n"+
			"a=setup:passive\na=mid:%s\na=sendonly\na=msid:FFmpeg %s\na=rtcp-mux\n%sa=ssrc:%d cname:FFmpeg\na=ssrc:%d msid:FFmpeg %s\n",
			media, pt, muxerUfrag, muxerPwd, strings.ReplaceAll(fmt.Sprintf("% X", fingerprint), " ", ":"), mid, media, formats, ssrc, ssrc, media)
	}
	section("audio", "0", muxerAudioPT, muxerAudioSSRC, "a=rtpmap:111 opus/48000/2\n")
	section("video", "1", muxerVideoPT, muxerVideoSSRC, "a=rtcp-rsize\na=rtpmap:106 H264/90000\n"+
		"a=fmtp:106 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\n")
	return strings.ReplaceAll(b.String(), "\n", "\r\n")
}

// post sends the offer, and takes the first candidate of the answer.
func (m *muxer) post(ctx context.Context, url, offer string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(offer))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/sdp")
	response, err := m.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusCreated {
		return fmt.Errorf("POST: %s: %s", response.Status, answer)
	}
	location, err := response.Location()
	if err != nil {
		return err
	}
	m.session = location.String()
	for line := range strings.SplitSeq(string(answer), "\r\n") {
		name, value, _ := strings.Cut(line, ":")
		switch {
		case name == "a=ice-ufrag":
			m.ufrag = value
		case name == "a=ice-pwd":
			m.pwd = value
		case name == "a=candidate" && m.server == nil:
			fields := strings.Fields(value)
			addr, err := netip.ParseAddrPort(net.JoinHostPort(fields[4], fields[5]))
			if err != nil {
				return err
			}
			m.server = net.UDPAddrFromAddrPort(addr)
		}
	}
	return nil
}

// check sends connectivity checks, without PRIORITY or a role, until one is answered.
func (m *muxer) check(ctx context.Context) error {
	request, err := stun.Build(stun.BindingRequest, stun.TransactionID, stun.NewUsername(m.ufrag+":"+muxerUfrag),
		stun.RawAttribute{Type: stun.AttrUseCandidate}, stun.NewShortTermIntegrity(m.pwd), stun.Fingerprint)
	if err != nil {
		return err
	}
	b := make([]byte, 2048)
	for ; ctx.Err() == nil; err = ctx.Err() {
		if _, err := m.socket.WriteTo(request.Raw, m.server); err != nil {
			return err
		}
		m.socket.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, _, err := m.socket.ReadFrom(b); err == nil && stun.IsMessage(b[:n]) {
			return m.socket.SetReadDeadline(time.Time{})
		}
	}
	return err
}

// forward protects and sends what FFmpeg sends, until its socket is closed.
func (m *muxer) forward() {
	b := make([]byte, 2048)
	for {
		n, _, err := m.encoder.ReadFromUDP(b)
		if err != nil {
			return
		}
		var packet []byte
		if wire.Classify(b[:n]) == wire.ProtoRTCP {
			packet, err = m.srtp.EncryptRTCP(nil, b[:n], nil)
		} else {
			packet, err = m.srtp.EncryptRTP(nil, b[:n], nil)
		}
		if err == nil {
			m.socket.WriteTo(packet, m.server)
		}
	}
}

// leave ends the session.
func (m *muxer) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, m.session, nil)
	if err != nil {
		return err
	}
	response, err := m.http.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("DELETE: %s", response.Status)
	}
	return nil
}
