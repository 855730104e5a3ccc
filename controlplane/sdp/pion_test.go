package sdp

import (
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// peerConnection makes a PeerConnection that knows Opus and one video format.
func peerConnection(t *testing.T, video Format) *webrtc.PeerConnection {
	t.Helper()
	m := new(webrtc.MediaEngine)
	feedback := []webrtc.RTCPFeedback{{Type: "nack"}, {Type: "nack", Parameter: "pli"}, {Type: "ccm", Parameter: "fir"}}
	for _, c := range []struct {
		mime, fmtp string
		rate       uint32
		channels   uint16
		pt         webrtc.PayloadType
		feedback   []webrtc.RTCPFeedback
		kind       webrtc.RTPCodecType
	}{
		{webrtc.MimeTypeOpus, "minptime=10;useinbandfec=1", 48000, 2, 111, nil, webrtc.RTPCodecTypeAudio},
		{"video/" + video.Name(), video.Fmtp, 90000, 0, 100, feedback, webrtc.RTPCodecTypeVideo},
		{webrtc.MimeTypeRTX, "apt=100", 90000, 0, 101, nil, webrtc.RTPCodecTypeVideo},
	} {
		err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: c.pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: c.mime, ClockRate: c.rate, Channels: c.channels, SDPFmtpLine: c.fmtp, RTCPFeedback: c.feedback}}, c.kind)
		if err != nil {
			t.Fatal(err)
		}
	}
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: wire.ExtMID.URI()}, kind); err != nil {
			t.Fatal(err)
		}
	}
	pc, err := webrtc.NewAPI(webrtc.WithMediaEngine(m)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// offer makes the PeerConnection's offer.
func offer(t *testing.T, pc *webrtc.PeerConnection) string {
	t.Helper()
	d, err := pc.CreateOffer(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := pc.SetLocalDescription(d); err != nil {
		t.Fatal(err)
	}
	return d.SDP
}

// take gives a PeerConnection our answer.
func take(t *testing.T, pc *webrtc.PeerConnection, s *Selection) {
	t.Helper()
	answer := s.Answer(testLocal())
	checkAnswer(t, answer)
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: string(answer)}); err != nil {
		t.Fatalf("%v for\n%s", err, answer)
	}
}

var videoFormats = []Format{
	vp8,
	{Codec: codec.VP9, ClockRate: 90000, Fmtp: "profile-id=2"},
	h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f"),
	{Codec: codec.H265, ClockRate: 90000},
	{Codec: codec.AV1, ClockRate: 90000, Fmtp: "profile=0"},
}

func TestPeerConnectionPublishes(t *testing.T) {
	for _, video := range videoFormats {
		t.Run(video.Name(), func(t *testing.T) {
			pc := peerConnection(t, video)
			for mime, id := range map[string]string{webrtc.MimeTypeOpus: "a", "video/" + video.Name(): "v"} {
				track, err := webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: mime, SDPFmtpLine: video.Fmtp}, id, "live")
				if err != nil {
					t.Fatal(err)
				}
				if _, err := pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly}); err != nil {
					t.Fatal(err)
				}
			}
			s := mustPublish(t, offer(t, pc))
			take(t, pc, s)
			for i, tr := range pc.GetTransceivers() {
				m, p := s.Media[i], tr.Sender().GetParameters()
				encoding := p.Encodings[0]
				if !m.Accepted || uint32(encoding.SSRC) != m.SSRC || uint32(encoding.RTX.SSRC) != m.RTXSSRC || uint8(p.Codecs[0].PayloadType) != m.PT {
					t.Errorf("%+v\nis read of %+v", m, p)
				}
				if m.ExtIDs[wire.ExtMID] == 0 || !strings.EqualFold(p.Codecs[0].MimeType, m.Kind.String()+"/"+m.Format.Name()) {
					t.Errorf("%+v\nis read of %+v", m, p)
				}
				if m.Kind == msg.Video && (m.Format != video || m.RTXPT != 101 || !m.Feedback.NACK || !m.Feedback.PLI || !m.Feedback.FIR) {
					t.Errorf("%+v for %v", m, video)
				}
				if d := tr.Direction(); d != webrtc.RTPTransceiverDirectionSendonly {
					t.Errorf("%v: %v", m.Kind, d)
				}
			}
		})
	}
}

func TestPeerConnectionSubscribes(t *testing.T) {
	for _, video := range videoFormats {
		for name, tracks := range map[string][]Track{
			"both": {opusTrack, {msg.Video, video}}, "video": {{msg.Video, video}}, "audio": {opusTrack},
		} {
			t.Run(video.Name()+"/"+name, func(t *testing.T) {
				pc := peerConnection(t, video)
				for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeAudio, webrtc.RTPCodecTypeVideo} {
					if _, err := pc.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
						t.Fatal(err)
					}
				}
				s := mustSubscribe(t, offer(t, pc), tracks...)
				take(t, pc, s)
				// Of a copy: pion reads its own at the same time.
				remote := webrtc.SessionDescription{SDP: pc.RemoteDescription().SDP}
				d, err := remote.Unmarshal()
				if err != nil {
					t.Fatal(err)
				}
				for i, m := range s.Media {
					kind := [...]msg.Kind{msg.Audio, msg.Video}[i]
					if m.Accepted != (find(tracks, kind) != nil) {
						t.Errorf("%v: accepted is %v", kind, m.Accepted)
					}
					if mid := pc.GetTransceivers()[i].Mid(); mid != m.MID || d.MediaDescriptions[i].MediaName.Port.Value != 9 {
						t.Errorf("%v: mid %q and %q, port %v", kind, mid, m.MID, d.MediaDescriptions[i].MediaName.Port)
					}
				}
			})
		}
	}
}

// A PeerConnection's data channel is rejected and its media goes on.
func TestPeerConnectionWithDataChannel(t *testing.T) {
	pc := peerConnection(t, vp8)
	if _, err := pc.CreateDataChannel("chat", nil); err != nil {
		t.Fatal(err)
	}
	if _, err := pc.AddTransceiverFromKind(webrtc.RTPCodecTypeVideo, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}); err != nil {
		t.Fatal(err)
	}
	s := mustSubscribe(t, offer(t, pc), vp8Track)
	take(t, pc, s)
	accepted := 0
	for _, m := range s.Media {
		if m.Accepted {
			accepted++
		}
	}
	if len(s.Media) != 2 || accepted != 1 {
		t.Errorf("%+v", s.Media)
	}
}
