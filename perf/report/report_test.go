package report

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sluice/perf/load"
	"sluice/perf/result"
	"sluice/perf/stages"
)

func run(viewers int, micros float64) load.Report {
	return load.Report{Plan: load.Scenario{Viewers: viewers}, Counts: load.Counts{
		Seconds: 1, Due: 1000, Delivered: 1000, CPUSeconds: micros / 1000,
		Latency: load.Latency{P50: 1, P99: 2, CDF: [][2]float64{{0, 0.1}, {1, 0.5}, {2, 1}}},
	}}
}

func outcome() []*result.Scenario {
	return []*result.Scenario{
		{Name: "tx-10", Setup: "transmit", About: "<few>", Arms: []*result.Arm{
			{Name: "sluice", Runs: []load.Report{run(10, 2)}, Stages: []stages.Share{{Stage: "send", Share: 0.7}, {Stage: "SRTP", Share: 0.3}}},
			{Name: "baseline", Runs: []load.Report{run(10, 20)}},
		}},
		{Name: "tx-100", Setup: "transmit", Arms: []*result.Arm{{Name: "sluice", Runs: []load.Report{run(100, 1)}}, {Name: "gone", Missing: "<why>"}}},
		{Name: "largest", Arms: []*result.Arm{{Name: "sluice", Runs: []load.Report{run(100, 1), run(200, 1)}, Largest: &result.Largest{Viewers: 200}}}},
	}
}

var svg = regexp.MustCompile(`(?s)<svg.*?</svg>`)

// TestHTML checks that the page needs nothing beside it, shows every part, and holds well-formed drawings without NaN.
func TestHTML(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.html")
	if err := HTML(file, outcome()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	for _, want := range []string{"&lt;few&gt;", "10.00x", "&lt;why&gt;", "Cost model", "Cost per packet over viewers", "CPU by stage", "Latency", "200 viewers"} {
		if !strings.Contains(page, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	for _, bad := range []string{"http:", "https:", "src=", "NaN", "Inf", "%!"} {
		if strings.Contains(page, bad) {
			t.Errorf("page has %q", bad)
		}
	}
	drawings := svg.FindAllString(page, -1)
	if len(drawings) != 4 { // cost over viewers, two latencies, stages
		t.Errorf("page has %d drawings", len(drawings))
	}
	for _, d := range drawings {
		wellFormed(t, d)
	}
}

func wellFormed(t *testing.T, drawing string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(drawing))
	for {
		_, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("%v in\n%s", err, drawing)
		}
	}
}

func TestJSON(t *testing.T) {
	file := filepath.Join(t.TempDir(), "report.json")
	if err := JSON(file, outcome()); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var got struct {
		Host      string
		Scenarios []result.Scenario
	}
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	if got.Host == "" || len(got.Scenarios) != 3 || got.Scenarios[0].Arm("sluice").Median("cost_us") != 2 {
		t.Fatalf("JSON says %+v", got)
	}
}

func TestMarkdown(t *testing.T) {
	var b bytes.Buffer
	if err := Markdown(&b, outcome()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| tx-10 | sluice | 2.000 |", "|  | baseline | 20.000 (10.00) |", "| tx-* | sluice | 11.1 | 0.889 | ", "- largest, sluice: 200 viewers"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("Markdown lacks %q:\n%s", want, b.String())
		}
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		axis axis
		want string
	}{
		{axis{low: 0.9, top: 52, log: true}, "1 2 5 10 20 50"},
		{axis{low: 0, top: 1}, "0 0.2 0.4 0.6 0.8 1"},
		{axis{low: 0, top: 33}, "0 10 20 30"},
	} {
		var got []string
		for _, v := range c.axis.ticks() {
			got = append(got, number(v))
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("ticks of %+v are %v, want %s", c.axis, got, c.want)
		}
	}
}
