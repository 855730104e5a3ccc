package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// gstreamer starts GStreamer's webrtcbin (testdata/gstreamer.py) as a peer that
// publishes or watches spec.codec; its session ends, by a DELETE answered by 200,
// with the test.
func (l *lab) gstreamer(t *testing.T, spec peerSpec) *peer {
	t.Helper()
	p := &peer{id: fmt.Sprintf("%s/gstreamer/%s/%d", t.Name(), spec.role, time.Now().UnixNano())}
	// Debian's Python, whose modules know GStreamer.
	argv := []string{"/usr/bin/python3", "testdata/gstreamer.py",
		p.id, spec.role, spec.url, strings.TrimPrefix(spec.codec, "video/"), "http://" + stageAddr + "/report"}
	if spec.again {
		argv = append(argv, "again")
	}
	proc, err := l.clients.start(filepath.Join(t.TempDir(), "gstreamer.log"), nil, argv...)
	if err != nil {
		t.Fatal(err)
	}
	p.b = &browser{name: "gstreamer", ns: l.clients, proc: proc, director: l.director}
	t.Cleanup(func() {
		proc.stop(patience)
		if code := proc.cmd.ProcessState.ExitCode(); code != 0 {
			t.Errorf("GStreamer's exit status after SIGTERM is %d", code)
		}
		if t.Failed() {
			t.Logf("%s last said: %s\nand printed: %s", p.id, p.last(), proc.tail())
		}
	})
	return p
}

// TestGStreamer: GStreamer publishes as cameras do, in H264, to Chromium and to
// itself, and in H265, which of both only it can decode; and it watches VP8 from
// Chromium. A cell passes on decoded frames.
func TestGStreamer(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	gstreamer := func(t *testing.T, spec peerSpec) *peer { return l.gstreamer(t, spec) }
	chromium := func(t *testing.T, spec peerSpec) *peer { return l.chromium.open(t, spec) }
	type client = func(*testing.T, peerSpec) *peer
	for _, row := range []struct {
		name, codec string
		publisher   client
		viewers     []client
	}{
		{"camera-H264", "video/H264", gstreamer, []client{gstreamer, chromium}},
		{"camera-H265", "video/H265", gstreamer, []client{gstreamer}},
		{"chromium-VP8", "video/VP8", chromium, []client{gstreamer}},
	} {
		t.Run(row.name, func(t *testing.T) {
			publisher := row.publisher(t, peerSpec{role: "publish", url: s.whip(row.name), codec: row.codec})
			var viewers []*peer
			for _, viewer := range row.viewers {
				viewers = append(viewers, viewer(t, peerSpec{role: "watch", url: s.whep(row.name), codec: row.codec}))
			}
			var errs []error
			for _, v := range viewers {
				errs = append(errs, v.wait(playing("av", row.codec)))
				t.Logf("%s to %s: %s", publisher.b.name, v.b.name, v.newest().summary())
			}
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
		})
	}
}
