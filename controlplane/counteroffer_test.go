package controlplane_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// A viewer that offered the wrong codec answers the counter-offer, with the right
// one, and gets all that is sent, over the SSRCs that were announced.
func TestCounterOfferPlays(t *testing.T) {
	r := start(t)
	publisher := r.publish("live", settings{}, opus, vp8)
	wrong, err := api(t, settings{}, []media{opus, h264}).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	t.Cleanup(func() { wrong.GracefulClose() })
	for _, kind := range []webrtc.RTPCodecType{audioKind, videoKind} {
		_, err := wrong.AddTransceiverFromKind(kind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly})
		must(t, err)
	}
	resp, err := http.Post(r.url+"/whep/live", "application/sdp", strings.NewReader((&peer{rig: r, pc: wrong}).offer()))
	must(t, err)
	defer resp.Body.Close()
	offer, err := io.ReadAll(resp.Body)
	must(t, err)
	if resp.StatusCode != http.StatusNotAcceptable {
		t.Fatalf("status %d, want 406: %s", resp.StatusCode, offer)
	}

	pc, err := api(t, settings{}, []media{opus, vp8}).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	v := &viewer{
		peer: &peer{rig: r, pc: pc, session: r.url + resp.Header.Get("Location")}, got: map[webrtc.RTPCodecType][]*rtp.Packet{},
		reports: map[webrtc.RTPCodecType][]*rtcp.SenderReport{}, tracks: map[webrtc.RTPCodecType]*webrtc.TrackRemote{},
	}
	pc.OnTrack(v.receive)
	t.Cleanup(func() { pc.GracefulClose() })
	must(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: string(offer)}))
	answer, err := pc.CreateAnswer(nil)
	must(t, err)
	gathered := webrtc.GatheringCompletePromise(pc)
	must(t, pc.SetLocalDescription(answer))
	<-gathered
	req, err := http.NewRequest("PATCH", v.session, strings.NewReader(pc.LocalDescription().SDP))
	must(t, err)
	req.Header.Set("Content-Type", "application/sdp")
	resp, err = http.DefaultClient.Do(req)
	must(t, err)
	if resp.Body.Close(); resp.StatusCode != http.StatusNoContent {
		t.Fatalf("PATCH: status %d", resp.StatusCode)
	}
	publisher.video().run(20, v)
	publisher.audio().run(20, v)
	v.same(videoKind, publisher.video().sent)
	v.same(audioKind, publisher.audio().sent)
	for _, track := range v.tracks {
		if !strings.Contains(string(offer), fmt.Sprintf("a=ssrc:%d ", track.SSRC())) {
			t.Errorf("SSRC %d was not announced", track.SSRC())
		}
	}
	r.reaches("refused_sessions/mismatch", 1)
	r.reaches("created_sessions/viewer", 1)
}

// One that is not answered in time ends, and what it held is free.
func TestCounterOfferExpires(t *testing.T) {
	r := start(t, "limits/pending_sessions=1")
	publisher := r.publish("live", settings{}, vp8)
	var session string
	offer := strings.ReplaceAll(recorded(t, "aiortc-whep"), "VP8/90000", "VP7/90000")
	r.eventually(func() string { // until the publisher is not pending any more
		resp, err := http.Post(r.url+"/whep/live", "application/sdp", strings.NewReader(offer))
		must(t, err)
		resp.Body.Close()
		session = r.url + resp.Header.Get("Location")
		if resp.StatusCode != http.StatusNotAcceptable {
			return fmt.Sprintf("status %d, want 406", resp.StatusCode)
		}
		return ""
	})
	r.service.ExpireOffers(time.Now().Add(29 * time.Second))
	if status, _ := r.ask("GET", session); status != http.StatusNoContent {
		t.Errorf("after 29 s: status %d", status)
	}
	r.service.ExpireOffers(time.Now().Add(31 * time.Second))
	r.ended(session, "not answered in time")
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(1, viewer)
}
