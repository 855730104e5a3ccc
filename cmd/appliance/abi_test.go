package main

import (
	"go/ast"
	"go/types"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/netopt/attr"
	"sluice/netopt/attr/attrtest"
	"sluice/netopt/metrics"
)

// docs/abi says what the declarations say.
func TestABI(t *testing.T) { attrtest.ABI(t, "../../docs/abi", *update, tables()...) }

// Every metric of the whole product has a name and help that Prometheus's own
// linter takes, and appears in the first scrape, before anything happened.
func TestMetrics(t *testing.T) {
	tree := attr.NewTree(tables()...)
	registry := prometheus.NewPedanticRegistry()
	registry.MustRegister(metrics.NewCollector(tree))
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	scraped := map[string]bool{}
	for _, f := range families {
		scraped[f.GetName()] = true
	}
	tree.Walk("", func(d *attr.Decl, _ string) {
		if d.Kind.Metric() && !scraped[d.MetricName()] {
			t.Errorf("%s is declared and not scraped", d.MetricName())
		}
	})
}

// Every default is a value that could be written: what the tree shows at start
// can be saved, and read again.
func TestDefaultsCanBeWritten(t *testing.T) {
	tree := attr.NewTree(tables()...)
	tree.Walk("", func(d *attr.Decl, value string) {
		if d.Kind.Metric() || d.Mode == attr.RO || d.Mode == attr.WO {
			return
		}
		if err := tree.Set(d.Path, value); err != nil {
			t.Errorf("%s: its default cannot be written: %v", d.Path, err)
			return
		}
		if again, err := tree.Get(d.Path); err != nil || again != value {
			t.Errorf("%s: %q became %q when written (%v)", d.Path, value, again, err)
		}
	})
}

// A table that tables() forgets could be declared and never seen.
func TestEveryTableIsThere(t *testing.T) {
	declared := 0
	for _, f := range goFiles(t) {
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if spec, ok := n.(*ast.ValueSpec); ok && !f.test && spec.Type != nil && types.ExprString(spec.Type) == "attr.Table" {
				declared += len(spec.Names)
			}
			return true
		})
	}
	if n := len(tables()); n != declared {
		t.Errorf("the product declares %d tables, tables() returns %d", declared, n)
	}
}
