package controlplane_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pion/webrtc/v4"

	"sluice/controlplane/registry"
)

// A publisher starts again while a viewer stays: the viewer sees one stream go
// on, with the next keyframe.
func TestPublisherRestart(t *testing.T) {
	r := start(t)
	first := r.publish("live", settings{}, opus, vp8)
	viewer := r.watch("live", settings{}, opus, vp8)
	first.video().run(5, viewer)
	first.audio().run(5, viewer)
	viewer.gets(videoKind, first.video().last())
	viewer.gets(audioKind, first.audio().last())
	before := map[bool]int{true: len(viewer.packets(videoKind)), false: len(viewer.packets(audioKind))}
	if status, _ := r.ask("DELETE", first.session); status != 200 {
		t.Fatalf("DELETE: status %d", status)
	}

	second := r.publish("live", settings{}, opus, vp8)
	second.video().send(false, 3) // nobody can begin with these
	select {
	case <-second.video().wanted:
	case <-time.After(patience):
		t.Fatal("the new publisher was not asked for a keyframe")
	}
	sent := len(second.video().sent)
	second.video().run(5, viewer)
	second.audio().run(5, viewer)
	viewer.gets(videoKind, second.video().last())
	viewer.gets(audioKind, second.audio().last())
	for _, feed := range []*feed{second.video(), second.audio()} {
		got, sent := viewer.packets(feed.media.kind), feed.sent[map[bool]int{true: sent}[feed == second.video()]:]
		n := before[feed == second.video()]
		if len(got)-n != len(sent) {
			t.Fatalf("%d packets of the new publisher's %d", len(got)-n, len(sent))
		}
		last, next := got[n-1], got[n]
		if next.SSRC != last.SSRC || next.PayloadType != last.PayloadType || next.SequenceNumber != last.SequenceNumber+1 {
			t.Errorf("after %v came %v", last.Header, next.Header)
		}
		if gap := next.Timestamp - last.Timestamp; gap == 0 || gap > uint32(patience.Seconds())*feed.media.codec.ClockRate {
			t.Errorf("the time went on by %d", int32(gap))
		}
		for i, p := range sent {
			if string(got[n+i].Payload) != string(p.Payload) {
				t.Fatalf("packet %d of the new publisher is not as it was sent", i)
			}
		}
	}
}

// A publisher who comes back with another codec ends the viewers, who can ask why.
func TestCodecChange(t *testing.T) {
	r := start(t)
	first := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8, h264)
	first.video().run(1, viewer)
	r.ask("DELETE", first.session)
	second := r.publish("live", settings{}, h264)
	r.ended(viewer.session, "another codec")
	r.wait(viewer.closed, "close_notify to the viewer")
	again := r.watch("live", settings{}, vp8, h264)
	second.video().run(1, again)
}

// A publisher that is silent for streams/takeover_ms makes way; one that sends
// does not.
func TestTakeover(t *testing.T) {
	r := start(t, "streams/takeover_ms=1")
	first := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	first.video().run(1, viewer)
	for begin := time.Now(); time.Since(begin) < 3*time.Second; { // some readings of the meters
		first.video().send(false, 10)
		if _, _, refused := r.post("/whip/live", recorded(t, "chromium-whip-vp8")); refused == nil || refused.status != 409 {
			t.Fatalf("a publisher that sends was taken over from: %+v", refused)
		}
	}
	var second *publisher
	r.eventually(func() string {
		p, refused := r.tryPublish("live", settings{}, vp8)
		if refused != nil {
			return refused.Detail
		}
		second = p
		return ""
	})
	r.ended(first.session, "silent")
	r.wait(first.closed, "close_notify to the silent publisher")
	second.video().run(1, viewer)
}

// While there is no address to announce, sessions are refused for now, and so are
// ICE restarts; the sessions that are there go on.
func TestNoAddressToAnnounce(t *testing.T) {
	r := start(t, "streams/takeover_ms=0")
	publish, watch := recorded(t, "chromium-whip-vp8"), recorded(t, "chromium-whep")
	_, session, refused := r.post("/whip/live", publish)
	if refused != nil {
		t.Fatalf("%+v", refused)
	}
	r.service.LoseAddresses(errors.New("the interfaces are secret0"))
	refuses := func(what string, refused *refusal) {
		t.Helper()
		if refused == nil || refused.status != http.StatusServiceUnavailable || refused.retryAfter == "" ||
			!strings.Contains(refused.Detail, "ice/announce") || strings.Contains(refused.Detail, "secret0") {
			t.Errorf("%s: %+v", what, refused)
		}
	}
	_, _, refused = r.post("/whip/other", publish)
	refuses("a publisher", refused)
	_, _, refused = r.post("/whip/live", publish)
	refuses("a publisher in place of one that is silent", refused)
	_, _, refused = r.post("/whep/live", watch)
	refuses("a viewer", refused)
	if n := r.metric("refused_sessions/address"); n != 3 {
		t.Errorf("%d refusals are counted", n)
	}
	if why := r.service.Ready(); len(why) != 1 || !strings.Contains(why[0], "ice/announce") {
		t.Errorf("not ready because of %q", why)
	}

	req, err := http.NewRequest("PATCH", session, strings.NewReader("a=ice-ufrag:other\r\na=ice-pwd:0123456789012345678901\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:0\r\n"))
	must(t, err)
	req.Header.Set("Content-Type", "application/trickle-ice-sdpfrag")
	req.Header.Set("If-Match", "*")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	defer resp.Body.Close()
	refused = &refusal{status: resp.StatusCode, retryAfter: resp.Header.Get("Retry-After")}
	must(t, json.NewDecoder(resp.Body).Decode(refused))
	refuses("an ICE restart", refused)
	if status, _ := r.ask("GET", session); status != http.StatusNoContent {
		t.Errorf("the session that was there: %d", status)
	}
	r.reaches("sessions", 1)
}

// A viewer may come before the publisher: refused, then served.
func TestViewerFirst(t *testing.T) {
	r := start(t)
	if _, refused := r.tryWatch("live", settings{}, vp8); refused == nil || refused.status != 409 || refused.retryAfter == "" {
		t.Fatalf("%+v", refused)
	}
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(1, viewer)
}

// DELETE tells the peer by close_notify and frees all that a session had.
func TestDeleteFreesEverything(t *testing.T) {
	r := start(t)
	before := census()
	set := settings{patient: true}
	publisher := r.publish("live", set, opus, vp8)
	viewers := []*viewer{r.watch("live", set, opus, vp8), r.watch("live", set, vp8)}
	publisher.video().run(1, viewers...)
	for metric, want := range map[string]int{
		"sessions": 3, "ingress_streams": 2, "egress_streams": 3, "keying/keyed_sessions": 3, "viewer_sessions": 2, "live_streams": 1,
		"keying/running_handshakes": 0, "created_sessions/publisher": 1, "created_sessions/viewer": 2, "keying/ended_handshakes/keyed": 3,
	} {
		r.reaches(metric, want)
	}
	for _, p := range []*peer{viewers[0].peer, publisher.peer, viewers[1].peer} {
		if status, _ := r.ask("DELETE", p.session); status != 200 {
			t.Errorf("DELETE: status %d", status)
		}
		r.wait(p.closed, "close_notify")
		if status, detail := r.ask("DELETE", p.session); status != 404 || !strings.Contains(detail, "deleted") {
			t.Errorf("DELETE again: %d %s", status, detail)
		}
	}
	for _, metric := range []string{
		"sessions", "ingress_streams", "egress_streams", "keying/keyed_sessions", "keying/kept_bytes",
		"keying/queued_sessions", "viewer_sessions", "live_streams",
	} {
		r.reaches(metric, 0)
	}
	for _, p := range []*peer{publisher.peer, viewers[0].peer, viewers[1].peer} {
		p.pc.GracefulClose()
	}
	r.eventually(before.left)
}

// A peer whose certificate is not the one that it announced gets no session,
// and can ask why (RFC 8122 section 5).
func TestWrongFingerprint(t *testing.T) {
	r := start(t)
	pc, err := api(t, settings{}, []media{vp8}).NewPeerConnection(webrtc.Configuration{})
	must(t, err)
	t.Cleanup(func() { pc.GracefulClose() })
	_, err = pc.AddTransceiverFromKind(videoKind, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	must(t, err)
	p := &peer{rig: r, pc: pc}
	offer := p.offer()
	at := strings.Index(offer, "a=fingerprint:sha-256 ") + len("a=fingerprint:sha-256 ")
	for i := range 2 { // each digit becomes another
		digit := "1"
		if offer[at+i] == '1' {
			digit = "2"
		}
		offer = offer[:at+i] + digit + offer[at+i+1:]
	}
	answer, session, refused := r.post("/whip/live", offer)
	if refused != nil {
		t.Fatalf("%+v", refused)
	}
	must(t, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}))
	r.ended(session, "DTLS: handshake error: the peer's certificate is not the one")
	r.reaches("sessions", 0)
	r.reaches("keying/ended_handshakes/failed", 1)
}

// Shutting down tells everyone.
func TestCloseTellsPeers(t *testing.T) {
	r := start(t)
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(1, viewer)
	r.service.Close()
	r.wait(publisher.closed, "close_notify to the publisher")
	r.wait(viewer.closed, "close_notify to the viewer")
	if _, refused := r.tryPublish("live", settings{}, vp8); refused == nil || refused.status != 503 {
		t.Errorf("after the end: %+v", refused)
	}
}

// Any number of POSTs without a check behind them (attack table, row 29): caps
// for the source and for all, and after the setup timeout nothing is left.
func TestPostsWithoutICE(t *testing.T) {
	const pending, all = 40, 60
	r := start(t, "dataplane/setup_timeout_ms=1000", fmt.Sprint("limits/pending_sessions=", pending), fmt.Sprint("limits/sessions=", all))
	offer := recorded(t, "chromium-whip-vp8")
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(1, viewer) // all that the two peers run is running
	var heap [3]uint64
	for round := range heap {
		before := census()
		var sessions []string
		for i := range 4 * pending {
			_, session, refused := r.post(fmt.Sprintf("/whip/s%d", i), offer)
			switch {
			case refused == nil:
				sessions = append(sessions, session)
			case refused.status != 429 || refused.retryAfter == "" || !strings.Contains(refused.Detail, "limits/pending_sessions"):
				t.Fatalf("POST %d: %+v", i, refused)
			}
		}
		if len(sessions) < pending { // some may have been over before the last were posted
			t.Fatalf("%d of the %d sessions allowed were made", len(sessions), pending)
		}
		r.reaches("sessions", 2)
		r.reaches("live_streams", 1)
		r.ended(sessions[0], "no authenticated connectivity check")
		r.ended(sessions[len(sessions)-1], "no authenticated connectivity check")
		r.eventually(before.left)
		publisher.video().run(1, viewer) // others noticed nothing
		heap[round] = heapInUse()
	}
	if grown := int64(heap[2]) - int64(heap[1]); grown > 2<<20 {
		t.Errorf("the heap grew by %d bytes from one round to the next: %v", grown, heap)
	}
	// Sources without end reach the limit of all sessions.
	made := 0
	for i := range all + 10 {
		source := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		_, err := r.service.Publish(fmt.Sprint("t", i), source, []byte(offer))
		switch {
		case err == nil:
			made++
		case err != registry.ErrFull:
			t.Fatal(err)
		}
	}
	if made != all-2 {
		t.Errorf("%d sessions beside the first two, the limit is %d", made, all)
	}
	r.reaches("sessions", 2)
	r.reaches("refused_sessions/sessions", 12)
}

// Who has keys is not pending any more, which the service notes a moment after
// the peer knows.
func TestPendingEndsWithKeys(t *testing.T) {
	r := start(t, "limits/pending_sessions=1")
	publisher := r.publish("live", settings{}, vp8)
	var viewers []*viewer
	for range 2 {
		r.eventually(func() string {
			v, refused := r.tryWatch("live", settings{}, vp8)
			if refused != nil {
				return refused.Detail
			}
			viewers = append(viewers, v)
			return ""
		})
	}
	publisher.video().run(1, viewers...)
	offer := recorded(t, "chromium-whep")
	r.eventually(func() string {
		if _, _, refused := r.post("/whep/live", offer); refused != nil {
			return refused.Detail
		}
		return ""
	})
	if _, _, refused := r.post("/whep/live", offer); refused == nil || refused.status != 429 {
		t.Errorf("another, while that one is pending: %+v", refused)
	}
}

func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse
}

func recorded(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile("sdp/testdata/" + name + ".sdp")
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}
