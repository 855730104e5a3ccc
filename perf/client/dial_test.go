package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"
)

// peerServer answers WHEP with a PeerConnection that plays one audio track as soon as it is connected.
type peerServer struct {
	t       *testing.T
	api     *webrtc.API
	edit    func(answer string) string
	deleted chan struct{}
}

func newPeerServer(t *testing.T, role webrtc.DTLSRole, lite bool) *peerServer {
	var settings webrtc.SettingEngine
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(net.IP.IsLoopback)
	settings.SetLite(lite)
	if err := settings.SetAnsweringDTLSRole(role); err != nil {
		t.Fatal(err)
	}
	return &peerServer{
		t: t, api: webrtc.NewAPI(webrtc.WithSettingEngine(settings)),
		edit: func(answer string) string { return answer }, deleted: make(chan struct{}, 1),
	}
}

func (s *peerServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		s.deleted <- struct{}{}
		return
	}
	answer, err := s.answer(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Location", "session")
	w.WriteHeader(http.StatusCreated)
	io.WriteString(w, s.edit(answer))
}

func (s *peerServer) answer(body io.Reader) (string, error) {
	offer, err := io.ReadAll(body)
	if err != nil {
		return "", err
	}
	pc, err := s.api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return "", err
	}
	s.t.Cleanup(func() { pc.Close() })
	if err := s.play(pc); err != nil {
		return "", err
	}
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}); err != nil {
		return "", err
	}
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return pc.LocalDescription().SDP, nil
}

func (s *peerServer) play(pc *webrtc.PeerConnection) error {
	capability := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	track, err := webrtc.NewTrackLocalStaticRTP(capability, "audio", "test")
	if err != nil {
		return err
	}
	if _, err := pc.AddTrack(track); err != nil {
		return err
	}
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			for i := range 10 {
				track.WriteRTP(&rtp.Packet{
					Header:  rtp.Header{Version: 2, SequenceNumber: uint16(i), Timestamp: uint32(i) * 960},
					Payload: fmt.Appendf(nil, "payload %d", i),
				})
			}
		}
	})
	return nil
}

func dialTest(t *testing.T, s *peerServer) (*Conn, error) {
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	return Dial(ctx, server.Client(), server.URL+"/whep/x", Offer{})
}

func TestDial(t *testing.T) {
	for _, c := range []struct {
		name string
		role webrtc.DTLSRole
		lite bool
	}{
		{"full agent that starts DTLS", webrtc.DTLSRoleClient, false},
		{"full agent that awaits DTLS", webrtc.DTLSRoleServer, false},
		{"lite agent that awaits DTLS", webrtc.DTLSRoleServer, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newPeerServer(t, c.role, c.lite)
			conn, err := dialTest(t, s)
			if err != nil {
				t.Fatal(err)
			}
			if conn.Answer.Active != (c.role == webrtc.DTLSRoleClient) || conn.Answer.Lite != c.lite {
				t.Errorf("answer is %+v", conn.Answer)
			}
			expectPayloads(t, conn, 10)
			if err := conn.Close(t.Context()); err != nil {
				t.Fatal(err)
			}
			<-s.deleted
		})
	}
}

// expectPayloads wants every packet from the first one on: none may get lost while the socket changes hands.
func expectPayloads(t *testing.T, c *Conn, n int) {
	t.Helper()
	var b Batch
	got := 0
	take := func(list []Datagram) {
		for _, d := range list {
			if IsSTUN(d.Data) {
				c.HandleSTUN(d.Data)
			}
			if d.Data[0] < 128 || IsRTCP(d.Data) {
				continue
			}
			var h rtp.Header
			plain, err := c.In.DecryptRTP(nil, d.Data, &h)
			if err != nil {
				t.Fatal(err)
			}
			if want := fmt.Sprintf("payload %d", got); !strings.HasSuffix(string(plain), want) || h.PayloadType != AudioPT {
				t.Fatalf("packet %d is %q, payload type %d", got, plain, h.PayloadType)
			}
			got++
		}
	}
	take(c.Early)
	await(t, "packets", func() bool {
		list, err := c.Recv(&b)
		if err != nil {
			t.Fatal(err)
		}
		take(list)
		return got >= n
	})
}

func TestDialRefusesAForeignCertificate(t *testing.T) {
	s := newPeerServer(t, webrtc.DTLSRoleServer, false)
	s.edit = func(answer string) string {
		before, sum, _ := strings.Cut(answer, "a=fingerprint:sha-256 ")
		return before + "a=fingerprint:sha-256 " + strings.Repeat("00:", 31) + "00" + sum[95:]
	}
	if _, err := dialTest(t, s); err == nil || !strings.Contains(err.Error(), "fingerprint") {
		t.Fatalf("error is %v, want one about the fingerprint", err)
	}
	<-s.deleted // a session that failed is not left behind at the server
}

func TestDialReportsARefusal(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "7")
		http.Error(w, "not yet", http.StatusConflict)
	}))
	defer server.Close()
	_, err := Dial(t.Context(), server.Client(), server.URL, Offer{})
	var refusal *StatusError
	if !errors.As(err, &refusal) || refusal.Code != http.StatusConflict || refusal.RetryAfter != "7" || !strings.Contains(err.Error(), "not yet") {
		t.Fatalf("error is %v", err)
	}
}

func TestDialGivesUpWithItsContext(t *testing.T) {
	// A server that answers, but whose candidate is a socket that nobody reads.
	fd, bound, err := open(localhost)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	deleted := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			deleted <- struct{}{}
			return
		}
		w.Header().Set("Location", "session")
		w.WriteHeader(http.StatusCreated)
		io.WriteString(w, strings.ReplaceAll(goodAnswer, "127.0.0.1 5000", fmt.Sprintf("127.0.0.1 %d", bound.Port())))
	}))
	defer server.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err := Dial(ctx, server.Client(), server.URL, Offer{}); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("error is %v, want deadline exceeded", err)
	}
	<-deleted
}
