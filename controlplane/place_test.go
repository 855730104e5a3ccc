package controlplane_test

import "testing"

// Viewers stay with their publisher up to placement/stream_viewers, which holds
// from when it is written; and they all get media, wherever they are.
func TestPlacement(t *testing.T) {
	r := start(t, "placement/stream_viewers=2", "placement/busy_percent=100")
	publisher := r.publish("s", settings{}, vp8)
	var viewers []*viewer
	watch := func(n int) {
		for range n {
			viewers = append(viewers, r.watch("s", settings{}, vp8))
		}
	}
	expect := func(home, further, near int) {
		t.Helper()
		if h, f, n := r.metric("placed_viewers/home"), r.metric("placed_viewers/further"), r.metric("placed_viewers/near"); h != home || f != further || n != near {
			t.Errorf("%d viewers at home, %d further, %d near; want %d, %d, %d", h, f, n, home, further, near)
		}
	}
	watch(2)
	expect(2, 0, 0)
	publisher.video().run(1, viewers...)
	if n := r.metric("relayed_packets"); n != 0 {
		t.Errorf("%d packets were passed to a shard without viewers", n)
	}
	watch(2)
	expect(2, 1, 1)
	must(t, r.tree.Set("placement/stream_viewers", "3"))
	watch(1)
	expect(3, 1, 1)
	publisher.video().run(1, viewers...)
	if n := r.metric("relayed_packets"); n == 0 {
		t.Error("no packet was passed to the other shard")
	}
}
