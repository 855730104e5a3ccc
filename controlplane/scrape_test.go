package controlplane_test

import (
	"log/slog"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/controlplane"
	"sluice/controlplane/auth"
	"sluice/controlplane/keying"
	"sluice/dataplane"
	"sluice/netopt/attr"
	"sluice/netopt/metrics"
)

// Sessions are no label: however many there are, a scrape has the same series.
func TestSessionsAddNoSeries(t *testing.T) {
	const sessions, limit = 1000, 200_000
	r := start(t, "limits/pending_sessions=65536", "dataplane/setup_timeout_ms=300000")
	if _, _, refused := r.post("/whip/live", recorded(t, "chromium-whip-vp8")); refused != nil {
		t.Fatalf("%+v", refused)
	}
	scrape := func() string {
		w := httptest.NewRecorder()
		metrics.Handler(r.tree).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		return w.Body.String()
	}
	series := func(text string) (n int) {
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, "#") {
				n++
			}
		}
		return n
	}
	few := series(scrape())
	watch := recorded(t, "chromium-whep")
	for range sessions {
		if _, _, refused := r.post("/whep/live", watch); refused != nil {
			t.Fatalf("%+v", refused)
		}
	}
	text := scrape()
	if many := series(text); many != few {
		t.Errorf("%d series with one session, %d with %d", few, many, sessions)
	}
	if !strings.Contains(text, "sluice_viewer_sessions 1000\n") {
		t.Error("the scrape does not know of the sessions")
	}
	if len(text) > limit {
		t.Errorf("a scrape has %d bytes", len(text))
	}
}

// BenchmarkScrape measures a scrape of a service with 2,000 sessions that wait for
// their peers: bytes, and CPU of the whole process, shards included.
func BenchmarkScrape(b *testing.B) {
	tree := attr.NewTree(&controlplane.Attrs, &auth.Attrs, &dataplane.Attrs, &keying.Attrs)
	for path, value := range map[string]string{
		"limits/pending_sessions": "65536", "dataplane/setup_timeout_ms": "300000", "dataplane/shards": "2", "dataplane/pin": "0", "placement/stream_viewers": "0",
	} {
		if err := tree.Set(path, value); err != nil {
			b.Fatal(err)
		}
	}
	service, err := controlplane.Start(controlplane.Config{
		Tree: tree, Log: slog.New(slog.DiscardHandler), Listen: netip.MustParseAddrPort("127.0.0.1:0"),
		Candidates: func(listen netip.AddrPort) ([]netip.AddrPort, error) { return []netip.AddrPort{listen}, nil },
	})
	if err != nil {
		b.Fatal(err)
	}
	defer service.Close()
	if _, err := service.Publish("live", netip.IPv6Loopback(), []byte(recorded(b, "chromium-whip-vp8"))); err != nil {
		b.Fatal(err)
	}
	watch := []byte(recorded(b, "chromium-whep"))
	for range 1999 {
		if _, err := service.Subscribe("live", netip.IPv6Loopback(), watch); err != nil {
			b.Fatal(err)
		}
	}
	handler := metrics.Handler(tree)
	size, before := 0, cpuTime(b)
	for b.Loop() {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		size = w.Body.Len()
	}
	b.ReportMetric((cpuTime(b)-before)*1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(size), "bytes")
}

func cpuTime(t testing.TB) float64 {
	var use unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &use); err != nil {
		t.Fatal(err)
	}
	return float64(use.Utime.Sec+use.Stime.Sec) + float64(use.Utime.Usec+use.Stime.Usec)/1e6
}
