package controlplane_test

import (
	"testing"

	"sluice/netopt/attr"
)

// A fixed stream's limit of viewers holds from when it is written until its
// directory is removed, and neither cuts anybody off.
func TestViewersMax(t *testing.T) {
	r := start(t)
	publisher := r.publish("line1", settings{}, vp8)
	early := []*viewer{r.watch("line1", settings{}, vp8), r.watch("line1", settings{}, vp8)}
	must(t, r.tree.Mkdir("streams/line1"))
	late := r.watch("line1", settings{}, vp8)
	must(t, r.tree.Set("streams/line1/viewers_max", "1"))
	if _, refused := r.tryWatch("line1", settings{}, vp8); refused == nil || refused.status != 503 || refused.retryAfter == "" {
		t.Fatalf("beyond the limit: %+v", refused)
	}
	if n := r.metric("refused_sessions/viewers"); n != 1 {
		t.Errorf("%d refusals are counted", n)
	}
	other := r.publish("line2", settings{}, vp8)
	other.video().run(1, r.watch("line2", settings{}, vp8))
	must(t, r.tree.Rmdir("streams/line1"))
	publisher.video().run(1, append(early, late, r.watch("line1", settings{}, vp8))...)
}

// Fixed streams, and those refused, are counted.
func TestFixedStreamsAreCounted(t *testing.T) {
	r := start(t, "limits/fixed_streams=1")
	must(t, r.tree.Mkdir("streams/a"))
	if err := r.tree.Mkdir("streams/b"); err == nil || err.(*attr.Error).Code != attr.ENOSPC {
		t.Errorf("%v", err)
	}
	if there, refused := r.metric("fixed_streams"), r.metric("refused_fixed_streams"); there != 1 || refused != 1 {
		t.Errorf("%d are there, %d were refused", there, refused)
	}
}
