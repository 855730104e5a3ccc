package registry

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"sluice/controlplane/sdp"
	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
)

var (
	opus = sdp.Track{Kind: msg.Audio, Format: sdp.Format{Codec: codec.Opus, ClockRate: 48000, Channels: 2}}
	pcmu = sdp.Track{Kind: msg.Audio, Format: sdp.Format{Codec: codec.PCMU, ClockRate: 8000, Channels: 1}}
	vp8  = sdp.Track{Kind: msg.Video, Format: sdp.Format{Codec: codec.VP8, ClockRate: 90000}}
	h264 = sdp.Track{Kind: msg.Video, Format: sdp.Format{Codec: codec.H264, ClockRate: 90000, Fmtp: "packetization-mode=1;profile-level-id=42e01f"}}

	here  = netip.MustParseAddr("192.0.2.1")
	there = netip.MustParseAddr("192.0.2.2")

	roomy = Limits{Sessions: 100, Streams: 100, Pending: 100}
)

func publish(t *testing.T, r *Registry, name string, tracks ...sdp.Track) (*Session, []*Session) {
	t.Helper()
	s, lost, err := r.Publish(name, tracks, here)
	if err != nil {
		t.Fatalf("publish %s: %v", name, err)
	}
	return s, lost
}

func subscribe(t *testing.T, r *Registry, name string) *Session {
	t.Helper()
	s, err := r.Subscribe(name, here)
	if err != nil {
		t.Fatalf("subscribe to %s: %v", name, err)
	}
	return s
}

// text shows what was ordered, one order a line.
func text(orders []Order) []string {
	var lines []string
	for _, o := range orders {
		switch c := o.Command.(type) {
		case msg.AddRoute:
			lines = append(lines, fmt.Sprintf("%d: route %d %v home %d shards %b", o.Shard, c.Route, c.Kind, c.Home, c.Shards))
		case msg.RemoveRoute:
			lines = append(lines, fmt.Sprintf("%d: no route %d", o.Shard, c.Route))
		case msg.RemoveSession:
			lines = append(lines, fmt.Sprintf("%d: no session %v", o.Shard, c.ID))
		}
	}
	return lines
}

func expect(t *testing.T, r *Registry, want ...string) {
	t.Helper()
	if got := text(r.Orders()); !slices.Equal(got, want) {
		t.Errorf("ordered\n%q, want\n%q", got, want)
	}
}

// The life of a stream on two shards: what each of them is told, and when.
func TestOrders(t *testing.T) {
	r := New(2, roomy)
	publisher, _ := publish(t, r, "s", opus, vp8)
	expect(t, r, "0: route 1 audio home 0 shards 1", "0: route 2 video home 0 shards 1")

	far := subscribe(t, r, "s") // the other shard is idle
	expect(t, r,
		"1: route 1 audio home 0 shards 11", "0: route 1 audio home 0 shards 11",
		"1: route 2 video home 0 shards 11", "0: route 2 video home 0 shards 11")
	near := subscribe(t, r, "s")
	expect(t, r)
	far2 := subscribe(t, r, "s")
	expect(t, r)

	r.Remove(near.ID)
	expect(t, r, "0: no session 0.3")
	r.Remove(publisher.ID) // nobody on shard 0 needs the routes now
	expect(t, r, "0: no session 0.1",
		"1: route 1 audio home 0 shards 10", "0: no route 1",
		"1: route 2 video home 0 shards 10", "0: no route 2")
	if s := r.Stream("s"); s == nil || s.Live() {
		t.Fatal("a stream with viewers did not outlive its publisher")
	}

	publish(t, r, "s", opus, vp8) // its viewers stay
	expect(t, r,
		"1: route 1 audio home 0 shards 11", "0: route 1 audio home 0 shards 11",
		"1: route 2 video home 0 shards 11", "0: route 2 video home 0 shards 11")
	r.Remove(far.ID)
	expect(t, r, "1: no session 1.2")
	r.Remove(far2.ID)
	expect(t, r, "1: no session 1.4",
		"1: no route 1", "0: route 1 audio home 0 shards 1",
		"1: no route 2", "0: route 2 video home 0 shards 1")
	r.Remove(far2.ID)
	expect(t, r)
}

func TestCodecChange(t *testing.T) {
	r := New(1, roomy)
	first, _ := publish(t, r, "s", opus, vp8)
	viewer := subscribe(t, r, "s")
	r.Remove(first.ID)
	r.Orders()

	_, lost := publish(t, r, "s", opus, h264)
	if len(lost) != 1 || lost[0] != viewer || r.Session(viewer.ID) != nil {
		t.Fatalf("ended %v, want the one viewer", lost)
	}
	expect(t, r, "0: no session 0.2",
		"0: no route 1", "0: no route 2", "0: route 3 audio home 0 shards 1", "0: route 4 video home 0 shards 1")
}

// What does not decide whether a decoder fits is no change.
func TestSameCodecOtherParameters(t *testing.T) {
	r := New(1, roomy)
	first, _ := publish(t, r, "s", opus)
	subscribe(t, r, "s")
	r.Remove(first.ID)
	stereo := opus
	stereo.Format.Fmtp = "stereo=1"
	if _, lost := publish(t, r, "s", stereo); len(lost) != 0 {
		t.Errorf("ended %d viewers", len(lost))
	}
}

// A publisher that comes back without video: viewers stay, new ones are not
// promised video, and the route waits for it to come back.
func TestTrackComesAndGoes(t *testing.T) {
	r := New(1, roomy)
	first, _ := publish(t, r, "s", opus, vp8)
	subscribe(t, r, "s")
	video := r.Stream("s").Track(msg.Video).Route
	carried := func() (kinds []msg.Kind) {
		for _, track := range r.Stream("s").Carried() {
			kinds = append(kinds, track.Kind)
		}
		return kinds
	}
	r.Remove(first.ID)
	second, lost := publish(t, r, "s", opus)
	if got := carried(); len(lost) != 0 || !slices.Equal(got, []msg.Kind{msg.Audio}) {
		t.Errorf("carried %v, ended %d; want audio, and nobody", got, len(lost))
	}
	r.Remove(second.ID)
	_, lost = publish(t, r, "s", opus, vp8)
	if got := carried(); len(lost) != 0 || len(got) != 2 {
		t.Errorf("carried %v, ended %d; want both, and nobody", got, len(lost))
	}
	if got := r.Stream("s").Track(msg.Video).Route; got != video {
		t.Errorf("video came back on route %d, viewers hang on %d", got, video)
	}
}

func TestBuiltIn(t *testing.T) {
	r := New(2, Limits{Sessions: 4, Streams: 1, Pending: 4})
	stream, err := r.PublishBuiltIn("demo", []sdp.Track{opus, vp8})
	if err != nil || !stream.Live() || stream.Track(msg.Video).Home() != 0 {
		t.Fatalf("%+v, %v", stream, err)
	}
	expect(t, r, "0: route 1 audio home 0 shards 1", "0: route 2 video home 0 shards 1")
	if _, err := r.PublishBuiltIn("demo", nil); err != ErrPublished {
		t.Errorf("a second one: %v", err)
	}
	if _, err := r.PublishBuiltIn("other", nil); err != ErrStreams {
		t.Errorf("one beyond the limit: %v", err)
	}
	if _, _, err := r.Publish("demo", []sdp.Track{vp8}, here); err != ErrPublished {
		t.Errorf("a publisher beside it: %v", err)
	}
	viewer := subscribe(t, r, "demo")
	r.Remove(viewer.ID)
	if r.Stream("demo") == nil {
		t.Error("it ended with its last viewer")
	}
}

func TestRefusals(t *testing.T) {
	r := New(1, Limits{Sessions: 3, Streams: 1, Pending: 2})
	if _, err := r.Subscribe("s", here); err != ErrNotLive {
		t.Errorf("a viewer before the publisher: %v", err)
	}
	publisher, _ := publish(t, r, "s", vp8)
	if _, _, err := r.Publish("s", []sdp.Track{vp8}, here); err != ErrPublished {
		t.Errorf("a second publisher: %v", err)
	}
	if _, _, err := r.Publish("other", []sdp.Track{vp8}, here); err != ErrStreams {
		t.Errorf("a second stream: %v", err)
	}
	viewer := subscribe(t, r, "s")
	if _, err := r.Subscribe("s", here); err != ErrPending {
		t.Errorf("a third session without keys: %v", err)
	}
	if _, err := r.Subscribe("s", there); err != nil {
		t.Errorf("one of another source: %v", err)
	}
	r.Keyed(viewer.ID)
	r.Keyed(viewer.ID)
	if _, err := r.Subscribe("s", here); err != ErrFull {
		t.Errorf("a fourth session: %v", err)
	}
	r.Remove(publisher.ID)
	if _, err := r.Subscribe("s", here); err != ErrNotLive {
		t.Errorf("after the publisher left: %v", err)
	}
	for _, refusal := range []Refusal{ErrPublished, ErrNotLive, ErrFull, ErrStreams, ErrPending} {
		var target Refusal
		if !errors.As(error(refusal), &target) || len(refusal) < 40 {
			t.Errorf("%q does not say what to do", refusal)
		}
	}
}

// All of an IPv6 network is one source; IPv4 addresses are one each.
func TestSources(t *testing.T) {
	for _, test := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true},
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
	} {
		r := New(1, Limits{Sessions: 2, Streams: 1, Pending: 1})
		if _, _, err := r.Publish("s", []sdp.Track{vp8}, netip.MustParseAddr(test.a)); err != nil {
			t.Fatal(err)
		}
		_, err := r.Subscribe("s", netip.MustParseAddr(test.b))
		if refused := err == ErrPending; refused != test.same {
			t.Errorf("%s and %s: %v, one source is %v", test.a, test.b, err, test.same)
		}
	}
}

func TestPlacement(t *testing.T) {
	const shards = 3
	r := New(shards, roomy)
	publish(t, r, "s", vp8)
	var viewers []*Session
	for range 3*shards - 1 {
		viewers = append(viewers, subscribe(t, r, "s"))
	}
	if want := []int{3, 3, 3}; !slices.Equal(r.loads, want) {
		t.Errorf("loads %v, want %v", r.loads, want)
	}
	for _, v := range viewers {
		if v.ID.Shard() == 2 {
			r.Remove(v.ID)
		}
	}
	if s := subscribe(t, r, "s"); s.ID.Shard() != 2 {
		t.Errorf("placed on shard %d, idle is 2", s.ID.Shard())
	}
}

func TestStreamsAreSorted(t *testing.T) {
	r := New(1, roomy)
	for _, name := range []string{"b", "c", "a"} {
		publish(t, r, name, vp8)
	}
	var names []string
	for _, s := range r.Streams() {
		names = append(names, s.Name)
	}
	if !slices.Equal(names, []string{"a", "b", "c"}) {
		t.Error(names)
	}
}
