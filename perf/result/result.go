// Package result is what scenarios gave: runs, their medians, the table of them, budgets and the model of cost over viewers.
package result

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"

	"sluice/perf/load"
	"sluice/perf/stages"
)

// Disturbance is the other load, in cores, from which on a run does not count.
const Disturbance = 0.2

// Scenario is the outcome of one scenario.
type Scenario struct {
	Name  string `json:"scenario"`
	About string `json:"about,omitempty"`
	Setup string `json:"setup"`
	Unit  string `json:"unit,omitempty"` // of work: a request; "" for a packet
	Arms  []*Arm `json:"arms"`
}

// Arm holds the runs of one server in one scenario.
type Arm struct {
	Name    string         `json:"arm"`
	Runs    []load.Report  `json:"runs,omitempty"`
	Stages  []stages.Share `json:"stages,omitempty"`  // where the CPU time went, in a profile of its own
	Largest *Largest       `json:"largest,omitempty"` // of a search
	Peak    *Peak          `json:"peak,omitempty"`    // of an overload
	Failed  []string       `json:"failed,omitempty"`  // runs that came to nothing, and why
	Missing string         `json:"missing,omitempty"` // why there are no runs
	Note    string         `json:"note,omitempty"`    // what is to be said of the figures
}

// Largest is what a search for the most viewers found. Runs holds its steps.
type Largest struct {
	Viewers int     `json:"viewers"` // the most that met the limits
	Failed  int     `json:"failed"`  // the fewest that did not; 0: none
	Loss    float64 `json:"loss_limit_percent"`
	P99     float64 `json:"p99_limit_ms"`
}

// Peak is what an overload found. Runs holds its steps; the last one is an overload.
type Peak struct {
	PPS      float64 `json:"pps"`          // delivered at the rate of which most is; median
	Offered  float64 `json:"offered_pps"`  // in the overload
	Overload float64 `json:"overload_pps"` // delivered of it; median
}

// Disturbed says whether other load touched a run.
func Disturbed(r load.Report) bool { return r.Counts.OtherCores > Disturbance }

// Clean is how many runs were undisturbed.
func (a *Arm) Clean() (n int) {
	for _, r := range a.Runs {
		if !Disturbed(r) {
			n++
		}
	}
	return n
}

// Counted are the runs that the figures are taken of: the undisturbed ones or, when there is none, all.
func (a *Arm) Counted() []load.Report {
	if a.Clean() == 0 {
		return a.Runs
	}
	return slices.DeleteFunc(slices.Clone(a.Runs), Disturbed)
}

// Figures are the median, the least and the greatest value of a metric over the counted runs; NaN when there are none.
func (a *Arm) Figures(m Metric) (median, least, most float64) {
	runs := a.Counted()
	if len(runs) == 0 {
		return math.NaN(), math.NaN(), math.NaN()
	}
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = m.Value(r)
	}
	return Middle(values), slices.Min(values), slices.Max(values)
}

// Middle is the median of values, of which there must be one.
func Middle(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2
}

// Median is the median of the metric with a key.
func (a *Arm) Median(key string) float64 {
	m, ok := Lookup(key)
	if !ok {
		return math.NaN()
	}
	median, _, _ := a.Figures(m)
	return median
}

// Arm finds an arm by its name; nil when there is none.
func (s *Scenario) Arm(name string) *Arm {
	for _, a := range s.Arms {
		if a.Name == name {
			return a
		}
	}
	return nil
}

// Stepped says that the runs are steps of a search, not repetitions: they have no median.
func (a *Arm) Stepped() bool { return a.Largest != nil || a.Peak != nil }

// Table prints the medians of all arms, the first one's with their range, the others' with how many times the first one's they are.
func (s *Scenario) Table(out io.Writer) error {
	fmt.Fprintf(out, "\n%s (%s): %s\n", s.Name, s.Setup, s.About)
	if !slices.ContainsFunc(s.Arms, (*Arm).Stepped) {
		if err := s.medians(out); err != nil {
			return err
		}
	}
	for _, a := range s.Arms {
		for _, line := range a.Remarks() {
			fmt.Fprintf(out, "%s: %s\n", a.Name, line)
		}
	}
	return nil
}

func (s *Scenario) medians(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, a := range s.Arms {
		fmt.Fprintf(w, "\t%s", a.Name)
	}
	fmt.Fprint(w, "\nruns counted (left out)")
	for _, a := range s.Arms {
		fmt.Fprintf(w, "\t%s", a.Counts())
	}
	fmt.Fprintln(w)
	for _, m := range Metrics {
		if s.Trivial(m) {
			continue
		}
		fmt.Fprint(w, s.Title(m))
		for i, a := range s.Arms {
			fmt.Fprint(w, "\t", a.cell(m, s.Arms[0], i == 0))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// Counts says how many runs the figures stand on and, in parentheses, how many were left out.
func (a *Arm) Counts() string {
	clean := a.Clean()
	if clean == 0 && len(a.Runs) > 0 {
		return fmt.Sprintf("%d, all disturbed", len(a.Runs))
	}
	return fmt.Sprintf("%d (%d)", clean, len(a.Runs)-clean)
}

// Title is a metric's name with the scenario's unit of work.
func (s *Scenario) Title(m Metric) string {
	if s.Unit == "" {
		return m.Name
	}
	return strings.ReplaceAll(m.Name, "packet", s.Unit)
}

// Trivial says that a metric is 0 in all runs, so it is not the scenario's.
func (s *Scenario) Trivial(m Metric) bool {
	if m.Key == "lost" {
		return false
	}
	for _, a := range s.Arms {
		if _, least, most := a.Figures(m); least < 0 || most > 0 {
			return false
		}
	}
	return true
}

func (a *Arm) cell(m Metric, first *Arm, isFirst bool) string {
	median, least, most := a.Figures(m)
	if math.IsNaN(median) {
		return "-"
	}
	text := fmt.Sprintf(m.Format, median)
	if isFirst {
		return text + fmt.Sprintf(" ["+m.Format+" - "+m.Format+"]", least, most)
	}
	if base, _, _ := first.Figures(m); base > 0 {
		text += fmt.Sprintf(" (%.2fx)", median/base)
	}
	return text
}

// Remarks are what does not fit the table.
func (a *Arm) Remarks() (lines []string) {
	for _, text := range []string{a.Missing, a.Note} {
		if text != "" {
			lines = append(lines, text)
		}
	}
	if l := a.Largest; l != nil {
		lines = append(lines, fmt.Sprintf("%d viewers with loss below %g %% and p99 below %g ms; %d are too many", l.Viewers, l.Loss, l.P99, l.Failed))
	}
	if p := a.Peak; p != nil {
		lines = append(lines, fmt.Sprintf("peak %.0f packets/s; offered %.0f it delivered %.0f, %.0f %% of the peak", p.PPS, p.Offered, p.Overload, 100*p.Overload/p.PPS))
		if len(a.Runs) > 0 {
			lines = append(lines, overloaded(a.Runs[len(a.Runs)-1]))
		}
	}
	for _, why := range a.Failed {
		lines = append(lines, "a run failed: "+why)
	}
	for i, r := range a.Runs {
		for _, reason := range r.Ended {
			lines = append(lines, fmt.Sprintf("in run %d ended early: %s", i+1, reason))
		}
	}
	return lines
}

// overloaded says what else became of an overload: how video and sound were lost, how late the rest came, and how HTTP fared.
func overloaded(r load.Report) string {
	f, c := r.Counts.Frames, r.Counts
	return fmt.Sprintf("in the last overload: video frames %d whole, %d broken, %d missing; sound lost %d of %d packets; latency p50 %.0f, p99 %.0f ms; HTTP answers %.1f, at worst %.1f ms",
		f.Whole, f.Broken, f.Missing, c.SoundLost, c.SoundDue, c.Latency.P50, c.Latency.P99, r.Answer.Median, r.Answer.Max)
}
