package result

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/perf/load"
)

// run makes a report with a cost in us/packet, a p99 in ms and other load in cores.
func run(micros, p99ms, other float64) load.Report {
	return load.Report{Counts: load.Counts{
		Seconds: 1, Due: 1000, Delivered: 1000, CPUSeconds: micros / 1000, OtherCores: other, Latency: load.Latency{P99: p99ms},
	}}
}

func arm(name string, runs ...load.Report) *Arm { return &Arm{Name: name, Runs: runs} }

func TestMediansLeaveOutDisturbedRuns(t *testing.T) {
	cost, _ := Lookup("cost_us")
	a := arm("a", run(3, 1, 0), run(1, 1, 0.1), run(2, 1, 0), run(50, 1, 0.5), run(4, 1, 0))
	if median, least, most := a.Figures(cost); median != 2.5 || least != 1 || most != 4 {
		t.Fatalf("figures are %g, %g, %g", median, least, most)
	}
	if a.Counts() != "4 (1)" {
		t.Fatalf("counts are %q", a.Counts())
	}
	a = arm("a", run(3, 1, 1), run(7, 1, 1), run(5, 1, 1))
	if median, _, _ := a.Figures(cost); median != 5 || a.Counts() != "3, all disturbed" {
		t.Fatalf("median of disturbed runs is %g, counts %q", median, a.Counts())
	}
	if median, _, _ := arm("none").Figures(cost); !math.IsNaN(median) {
		t.Fatalf("median of nothing is %g", median)
	}
}

func TestTableShowsRatios(t *testing.T) {
	s := Scenario{Name: "burst-100", Setup: "loopback", Arms: []*Arm{
		arm("sluice", run(2, 4, 0)), arm("baseline", run(10, 20, 0)), {Name: "gone", Missing: "does not start"},
	}}
	var out bytes.Buffer
	if err := s.Table(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"burst-100 (loopback)", "2.000 [2.000 - 2.000]", "10.000 (5.00x)", "gone: does not start", "1 (0)"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
	if strings.Contains(out.String(), "generator drops") {
		t.Errorf("table has a row of nothing but zeros:\n%s", out.String())
	}
}

func TestBudget(t *testing.T) {
	list := []*Scenario{
		{Name: "tx-10", Arms: []*Arm{arm("sluice", run(2, 1, 0), run(2, 9, 0), run(2, 1, 0)), arm("baseline", run(10, 20, 0))}},
		{Name: "largest", Arms: []*Arm{{Name: "sluice", Largest: &Largest{Viewers: 800}}}},
		{Name: "overload", Arms: []*Arm{{Name: "sluice", Peak: &Peak{PPS: 100, Overload: 80}}}},
	}
	for text, want := range map[string]string{
		`{"scenario": "tx-*", "arm": "sluice", "metric": "cost_us", "at_most": 2}`:                         "",
		`{"scenario": "tx-*", "arm": "sluice", "metric": "cost_us", "at_most": 1.9}`:                       "cost_us of sluice is 2, want at most 1.9",
		`{"scenario": "tx-10", "arm": "baseline", "metric": "cost_us", "of": "sluice", "at_least": 5}`:     "",
		`{"scenario": "tx-10", "arm": "baseline", "metric": "cost_us", "of": "sluice", "at_least": 6}`:     "cost_us of baseline / sluice is 5, want at least 6",
		`{"scenario": "tx-10", "arm": "sluice", "metric": "p99_ms", "at_most": 1}`:                         "",
		`{"scenario": "tx-10", "arm": "sluice", "metric": "p99_ms", "worst": true, "at_most": 1}`:          "worst p99_ms of sluice is 9",
		`{"scenario": "tx-10", "arm": "nobody", "metric": "p99_ms", "at_most": 1}`:                         "is NaN",
		`{"scenario": "largest", "arm": "sluice", "metric": "largest", "at_least": 1000}`:                  "largest of sluice is 800",
		`{"scenario": "overload", "arm": "sluice", "metric": "overload", "at_least": 0.5, "at_most": 0.7}`: "overload of sluice is 0.8, want 0.5 to 0.7",
	} {
		file := filepath.Join(t.TempDir(), "budget.json")
		if err := os.WriteFile(file, []byte(`{"about": "", "rows": [`+text+`]}`), 0o600); err != nil {
			t.Fatal(err)
		}
		b, err := ReadBudget(file)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		broken, err := b.Judge(&out, list)
		if err != nil {
			t.Fatal(err)
		}
		if ok := len(broken) == 0; ok != (want == "") || !ok && !strings.Contains(broken[0], want) {
			t.Errorf("%s: broken rows are %q, want %q", text, broken, want)
		}
	}
	if _, err := (Budget{Rows: []Row{{Scenario: "other"}}}).Judge(&bytes.Buffer{}, list); err == nil {
		t.Error("a budget that is about nothing that ran was kept")
	}
}

// A row about a server that this machine lacks is said not to be judged, and breaks nothing.
func TestBudgetWithoutARival(t *testing.T) {
	limit := 1.0
	list := []*Scenario{{Name: "s", Arms: []*Arm{{Name: "rival", Missing: "not installed"}, {Name: "sluice"}}}}
	for _, r := range []Row{{Arm: "rival"}, {Arm: "sluice", Of: "rival"}} {
		r.Scenario, r.Metric, r.AtMost = "s", "cost_us", &limit
		var out bytes.Buffer
		broken, err := Budget{Rows: []Row{r}}.Judge(&out, list)
		if err != nil || len(broken) != 0 || !strings.Contains(out.String(), "NOT JUDGED") || !strings.Contains(out.String(), "not installed") {
			t.Errorf("%v, %v: %s", broken, err, &out)
		}
	}
}

// TestBudgetFiles reads the budgets of the project and finds a scenario for each row.
func TestBudgetFiles(t *testing.T) {
	files, err := filepath.Glob("../budgets/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("no budgets: %v", err)
	}
	for _, f := range files {
		if _, err := ReadBudget(f); err != nil {
			t.Error(err)
		}
	}
	bad := filepath.Join(t.TempDir(), "bad.json")
	for _, text := range []string{
		`{"rows": [{"scenario": "x", "arm": "y", "metric": "nothing", "at_most": 1}]}`, `{"rows": [{"scenario": "x", "arm": "y", "metric": "lost"}]}`,
		`{"rows": [{"scenario": "[", "arm": "y", "metric": "lost", "at_most": 1}]}`, `{"lines": []}`,
	} {
		if err := os.WriteFile(bad, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadBudget(bad); err == nil {
			t.Errorf("%s was accepted", text)
		}
	}
}

func TestFit(t *testing.T) {
	exact := Model{A: 6, B: 0.6}
	var points []Point
	for _, n := range []int{10, 100, 1000, 5000} {
		points = append(points, Point{n, exact.At(n)})
	}
	m, ok := Fit(points)
	if !ok || math.Abs(m.A-6) > 1e-9 || math.Abs(m.B-0.6) > 1e-9 || m.Off > 1e-9 {
		t.Fatalf("model is %+v, %v", m, ok)
	}
	points[3].Cost *= 1.1
	if m, _ = Fit(points); m.Off < 0.02 || m.Off > 0.1 {
		t.Fatalf("one point is off by a tenth, the model says by %g", m.Off)
	}
	if _, ok := Fit(points[:1]); ok {
		t.Fatal("one point makes a model")
	}
	if _, ok := Fit(nil); ok {
		t.Fatal("nothing makes a model")
	}
}
