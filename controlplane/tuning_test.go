package controlplane_test

import (
	"bytes"
	"testing"

	"github.com/pion/webrtc/v4"
)

// A stream whose source cannot be asked for a keyframe has its viewers start on the
// last one however old it is, unless its own gop_bytes says not to: then they wait
// for the next.
func TestGOPStoreOfAStream(t *testing.T) {
	r := start(t)
	must(t, r.tree.Mkdir("streams/off"))
	must(t, r.tree.Set("streams/off/gop_bytes", "-1"))
	deaf := vp8
	deaf.codec.RTCPFeedback = []webrtc.RTCPFeedback{{Type: "nack"}}
	for _, c := range []struct {
		stream string
		starts bool
	}{{"on", true}, {"off", false}} {
		must(t, r.tree.Set("dataplane/start_age_ms", "60000"))
		publisher := r.publish(c.stream, settings{bare: true}, deaf) // an interceptor would offer PLI
		first := r.watch(c.stream, settings{}, vp8)
		feed := publisher.video()
		feed.run(20, first)
		first.gets(videoKind, feed.last())
		must(t, r.tree.Set("dataplane/start_age_ms", "0"))
		late := r.watch(c.stream, settings{}, vp8)
		r.eventually(func() string {
			for _, id := range r.service.Sessions() {
				if info, ok := r.service.Inspect(id); ok && !info.Media.Keyed {
					return id + " has no keys"
				}
			}
			return ""
		})
		feed.send(false, 3)
		if c.starts {
			late.gets(videoKind, feed.last())
		}
		feed.send(true, 1)
		late.gets(videoKind, feed.last())
		began, want := late.packets(videoKind)[0], feed.last()
		if c.starts {
			want = feed.sent[0]
		}
		if !bytes.Equal(began.Payload, want.Payload) {
			t.Errorf("%s: the viewer starts with %.10q, want %.10q", c.stream, began.Payload, want.Payload)
		}
	}
}
