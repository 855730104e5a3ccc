package sdp

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

var counterTracks = map[string][]Track{
	"Opus and VP8":            avTracks,
	"VP8 alone":               {vp8Track},
	"Opus alone":              {opusTrack},
	"H264 first":              {{msg.Video, h264("level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f")}, opusTrack},
	"H264 Baseline in mode 0": {{msg.Video, h264("profile-level-id=42e01f")}},
	"PCMA and VP9":            {{msg.Audio, Format{codec.PCMA, 8000, 1, ""}}, {msg.Video, Format{codec.VP9, 90000, 0, "profile-id=0"}}},
	"G722 and H265":           {{msg.Audio, Format{codec.G722, 8000, 1, ""}}, {msg.Video, Format{codec.H265, 90000, 0, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST"}}},
	"PCMU and AV1":            {{msg.Audio, Format{codec.PCMU, 8000, 1, ""}}, {msg.Video, Format{codec.AV1, 90000, 0, "level-idx=5;profile=0;tier=0"}}},
}

func counterOffer(t *testing.T, tracks []Track) *Selection {
	t.Helper()
	s, err := CounterOffer(tracks)
	if err != nil {
		t.Fatal(err)
	}
	return own(s)
}

// A counter-offer offers all of a stream in its own format, and lets the peer
// choose the DTLS role.
func TestCounterOffer(t *testing.T) {
	for name, tracks := range counterTracks {
		s := counterOffer(t, tracks)
		offer := s.Offer(testLocal(), "the stream's video is AV1, but the offer can decode only H264")
		checkAnswer(t, offer)
		text := string(offer)
		for _, line := range []string{
			"i=the stream's video is AV1, but the offer can decode only H264\r\nt=0 0\r\n", "a=ice-lite\r\n", "a=setup:actpass\r\n", "a=sendonly\r\n",
			"a=rtcp-mux\r\n", "a=rtcp-mux-only\r\n", "a=ssrc:", "a=msid:", "a=candidate:1 1 udp ", "a=extmap:1 " + wire.ExtMID.URI() + "\r\n",
		} {
			if !strings.Contains(text, line) {
				t.Errorf("%s: no %q in\n%s", name, line, text)
			}
		}
		for i, track := range tracks {
			if m := s.Media[i]; !m.Accepted || m.Format.String() != track.Format.String() || m.MID != fmt.Sprint(i) || (track.Kind == msg.Video) != (m.RTXPT != 0) {
				t.Errorf("%s: m-section %d is %+v", name, i, m)
			}
		}
		if strings.Contains(text, "setup:passive") || strings.Contains(text, "recvonly") {
			t.Errorf("%s: not an offer of ours:\n%s", name, text)
		}
	}
	if _, err := CounterOffer(nil); err == nil {
		t.Error("an offer of a stream without tracks")
	}
}

// pion answers counter-offers, and what it takes of them is what it gets.
func TestCounterOfferAgainstPion(t *testing.T) {
	for name, tracks := range counterTracks {
		s := counterOffer(t, tracks)
		pc, err := webrtc.NewPeerConnection(webrtc.Configuration{})
		if err != nil {
			t.Fatal(err)
		}
		defer pc.Close()
		if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(s.Offer(testLocal(), "why"))}); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		answer, err := pc.CreateAnswer(nil)
		if err != nil {
			t.Fatal(err)
		}
		a, err := s.Answered([]byte(answer.SDP))
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, answer.SDP)
			continue
		}
		for i, m := range a.Media {
			want := s.Media[i]
			if !m.Accepted || m.PT != want.PT || m.SSRC != want.SSRC || m.CNAME != want.CNAME || m.MSID != want.MSID || m.RTXPT != 0 && m.RTXSSRC != want.RTXSSRC {
				t.Errorf("%s: %+v answers %+v", name, m, want)
			}
		}
		if len(a.Fingerprints) == 0 || a.Ufrag == "" || a.Pwd == "" {
			t.Errorf("%s: the answer was not read whole", name)
		}
	}
}

// goodAnswer answers the counter-offer of Opus and VP8, to be spoiled.
var goodAnswer = strings.NewReplacer("a=setup:actpass", "a=setup:active", "a=sendonly", "a=recvonly").Replace(good)

func TestAnswered(t *testing.T) {
	s := counterOffer(t, avTracks)
	for _, c := range []struct {
		from, to string
		want     string // an error's text, or "" for none
		accepted [2]bool
		active   bool
	}{
		{"", "", "", [2]bool{true, true}, false},
		{"a=setup:active", "a=setup:passive", "", [2]bool{true, true}, true},
		{"a=setup:active", "a=setup:actpass", "line 8: a=setup: an answer says active or passive (RFC 8842 section 5.3)", [2]bool{}, false},
		{"m=video 9", "m=video 0", "", [2]bool{true, false}, false},
		{"a=mid:1\na=recvonly", "a=mid:1\na=inactive", "", [2]bool{true, false}, false},
		{"a=mid:1", "a=mid:2", `line 5: a=group: names the mid "1", which no m-section has`, [2]bool{}, false},
		{"a=group:BUNDLE 0 1", "a=group:BUNDLE 1 0", "", [2]bool{true, true}, false},
		{"a=rtpmap:96 VP8/90000", "a=rtpmap:96 H264/90000", "m=: the answer takes nothing of what was offered", [2]bool{}, false},
		{goodAnswer[strings.Index(goodAnswer, "m=video"):], "", `line 5: a=group: names the mid "1", which no m-section has`, [2]bool{}, false},
	} {
		if !strings.Contains(goodAnswer, c.from) {
			t.Fatalf("%q is not in the answer", c.from)
		}
		a, err := s.Answered([]byte(strings.Replace(goodAnswer, c.from, c.to, 1)))
		if c.want != "" {
			if err == nil || err.Error() != c.want {
				t.Errorf("%q for %q: %v, want %s", c.to, c.from, err, c.want)
			}
			continue
		}
		if err != nil {
			t.Errorf("%q for %q: %v", c.to, c.from, err)
			continue
		}
		if a.Active != c.active || a.Media[0].Accepted != c.accepted[0] || a.Media[1].Accepted != c.accepted[1] {
			t.Errorf("%q for %q: %+v", c.to, c.from, a)
		}
	}
	swapped := strings.NewReplacer("a=mid:0", "a=mid:1", "a=mid:1", "a=mid:0").Replace(goodAnswer)
	if _, err := s.Answered([]byte(swapped)); err == nil || !strings.Contains(err.Error(), `does not answer m=audio with the mid "0"`) {
		t.Errorf("the two swapped: %v", err)
	}
	if _, err := counterOffer(t, []Track{opusTrack}).Answered([]byte(goodAnswer)); err == nil || err.Error() != "m=: 2 m-sections answer 1" {
		t.Errorf("one more than was offered: %v", err)
	}
}

// Hostile answers never panic.
func FuzzAnswered(f *testing.F) {
	f.Add([]byte(goodAnswer))
	f.Add([]byte(good))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := CounterOffer(avTracks)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := own(s).Answered(body); err != nil {
			checkError(t, err)
		}
	})
}
