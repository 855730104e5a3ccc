package controlplane_test

import "testing"

// Peers without UDP publish and watch, alone and with those who have it.
func TestTCP(t *testing.T) {
	for name, v := range map[string]struct{ publisher, viewer settings }{
		"viewer":    {settings{}, settings{tcp: true}},
		"publisher": {settings{tcp: true}, settings{}},
		"both":      {settings{tcp: true}, settings{tcp: true, noRTX: true}},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t)
			publisher := r.publish("live", v.publisher, opus, vp8)
			viewer := r.watch("live", v.viewer, opus, vp8)
			for _, feed := range []*feed{publisher.audio(), publisher.video()} {
				feed.run(50, viewer)
				viewer.same(feed.media.kind, feed.sent)
			}
			if n := r.metric("tcp_accepted_connections"); n == 0 {
				t.Error("no connection came")
			}
		})
	}
}
