package controlplane_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

const videoKind, audioKind = webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio

// Every codec passes untouched and in order, beside the other kind and alone.
func TestCodecs(t *testing.T) {
	for _, codecs := range [][]media{
		{opus, vp8}, {pcmu, vp9}, {pcma, h264}, {g722, h265}, {opus, av1}, {opus}, {vp8},
	} {
		var names []string
		for _, m := range codecs {
			names = append(names, m.name)
		}
		t.Run(strings.Join(names, " and "), func(t *testing.T) {
			r := start(t)
			publisher := r.publish("live", settings{}, codecs...)
			viewer := r.watch("live", settings{}, codecs...)
			for _, m := range codecs {
				feed := publisher.tracks[m.kind]
				feed.run(20, viewer)
				viewer.same(m.kind, feed.sent)
				if got := viewer.mime(m.kind); got != m.codec.MimeType {
					t.Errorf("the viewer decodes %s, want %s", got, m.codec.MimeType)
				}
			}
		})
	}
}

// A viewer that wants only one of the two kinds gets that one.
func TestOneOfTwoKinds(t *testing.T) {
	r := start(t)
	publisher := r.publish("live", settings{}, opus, vp8)
	listener := r.watch("live", settings{}, opus)
	watcher := r.watch("live", settings{}, vp8)
	publisher.video().run(10, watcher)
	publisher.audio().run(10, listener)
	watcher.same(videoKind, publisher.video().sent)
	listener.same(audioKind, publisher.audio().sent)
	if n := len(watcher.packets(audioKind)) + len(listener.packets(videoKind)); n != 0 {
		t.Errorf("%d packets that nobody asked for", n)
	}
}

// Each session has a profile of its own.
func TestProfiles(t *testing.T) {
	for name, profile := range map[string]dtls.SRTPProtectionProfile{
		"AEAD_AES_128_GCM": dtls.SRTP_AEAD_AES_128_GCM, "AEAD_AES_256_GCM": dtls.SRTP_AEAD_AES_256_GCM,
		"AES128_CM_HMAC_SHA1_80": dtls.SRTP_AES128_CM_HMAC_SHA1_80,
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			publisher := r.publish("live", settings{profile: profile}, vp8)
			same := r.watch("live", settings{profile: profile}, vp8)
			other := r.watch("live", settings{}, vp8)
			publisher.video().run(20, same, other)
			same.same(videoKind, publisher.video().sent)
			other.same(videoKind, publisher.video().sent)
		})
	}
}

func TestIPv6(t *testing.T) {
	r := startAt(t, place{listen: "[::1]:0"})
	publisher := r.publish("live", settings{ipv6: true}, opus, vp8)
	viewer := r.watch("live", settings{ipv6: true}, opus, vp8)
	publisher.video().run(10, viewer)
	viewer.same(videoKind, publisher.video().sent)
}

// One socket takes both versions, and they watch each other.
func TestIPv6WatchesIPv4(t *testing.T) {
	r := startAt(t, place{listen: "[::]:0", announce: loopbacks})
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{ipv6: true}, vp8)
	publisher.video().run(10, viewer)
	viewer.same(videoKind, publisher.video().sent)
}

// A viewer who joins late starts on the last keyframe, if that is young, and
// gets what came since.
func TestJoinOnYoungKeyframe(t *testing.T) {
	r := start(t, "dataplane/start_age_ms=60000")
	publisher := r.publish("live", settings{}, vp8)
	publisher.video().run(10)
	r.eventually(func() string {
		if got := r.metric("rx_packets"); got < len(publisher.video().sent) {
			return fmt.Sprintf("%d packets arrived", got)
		}
		return ""
	})
	viewer := r.watch("live", settings{}, vp8)
	viewer.same(videoKind, publisher.video().sent)
	if n := r.metric("keyframe_out_requests"); n != 0 {
		t.Errorf("the publisher was asked for %d keyframes, with one at hand", n)
	}
}

// Where no young keyframe is at hand the publisher is asked for one: once, for
// however many join within the interval. All start on it.
func TestJoinStormAsksForOneKeyframe(t *testing.T) {
	r := start(t, "dataplane/start_age_ms=0", "dataplane/keyframe_interval_ms=60000")
	publisher := r.publish("live", settings{}, vp8)
	feed := publisher.video()
	early := r.watch("live", settings{}, vp8)
	feed.run(5, early)
	var storm []*viewer
	for range 6 {
		storm = append(storm, r.watch("live", settings{}, vp8))
		feed.send(false, 1)
	}
	select {
	case p := <-feed.wanted:
		pli, ok := p.(*rtcp.PictureLossIndication)
		if ssrc := uint32(feed.sender.GetParameters().Encodings[0].SSRC); !ok || pli.MediaSSRC != ssrc {
			t.Errorf("asked by %v, want a PLI for %d", p, ssrc)
		}
	case <-time.After(patience):
		t.Fatal("the publisher was not asked for a keyframe")
	}
	before := len(feed.sent)
	feed.run(5, storm...)
	for _, v := range storm {
		v.same(videoKind, feed.sent[before:])
	}
	early.same(videoKind, feed.sent)
	if n := r.metric("keyframe_out_requests"); n != 1 || len(feed.wanted) != 0 {
		t.Errorf("the publisher was asked %d times", n)
	}
}

// A viewer's own request reaches the publisher.
func TestViewerAsksForKeyframe(t *testing.T) {
	r := start(t)
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(1, viewer)
	ssrc := uint32(viewer.packets(videoKind)[0].SSRC)
	must(t, viewer.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: ssrc}}))
	select {
	case <-publisher.video().wanted:
	case <-time.After(patience):
		t.Fatal("the publisher was not asked")
	}
}

// A viewer's sender reports carry its own SSRCs, and relate its timestamps as
// the publisher's relate the publisher's: sound and picture stay together.
func TestSenderReports(t *testing.T) {
	r := start(t)
	publisher := r.publish("live", settings{bare: true}, opus, vp8)
	viewer := r.watch("live", settings{bare: true}, opus, vp8)
	// The publisher's clock stands at 1000 s when its sound is at 5,000,000 and its picture at 77.
	const seconds, sound, picture = uint64(1000), uint32(5_000_000), uint32(77)
	feeds := map[webrtc.RTPCodecType]*feed{audioKind: publisher.audio(), videoKind: publisher.video()}
	for kind, at := range map[webrtc.RTPCodecType]uint32{audioKind: sound, videoKind: picture} {
		f := feeds[kind]
		f.ts = at - f.media.codec.ClockRate/50
		f.run(1, viewer)
	}
	ntp, steps := seconds<<32, uint32(0)
	tell := func() {
		for kind, at := range map[webrtc.RTPCodecType]uint32{audioKind: sound, videoKind: picture} {
			f := feeds[kind]
			must(t, publisher.pc.WriteRTCP([]rtcp.Packet{&rtcp.SenderReport{
				SSRC: uint32(f.sender.GetParameters().Encodings[0].SSRC), NTPTime: ntp + uint64(steps)<<32/50,
				RTPTime: at + steps*f.media.codec.ClockRate/50,
			}}))
			f.send(false, 1)
		}
		steps++
	}
	reports := func(kind webrtc.RTPCodecType) []*rtcp.SenderReport {
		viewer.mu.Lock()
		defer viewer.mu.Unlock()
		return viewer.reports[kind]
	}
	r.eventually(func() string {
		tell()
		if a, v := len(reports(audioKind)), len(reports(videoKind)); a < 2 || v < 2 {
			return fmt.Sprintf("the viewer has %d reports of sound and %d of the picture", a, v)
		}
		return ""
	})
	// When, by the publisher's clock, the moment was that a report is of; and
	// how far the server's clock, which the report goes by, is from that.
	apart := map[webrtc.RTPCodecType]float64{}
	for kind, f := range feeds {
		first, all := viewer.packets(kind)[0], reports(kind)
		report := all[len(all)-1]
		if report.SSRC != first.SSRC {
			t.Errorf("a report of SSRC %d, the %v is %d", report.SSRC, kind, first.SSRC)
		}
		if got := uint32(len(viewer.packets(kind))); report.PacketCount == 0 || report.PacketCount > got+64 {
			t.Errorf("a report of %d packets, %d came", report.PacketCount, got)
		}
		since := float64(int32(report.RTPTime-first.Timestamp)) / float64(f.media.codec.ClockRate)
		apart[kind] = float64(report.NTPTime)/(1<<32) - since
	}
	if skew := apart[audioKind] - apart[videoKind]; skew < -0.05 || skew > 0.05 {
		t.Errorf("the reports put sound and picture %.3f s apart", skew)
	}
}
