package controlplane_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"

	"sluice/dataplane"
)

// Steering can be switched while media flows, and nothing is lost; while it is on
// everything lands at the shard that owns it. With 8 shards and a hash, nearly
// all of it lands elsewhere.
func TestSteering(t *testing.T) {
	r := start(t, "dataplane/shards=8", "dataplane/pin=0")
	publisher := r.publish("live", settings{}, opus, vp8)
	viewers := []*viewer{r.watch("live", settings{}, vp8), r.watch("live", settings{}, vp8)}
	feed := publisher.video()
	feed.run(20, viewers...)
	for range 3 {
		r.set("steer/mode", "reuseport")
		if state := r.get("steer/state"); state != "on" {
			t.Fatalf("steer/state is %q (the test needs root)", state)
		}
		feed.run(1, viewers...) // the shards have told of their peers by now
		before := r.metric("misplaced_packets")
		feed.run(50, viewers...)
		feed.send(true, 1)
		joined := r.watch("live", settings{}, vp8) // its first check has only the ufrag
		feed.run(10, joined)
		if n := r.metric("misplaced_packets") - before; n != 0 {
			t.Errorf("%d datagrams landed elsewhere with steering on", n)
		}
		r.set("steer/mode", "off")
		feed.run(50, viewers...)
	}
	for _, v := range viewers {
		v.eventually(func() string { return v.lacks(videoKind, feed.sent) })
	}
	if n := r.metric("dropped_packets/unknown_tuple"); n != 0 {
		t.Errorf("%d datagrams of peers that the shard did not know", n)
	}
	if misses, misplaced := r.metric("steer/miss_packets"), r.metric("misplaced_packets"); misplaced == 0 || misses >= misplaced {
		t.Errorf("%d datagrams landed elsewhere, %d of them with steering on", misplaced, misses)
	}
}

var errNobody = errors.New("load: operation not permitted")

func nobody([]int, int) (dataplane.Steerer, error) { return nil, errNobody }

// Where the program cannot be loaded the reason can be read, and media flows.
func TestNoSteering(t *testing.T) {
	r := startAt(t, place{steering: nobody}, "steer/mode=reuseport")
	if state, want := r.get("steer/state"), "off: "+errNobody.Error(); state != want {
		t.Errorf("steer/state is %q, want %q", state, want)
	}
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(10, viewer)
}

// lacks says which of the packets sent the viewer has not got, "" for none. What
// comes by two ways while steering changes may come out of order.
func (v *viewer) lacks(kind webrtc.RTPCodecType, sent []*rtp.Packet) string {
	got := map[string]bool{}
	for _, p := range v.packets(kind) {
		got[string(p.Payload)] = true
	}
	for i, p := range sent {
		if !got[string(p.Payload)] {
			return fmt.Sprintf("packet %d of %d is missing, %d came", i, len(sent), len(got))
		}
	}
	return ""
}
