package sdp

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

var update = flag.Bool("update", false, "write the golden answers")

var (
	opus = Format{Codec: codec.Opus, ClockRate: 48000, Channels: 2}
	vp8  = Format{Codec: codec.VP8, ClockRate: 90000}

	opusTrack = Track{msg.Audio, opus}
	vp8Track  = Track{msg.Video, vp8}
	avTracks  = []Track{opusTrack, vp8Track}
)

func h264(fmtp string) Format { return Format{Codec: codec.H264, ClockRate: 90000, Fmtp: fmtp} }

func testLocal() Local {
	return Local{
		Ufrag:       "oUrF",
		Pwd:         "aVeryGoodPasswordOfOurs",
		Fingerprint: strings.TrimSuffix(strings.Repeat("A5:", 32), ":"),
		Candidates: HostCandidates([]netip.AddrPort{
			netip.MustParseAddrPort("[2001:db8::1]:8189"),
			netip.MustParseAddrPort("192.0.2.1:8189"),
		}, true),
		SessionID: 1 << 40,
	}
}

// own sets what the caller sets for a viewer.
func own(s *Selection) *Selection {
	for i := range s.Media {
		m := &s.Media[i]
		m.CNAME, m.MSID, m.SSRC = "sluice", "live", uint32(1000+2*i)
		if m.RTXPT != 0 {
			m.RTXSSRC = m.SSRC + 1
		}
	}
	return s
}

func mustParse(t testing.TB, body string) *Offer {
	t.Helper()
	o, err := Parse([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func recorded(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", name+".sdp"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func mustPublish(t testing.TB, body string) *Selection {
	t.Helper()
	s, err := mustParse(t, body).Publish()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func mustSubscribe(t testing.TB, body string, tracks ...Track) *Selection {
	t.Helper()
	s, err := mustParse(t, body).Subscribe(tracks)
	if err != nil {
		t.Fatal(err)
	}
	return own(s)
}

// Every recorded offer, of every client, gets the answer that was read and found
// right once.
func TestRecordedOffers(t *testing.T) {
	files, err := filepath.Glob("testdata/*.sdp")
	if err != nil || len(files) < 21 {
		t.Fatalf("%d offers, %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sdp")
		t.Run(name, func(t *testing.T) {
			var s *Selection
			if strings.Contains(name, "-whep") {
				s = mustSubscribe(t, recorded(t, name), avTracks...)
			} else {
				s = mustPublish(t, recorded(t, name))
			}
			for _, m := range s.Media {
				if !m.Accepted {
					t.Errorf("m-section %q is not accepted", m.MID)
				}
			}
			answer := s.Answer(testLocal())
			checkAnswer(t, answer)
			golden := strings.TrimSuffix(file, ".sdp") + ".answer"
			if *update {
				if err := os.WriteFile(golden, answer, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if !bytes.Equal(answer, want) {
				t.Errorf("the answer changed; run go test -update and read the difference\n%s", answer)
			}
		})
	}
}

// checkAnswer holds an answer to what every answer owes: its size and lines
// (FFmpeg reads 8192 bytes), and that it reads as SDP.
func checkAnswer(t testing.TB, answer []byte) {
	t.Helper()
	if len(answer) >= 8192 || !bytes.HasPrefix(answer, []byte("v=0\r\n")) {
		t.Fatalf("%d bytes that begin %.10q", len(answer), answer)
	}
	if n := bytes.Count(answer, []byte("\r\n")); n != bytes.Count(answer, []byte("\n")) || n != bytes.Count(answer, []byte("\r")) {
		t.Fatalf("not all lines end in CRLF:\n%q", answer)
	}
	lines, err := split(answer, "offer", maxBody)
	if err != nil {
		t.Fatalf("%v in\n%s", err, answer)
	}
	d, err := describe(lines)
	if err != nil {
		t.Fatalf("%v in\n%s", err, answer)
	}
	if _, err := arrange(d, lines); err != nil {
		t.Fatalf("%v in\n%s", err, answer)
	}
}

func TestPublishReadsStreams(t *testing.T) {
	s := mustPublish(t, recorded(t, "firefox-whip-vp8"))
	audio, video := s.Media[0], s.Media[1]

	if audio.Kind != msg.Audio || audio.MID != "0" || audio.PT != 109 || audio.RTXPT != 0 || audio.SSRC != 1889455074 {
		t.Errorf("audio: %+v", audio)
	}
	if audio.Format != (Format{codec.Opus, 48000, 2, "useinbandfec=1;stereo=1;maxplaybackrate=48000"}) {
		t.Errorf("audio format: %+v", audio.Format)
	}
	if video.PT != 120 || video.RTXPT != 124 || video.SSRC != 3665171383 || video.RTXSSRC != 184495264 {
		t.Errorf("video: %+v", video)
	}
	if video.Feedback != (msg.Feedback{NACK: true, PLI: true, FIR: true, TransportCC: true, ReducedSize: true}) {
		t.Errorf("video feedback: %+v", video.Feedback)
	}
	// playout-delay is offered recvonly, abs-send-time beside transport-cc.
	want := wire.ExtIDs{wire.ExtMID: 3, wire.ExtTransportCC: 7, wire.ExtOffset: 5}
	if video.ExtIDs != want {
		t.Errorf("video extensions: %v, want %v", video.ExtIDs, want)
	}
	if len(s.Fingerprints) != 1 || s.Fingerprints[0].Algorithm != "sha-256" || len(s.Fingerprints[0].Value) != 32 || s.Fingerprints[0].Value[0] != 0xa9 {
		t.Errorf("fingerprints: %+v", s.Fingerprints)
	}
}

// Without transport-cc the send time is what congestion control can go by.
func TestAbsSendTimeStandsIn(t *testing.T) {
	m := mustPublish(t, recorded(t, "aiortc-whip-vp8")).Media[1]
	if m.ExtIDs[wire.ExtAbsSendTime] != 2 || m.ExtIDs[wire.ExtTransportCC] != 0 || m.Feedback.TransportCC {
		t.Errorf("%v %+v", m.ExtIDs, m.Feedback)
	}
	// GStreamer offers transport-cc feedback, but no extension that carries its numbers.
	if m := mustPublish(t, recorded(t, "gstreamer-whip-vp8")).Media[1]; m.Feedback.TransportCC {
		t.Error("transport-cc agreed without its extension")
	}
}

func TestSubscribeUsesTheViewersNumbers(t *testing.T) {
	s := mustSubscribe(t, recorded(t, "firefox-whep"), avTracks...)
	video := s.Media[1]
	if video.PT != 120 || video.RTXPT != 124 || video.SSRC != 1002 || video.Feedback.TransportCC {
		t.Errorf("%+v", video)
	}
	want := wire.ExtIDs{wire.ExtMID: 3, wire.ExtOffset: 5, wire.ExtPlayoutDelay: 6}
	if video.ExtIDs != want {
		t.Errorf("extensions %v, want %v", video.ExtIDs, want)
	}
	answer := string(s.Answer(testLocal()))
	for _, line := range []string{
		"a=extmap:6/sendonly http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
		"a=ssrc-group:FID 1002 1003",
		"a=msid:live audio",
		"a=msid:live video",
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host",
		"a=candidate:2 1 udp 2130706175 2001:db8::1 8189 typ host",
	} {
		if strings.Count(answer, line+"\r\n") != 1 {
			t.Errorf("no line %q in\n%s", line, answer)
		}
	}
}

func TestPlayedBy(t *testing.T) {
	const (
		mode1    = "packetization-mode=1;profile-level-id="
		cb       = mode1 + "42e01f"
		baseline = mode1 + "42001f"
		main     = mode1 + "4d001f"
		high     = mode1 + "64001f"
		cHigh    = mode1 + "640c1f"
		high444  = mode1 + "f4001f"
	)
	video := func(c codec.Codec, fmtp string) Format { return Format{Codec: c, ClockRate: 90000, Fmtp: fmtp} }
	for _, c := range []struct {
		published, offered Format
		plays              bool
	}{
		{vp8, vp8, true},
		{vp8, video(codec.VP9, ""), false},
		{opus, Format{codec.Opus, 48000, 1, ""}, false},
		{opus, Format{codec.Opus, 48000, 2, "stereo=1"}, true},
		{h264(cb), h264(cb), true},
		{h264(cb), h264(mode1 + "42c034"), true}, // another level, the same profile
		{h264(cb), h264(mode1 + "4d801f"), true}, // Main with constraint_set0 is Constrained Baseline
		{h264(cb), h264(main), true},
		{h264(cb), h264(high), true},
		{h264(baseline), h264(cb), true},
		{h264(main), h264(cb), false},
		{h264(high), h264(cb), false},
		{h264(high), h264(main), false},
		{h264(high), h264(cHigh), true},
		{h264(main), h264(cHigh), true},
		{h264(cb), h264(high444), false},
		{h264(high444), h264(high444), true},
		{h264(high444), h264(high), false},
		{h264(cb), h264("profile-level-id=42e01f"), false}, // packetization mode 0
		{h264("profile-level-id=42e01f"), h264("packetization-mode=0"), true},
		{video(codec.VP9, ""), video(codec.VP9, "profile-id=0"), true},
		{video(codec.VP9, "profile-id=2"), video(codec.VP9, "profile-id=0"), false},
		{video(codec.AV1, "profile=0;level-idx=5"), video(codec.AV1, "level-idx=8"), true},
		{video(codec.AV1, "profile=1"), video(codec.AV1, ""), false},
		{video(codec.H265, "level-id=180"), video(codec.H265, "profile-id=1;tier-flag=0;level-id=93"), true},
		{video(codec.H265, "profile-id=2"), video(codec.H265, "profile-id=1"), false},
	} {
		if plays := c.published.playedBy(c.offered) >= 0; plays != c.plays {
			t.Errorf("%v played by %v: %v", c.published, c.offered, plays)
		}
	}
}

// Chromium offers fourteen kinds of H.264; each stream gets its own.
func TestTheFittingH264IsChosen(t *testing.T) {
	for fmtp, pt := range map[string]uint8{
		"packetization-mode=1;profile-level-id=42e01f": 108,
		"packetization-mode=1;profile-level-id=42001f": 102,
		"packetization-mode=0;profile-level-id=42c01e": 104, // no 42c0 is offered: the first of its rank
		"packetization-mode=1;profile-level-id=4d0028": 116,
		"packetization-mode=1;profile-level-id=f4001f": 41,
	} {
		m := mustSubscribe(t, recorded(t, "chromium-whep"), Track{msg.Video, h264(fmtp)}).Media[1]
		if m.PT != pt {
			t.Errorf("%s goes to payload type %d, want %d", fmtp, m.PT, pt)
		}
		if m.RTXPT == 0 {
			t.Errorf("%s has no retransmissions", fmtp)
		}
	}
}

func TestMismatchNamesBothSides(t *testing.T) {
	high := h264("packetization-mode=1;profile-level-id=640028")
	for _, c := range []struct {
		name   string
		offer  string
		tracks []Track
		want   string
	}{
		{"profile", recorded(t, "werift-whep"), []Track{opusTrack, {msg.Video, high}},
			"the stream's video is H264 (packetization-mode=1;profile-level-id=640028), but the offer can decode only " +
				"VP8, H264 (packetization-mode=1;profile-level-id=42e01f)"},
		{"codec", recorded(t, "gstreamer-whep"), []Track{{msg.Audio, Format{codec.PCMU, 8000, 1, ""}}, vp8Track},
			"the stream's audio is PCMU, but the offer can decode only opus"},
		{"kind", audioOnly(recorded(t, "datachannel-whep")), []Track{vp8Track},
			"the stream's video is VP8, but the offer asks for no video"},
		{"nothing", recorded(t, "werift-whep"), nil, "the stream carries nothing yet"},
	} {
		_, err := mustParse(t, c.offer).Subscribe(c.tracks)
		var mismatch *Mismatch
		if !errors.As(err, &mismatch) || err.Error() != c.want {
			t.Errorf("%s: %v\nwant %s", c.name, err, c.want)
		}
	}
}

// audioOnly cuts the second m-section off.
func audioOnly(offer string) string {
	head, _, _ := strings.Cut(offer, "m=video")
	return strings.Replace(head, "BUNDLE 0 1", "BUNDLE 0", 1)
}

// The tagged section is kept when it has nothing to carry, and candidates are in it.
func TestAKindThatIsNotThereIsInactive(t *testing.T) {
	s := mustSubscribe(t, recorded(t, "chromium-whep"), vp8Track)
	if s.Media[0].Accepted || !s.Media[1].Accepted {
		t.Fatalf("%+v", s.Media)
	}
	answer := string(s.Answer(testLocal()))
	checkAnswer(t, []byte(answer))
	audio, video, _ := strings.Cut(answer, "m=video")
	for _, want := range []string{"a=group:BUNDLE 0 1\r\n", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n", "a=inactive\r\n", "a=candidate:"} {
		if !strings.Contains(audio, want) {
			t.Errorf("no %q in\n%s", want, audio)
		}
	}
	if strings.Contains(audio, "a=ssrc") || !strings.Contains(video, "a=sendonly\r\n") || strings.Contains(video, "a=candidate") {
		t.Errorf("wrong sections in\n%s", answer)
	}
}

// A viewer that does not ask for a kind gets the other.
func TestAKindThatIsNotAskedForIsNotSent(t *testing.T) {
	s := mustSubscribe(t, audioOnly(recorded(t, "datachannel-whep")), avTracks...)
	if len(s.Media) != 1 || !s.Media[0].Accepted {
		t.Errorf("%+v", s.Media)
	}
}

const dataSection = "m=application 9 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=sctp-port:5000\r\n"

func TestDataChannelIsRejected(t *testing.T) {
	offer := strings.Replace(recorded(t, "chromium-whip-vp8"), "BUNDLE 0 1", "BUNDLE 0 1 2", 1) + dataSection
	answer := string(mustPublish(t, offer).Answer(testLocal()))
	checkAnswer(t, []byte(answer))
	if !strings.Contains(answer, "a=group:BUNDLE 0 1\r\n") ||
		!strings.HasSuffix(answer, "m=application 0 UDP/DTLS/SCTP webrtc-datachannel\r\nc=IN IP4 0.0.0.0\r\na=mid:2\r\na=inactive\r\n") {
		t.Errorf("\n%s", answer)
	}
}

func TestOneSectionNeedsNoGroup(t *testing.T) {
	offer := strings.Replace(audioOnly(recorded(t, "datachannel-whip-vp8")), "a=group:BUNDLE 0\r\n", "", 1)
	answer := string(mustPublish(t, offer).Answer(testLocal()))
	if strings.Contains(answer, "a=group") || !strings.Contains(answer, "a=candidate") {
		t.Errorf("\n%s", answer)
	}
}

func TestSimulcastIsNotTakenUp(t *testing.T) {
	s := mustPublish(t, recorded(t, "chromium-whip-vp8-simulcast"))
	answer := string(s.Answer(testLocal()))
	if strings.Contains(answer, "simulcast") || strings.Contains(answer, "a=rid") || strings.Contains(answer, "rtp-stream-id") {
		t.Errorf("\n%s", answer)
	}
}

func TestPacketizationModeOneIsPreferred(t *testing.T) {
	offer := recorded(t, "datachannel-whip-h264")
	offer = strings.Replace(offer, "SAVPF 97\r\n", "SAVPF 97 98\r\n", 1)
	zero := strings.Replace(offer, "a=rtpmap:97", "a=rtpmap:98 H264/90000\r\na=rtpmap:97", 1)
	if m := mustPublish(t, zero).Media[1]; m.PT != 97 {
		t.Errorf("payload type %d of modes 1, 0", m.PT)
	}
	swapped := strings.Replace(zero, "a=fmtp:97", "a=fmtp:98", 1)
	if m := mustPublish(t, swapped).Media[1]; m.PT != 98 {
		t.Errorf("payload type %d of modes 0, 1", m.PT)
	}
	interleaved := strings.Replace(offer, "packetization-mode=1", "packetization-mode=2", 1)
	if _, err := mustParse(t, interleaved).Publish(); err == nil {
		t.Error("packetization mode 2 taken")
	}
}

// What an offer says is echoed only where it cannot break a line or make more of them.
func TestNothingIsInjected(t *testing.T) {
	offer := recorded(t, "datachannel-whip-h264")
	offer = strings.Replace(offer, "a=fmtp:97 profile-level-id=42e01f", "a=fmtp:97 profile-level-id=42e01f;level-asymmetry-allowed=1 a=evil", 1)
	offer = strings.Replace(offer, "a=fmtp:111 minptime=10", "a=fmtp:111 minptime=\"10\"", 1)
	answer := string(mustPublish(t, offer).Answer(testLocal()))
	if strings.Contains(answer, "evil") || strings.Contains(answer, "minptime") {
		t.Errorf("\n%s", answer)
	}
	s := mustSubscribe(t, recorded(t, "werift-whep"), avTracks...)
	for i := range s.Media {
		s.Media[i].MSID, s.Media[i].CNAME = "a b\r\na=evil:ü", strings.Repeat("x", 100)
	}
	answer = string(s.Answer(testLocal()))
	checkAnswer(t, []byte(answer))
	if !strings.Contains(answer, "a=msid:a-b--a-evil-- audio\r\n") && !strings.Contains(answer, "a=msid:a-b--a-evil-- video\r\n") {
		t.Errorf("\n%s", answer)
	}
	if strings.Contains(answer, strings.Repeat("x", 65)) {
		t.Error("the name was not cut")
	}
}

// The largest answer: every m-section kept, every field at its longest.
func TestTheLargestAnswerFits(t *testing.T) {
	whep := recorded(t, "chromium-whep")
	audio := whep[strings.Index(whep, "m=audio"):strings.Index(whep, "m=video")]
	offer := whep
	mids := []string{"0", "1"}
	for i := 2; i < maxMedia; i++ {
		mid := fmt.Sprintf("abcdefghijklmno%d", i)
		mids = append(mids, mid)
		offer += strings.Replace(audio, "a=mid:0", "a=mid:"+mid, 1)
	}
	offer = strings.Replace(offer, "BUNDLE 0 1", "BUNDLE "+strings.Join(mids, " "), 1)
	s := mustSubscribe(t, offer, avTracks...)
	for i := range s.Media {
		s.Media[i].CNAME, s.Media[i].MSID = strings.Repeat("c", 64), strings.Repeat("m", 64)
		s.Media[i].SSRC, s.Media[i].RTXSSRC = 4294967294, 4294967295
	}
	l := testLocal()
	l.Pwd = strings.Repeat("p", 32)
	l.Candidates = nil
	for range 100 {
		l.Candidates = append(l.Candidates, Candidate{Addr: netip.MustParseAddrPort("[2001:db8:1111:2222:3333:4444:5555:6666]:65535"), Priority: 4294967295, TCP: true})
	}
	answer := s.Answer(l)
	checkAnswer(t, answer)
	if n := bytes.Count(answer, []byte("a=candidate")); n != maxAnswered {
		t.Errorf("%d candidates", n)
	}
}

func TestHostCandidates(t *testing.T) {
	addrs := []netip.AddrPort{
		netip.MustParseAddrPort("[2001:db8::1]:1"),
		netip.MustParseAddrPort("[::ffff:192.0.2.1]:2"),
		netip.MustParseAddrPort("[fe80::1%eth0]:3"),
		netip.MustParseAddrPort("192.0.2.2:4"),
	}
	// 2^24 * 126 + 2^8 * 65535 + 255, RFC 8445 section 5.1.2.1
	const highest = 2130706431
	want := []Candidate{
		{Addr: netip.MustParseAddrPort("192.0.2.1:2"), Priority: highest},
		{Addr: netip.MustParseAddrPort("192.0.2.2:4"), Priority: highest - 256},
		{Addr: netip.MustParseAddrPort("[2001:db8::1]:1"), Priority: highest - 512},
		{Addr: netip.MustParseAddrPort("[fe80::1]:3"), Priority: highest - 768},
	}
	if got := HostCandidates(addrs, false); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	// 2^24 * 90 + 2^8 * (2^13 * 4 + 8191) + 255, RFC 6544 section 4.2
	const highestTCP = 1520435199
	for i := range 4 {
		want = append(want, Candidate{Addr: want[i].Addr, Priority: highestTCP - 256*uint32(i), TCP: true})
	}
	if got := HostCandidates(addrs, true); !slices.Equal(got, want) {
		t.Errorf("with TCP %v, want %v", got, want)
	}
}

// However many addresses there are, an answer has both transports.
func TestHostCandidatesShareTheRoom(t *testing.T) {
	var addrs []netip.AddrPort
	for i := range 20 {
		addrs = append(addrs, netip.AddrPortFrom(netip.AddrFrom4([4]byte{192, 0, 2, byte(i)}), 8189))
	}
	got := HostCandidates(addrs, true)
	if len(got) != maxAnswered || got[7].TCP || !got[8].TCP || got[8].Addr != addrs[0] || got[7].Addr != addrs[7] {
		t.Errorf("%v", got)
	}
	if got := HostCandidates(addrs, false); len(got) != 20 || got[19].Addr != addrs[19] {
		t.Errorf("without TCP %v", got)
	}
}

func TestCandidateLines(t *testing.T) {
	answer := string(mustPublish(t, good).Answer(testLocal()))
	for _, line := range []string{
		"a=candidate:1 1 udp 2130706431 192.0.2.1 8189 typ host\r\n",
		"a=candidate:4 1 tcp 1520434943 2001:db8::1 8189 typ host tcptype passive\r\na=end-of-candidates\r\n",
	} {
		if strings.Count(answer, line) != 1 {
			t.Errorf("no %q in\n%s", line, answer)
		}
	}
}

// Payload type 0 is a number like any other.
func TestPayloadTypeZeroMayNotBeShared(t *testing.T) {
	body := strings.NewReplacer("SAVPF 111 0", "SAVPF 0", "SAVPF 96 97", "SAVPF 0\na=rtpmap:0 VP8/90000").Replace(good)
	if _, err := mustParse(t, body).Publish(); err == nil {
		t.Error("two m-sections share payload type 0")
	}
}
