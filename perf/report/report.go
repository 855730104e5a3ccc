// Package report writes what scenarios gave: JSON for programs, one HTML page with plots that needs nothing beside it, and Markdown
// to paste into docs/performance.md.
package report

import (
	"bytes"
	"cmp"
	_ "embed"
	"encoding/json"
	"fmt"
	"html/template"
	"math"
	"os"
	"slices"

	"sluice/perf/load"
	"sluice/perf/proc"
	"sluice/perf/result"
)

// JSON writes all runs of all scenarios.
func JSON(file string, list []*result.Scenario) error {
	text, err := json.MarshalIndent(struct {
		Host      string             `json:"host"`
		Scenarios []*result.Scenario `json:"scenarios"`
	}{machine(list), list}, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

//go:embed page.html
var pageText string

var page = template.Must(template.New("page").Parse(pageText))

// HTML writes the page.
func HTML(file string, list []*result.Scenario) error {
	var b bytes.Buffer
	v := view{Host: machine(list), Costs: costs(list), Models: models(list)}
	for _, s := range list {
		v.Scenarios = append(v.Scenarios, describe(s))
	}
	if err := page.Execute(&b, v); err != nil {
		return err
	}
	return os.WriteFile(file, b.Bytes(), 0o644)
}

// machine describes the host, and says why there are no cycles and instructions when there are none.
func machine(list []*result.Scenario) string {
	for _, s := range list {
		for _, a := range s.Arms {
			if slices.ContainsFunc(a.Runs, func(r load.Report) bool { return r.Counts.Cycles > 0 }) {
				return proc.Host()
			}
		}
	}
	return proc.Host() + ", no counters of cycles and instructions"
}

// view is what the page shows.
type view struct {
	Host      string
	Costs     []plotted
	Models    []modelRow
	Scenarios []scenarioView
}

type plotted struct {
	Title string
	Plot  template.HTML
}

type scenarioView struct {
	Name, About, Setup, Load string
	Arms                     []string
	Rows                     []row
	Remarks                  []string
	Latency, Stages          template.HTML
	Steps                    []step
}

type row struct {
	Name  string
	Cells []cell
}

type cell struct{ Value, Ratio string }

type step struct {
	Arm                                   string
	Viewers                               int
	Offered, Delivered, Loss, P99, Answer string
	Frames                                string
}

func describe(s *result.Scenario) scenarioView {
	v := scenarioView{Name: s.Name, About: s.About, Setup: s.Setup, Latency: latencyPlot(s), Stages: stagePlot(s)}
	for _, a := range s.Arms {
		v.Arms = append(v.Arms, a.Name)
		for _, r := range a.Remarks() {
			v.Remarks = append(v.Remarks, a.Name+": "+r)
		}
		if len(a.Runs) > 0 && v.Load == "" {
			v.Load = loadText(a.Runs[0].Plan)
		}
		if a.Stepped() {
			v.Steps = append(v.Steps, steps(a)...)
		}
	}
	if len(v.Steps) == 0 {
		v.Rows = rows(s)
	}
	return v
}

// loadText describes a load in words.
func loadText(p load.Scenario) string {
	if p.Clients > 0 {
		return fmt.Sprintf("%d clients, each with one request at a time", p.Clients)
	}
	text := fmt.Sprintf("%d viewers, %d of them timed", p.Viewers, p.Full)
	if p.Streams > 1 {
		text += fmt.Sprintf(", of %d streams", p.Streams)
	}
	if p.FPS > 0 {
		text += fmt.Sprintf("; %d frames/s of %d packets of %d bytes", p.FPS, p.PPF, p.Size)
	}
	if p.SpreadMs > 0 {
		text += fmt.Sprintf(" over %g ms", p.SpreadMs)
	}
	if !p.Silent {
		text += "; 50 audio packets/s"
	}
	return text
}

func rows(s *result.Scenario) []row {
	counted := row{Name: "runs counted (left out)"}
	for _, a := range s.Arms {
		counted.Cells = append(counted.Cells, cell{Value: a.Counts()})
	}
	list := []row{counted}
	for _, m := range result.Metrics {
		if s.Trivial(m) {
			continue
		}
		r := row{Name: s.Title(m)}
		base, _, _ := s.Arms[0].Figures(m)
		for i, a := range s.Arms {
			median, _, _ := a.Figures(m)
			c := cell{Value: "-"}
			if !math.IsNaN(median) {
				c.Value = fmt.Sprintf(m.Format, median)
			}
			if i > 0 && base > 0 && !math.IsNaN(median) {
				c.Ratio = fmt.Sprintf("%.2fx", median/base)
			}
			r.Cells = append(r.Cells, c)
		}
		list = append(list, r)
	}
	return list
}

func steps(a *result.Arm) (list []step) {
	for _, r := range a.Runs {
		c := r.Counts
		s := step{
			Arm: a.Name, Viewers: r.Plan.Viewers, Offered: fmt.Sprintf("%.0f", float64(c.Due)/c.Seconds),
			Delivered: fmt.Sprintf("%.0f", c.PPS()), Loss: fmt.Sprintf("%.3f", 100*c.LossShare()), P99: fmt.Sprintf("%.2f", c.Latency.P99),
			Frames: fmt.Sprintf("%d / %d / %d", c.Frames.Whole, c.Frames.Broken, c.Frames.Missing), Answer: "-",
		}
		if r.Answer.Max > 0 {
			s.Answer = fmt.Sprintf("%.1f / %.1f", r.Answer.Median, r.Answer.Max)
		}
		list = append(list, s)
	}
	return list
}

// latencyPlot draws the distribution in the run with the median p99 of each arm.
func latencyPlot(s *result.Scenario) template.HTML {
	var list []series
	var all []float64
	for _, a := range s.Arms {
		cdf := middle(a)
		if len(cdf) == 0 {
			continue
		}
		for i := range cdf {
			cdf[i][0] = max(cdf[i][0], 0.001) // the axis is logarithmic
			all = append(all, cdf[i][0])
		}
		list = append(list, series{name: a.Name, points: cdf})
	}
	if len(list) == 0 {
		return ""
	}
	return linePlot(span("latency, ms", true, all), axis{label: "packets that took no longer", tail: true}, list)
}

func middle(a *result.Arm) [][2]float64 {
	if a.Stepped() || len(a.Runs) == 0 {
		return nil
	}
	runs := slices.Clone(a.Counted())
	slices.SortFunc(runs, byP99)
	return slices.Clone(runs[len(runs)/2].Counts.Latency.CDF)
}

func stagePlot(s *result.Scenario) template.HTML {
	var bars []bar
	sums := map[string]float64{}
	for _, a := range s.Arms {
		if len(a.Stages) == 0 {
			continue
		}
		b := bar{name: a.Name, shares: map[string]float64{}}
		for _, x := range a.Stages {
			name := x.Stage
			if x.Share < 0.02 {
				name = "rest"
			}
			b.shares[name] += x.Share
			sums[name] += x.Share
		}
		bars = append(bars, b)
	}
	if len(bars) == 0 {
		return ""
	}
	var names []string
	for name := range sums {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int { return cmp.Or(cmp.Compare(sums[b], sums[a]), cmp.Compare(a, b)) })
	return barPlot(names, bars)
}
