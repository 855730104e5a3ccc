package attr

import (
	"slices"
	"strings"
	"testing"
)

func TestHistogram(t *testing.T) {
	var table Table
	wait := table.Histogram(Decl{Path: "wait_seconds", Unit: "seconds", Bounds: []float64{0.00005, 0.01, 1}, Since: "0.1", Doc: "Waits."})
	fill := table.GaugeVec(Decl{Path: "fill_ratio", Unit: "ratio", Label: "queue", Values: []string{"in", "out"}, Since: "0.1", Doc: "Fill."})
	tree := NewTree(&table)
	for range 2 { // as two shards would
		tree.Collect(func(s *Sample) {
			wait.Observe(s, 0.00005, 3) // a bound belongs to its bucket
			wait.Observe(s, 0.5, 1)
			wait.Observe(s, 8, 2)
			fill.Add(s, 1, 0.25)
		})
	}
	below, count, sum := tree.Sample().Buckets(table.Decls()[0])
	if !slices.Equal(below, []uint64{6, 6, 8}) || count != 12 || sum < 33 || sum > 33.001 {
		t.Errorf("buckets %v, count %d, sum %v", below, count, sum)
	}
	for path, want := range map[string]string{
		"wait_seconds": "0.00005 6\n0.01 6\n1 8\ncount 12\nsum 33.0003",
		"fill_ratio":   "in 0\nout 0.5",
	} {
		if got, err := tree.Get(path); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	if got := ABI(&table)["testing/wait_seconds"]; !strings.Contains(got, "Kind:       histogram\nRange:      buckets up to 0.00005, 0.01, 1\n") {
		t.Errorf("ABI says:\n%s", got)
	}
}

func TestHistogramDeclarationsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name, want string
		edit       func(*Decl)
		make       func(*Table, Decl)
	}{
		{"no bounds", "Bounds", func(d *Decl) { d.Bounds = nil }, func(t *Table, d Decl) { t.Histogram(d) }},
		{"bounds of a gauge", "Bounds", func(*Decl) {}, func(t *Table, d Decl) { t.Gauge(d) }},
		{"not ascending", "above", func(d *Decl) { d.Bounds = []float64{1, 1} }, func(t *Table, d Decl) { t.Histogram(d) }},
		{"label", "label", func(d *Decl) { d.Label, d.Values = "x", []string{"a"} }, func(t *Table, d Decl) { t.Histogram(d) }},
	} {
		d := Decl{Path: "wait_seconds", Unit: "seconds", Bounds: []float64{1, 2}, Since: "0.1", Doc: "Waits."}
		c.edit(&d)
		var table Table
		c.make(&table, d)
		if got := panicOf(func() { NewTree(&table) }); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
