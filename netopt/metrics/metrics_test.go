package metrics

import (
	"io"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/netopt/attr"
)

var table attr.Table

var (
	packets = table.Counter(attr.Decl{Path: "plane/rx_packets", Unit: "packets", Since: "0.1", Doc: "Datagrams\nreceived.\n\nNot shown."})
	dropped = table.CounterVec(attr.Decl{Path: "plane/dropped_packets", Unit: "packets", Label: "reason", Values: []string{"malformed", `re"played`}, Since: "0.1", Doc: "Datagrams dropped."})
	turn    = table.Gauge(attr.Decl{Path: "plane/turn_seconds", Unit: "seconds", Since: "0.1", Doc: "Length of the last turn."})
	wait    = table.Histogram(attr.Decl{Path: "plane/wait_seconds", Unit: "seconds", Bounds: []float64{0.001, 0.01}, Since: "0.1", Doc: "Waits."})
	fill    = table.GaugeVec(attr.Decl{Path: "plane/fill_ratio", Unit: "ratio", Label: "queue", Values: []string{"in", "out"}, Since: "0.1", Doc: "Fill."})
	_       = table.Int(attr.Decl{Path: "plane/shards", Max: 64, Since: "0.1", Doc: "Not a metric."})
)

func newTree() *attr.Tree {
	tree := attr.NewTree(&table)
	tree.Collect(func(s *attr.Sample) {
		packets.Add(s, 42)
		dropped.Add(s, 1, 7)
		turn.Set(s, 0.5)
		fill.Set(s, 1, 0.25)
		for _, v := range []float64{0.0005, 0.001, 0.002, 3} {
			wait.Observe(s, v, 2)
		}
	})
	return tree
}

func TestCollector(t *testing.T) {
	const want = `
# HELP sluice_plane_dropped_packets_total Datagrams dropped.
# TYPE sluice_plane_dropped_packets_total counter
sluice_plane_dropped_packets_total{reason="malformed"} 0
sluice_plane_dropped_packets_total{reason="re\"played"} 7
# HELP sluice_plane_fill_ratio Fill.
# TYPE sluice_plane_fill_ratio gauge
sluice_plane_fill_ratio{queue="in"} 0
sluice_plane_fill_ratio{queue="out"} 0.25
# HELP sluice_plane_rx_packets_total Datagrams received.
# TYPE sluice_plane_rx_packets_total counter
sluice_plane_rx_packets_total 42
# HELP sluice_plane_turn_seconds Length of the last turn.
# TYPE sluice_plane_turn_seconds gauge
sluice_plane_turn_seconds 0.5
# HELP sluice_plane_wait_seconds Waits.
# TYPE sluice_plane_wait_seconds histogram
sluice_plane_wait_seconds_bucket{le="0.001"} 4
sluice_plane_wait_seconds_bucket{le="0.01"} 6
sluice_plane_wait_seconds_bucket{le="+Inf"} 8
sluice_plane_wait_seconds_sum 6.007
sluice_plane_wait_seconds_count 8
`
	if err := testutil.CollectAndCompare(NewCollector(newTree()), strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

func TestNamesFollowTheConvention(t *testing.T) {
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(NewCollector(newTree()))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestSeriesAreFixed(t *testing.T) {
	c := NewCollector(newTree())
	for range 3 {
		if n := testutil.CollectAndCount(c); n != 7 {
			t.Errorf("%d series", n)
		}
	}
}

func TestHandlerNegotiates(t *testing.T) {
	h := Handler(newTree())
	for _, c := range []struct{ accept, contentType, last string }{
		{"", "text/plain; version=0.0.4", "sluice_plane_wait_seconds_count 8"},
		{"application/openmetrics-text; version=1.0.0", "application/openmetrics-text; version=1.0.0", "# EOF"},
	} {
		r := httptest.NewRequest("GET", "/metrics", nil)
		r.Header.Set("Accept", c.accept)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		text := strings.TrimSpace(string(body))
		if got := w.Header().Get("Content-Type"); !strings.HasPrefix(got, c.contentType) || !strings.HasSuffix(text, c.last) {
			t.Errorf("Accept %q: %s, ends in %q", c.accept, got, text[max(0, len(text)-60):])
		}
		for _, name := range []string{"sluice_plane_rx_packets_total 42", "go_goroutines", "process_resident_memory_bytes"} {
			if !strings.Contains(text, name) {
				t.Errorf("Accept %q: no %s", c.accept, name)
			}
		}
	}
}
