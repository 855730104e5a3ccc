package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"sluice/perf/load"
	"sluice/perf/proc"
	"sluice/perf/result"
)

// step is one way to set a server and its clients.
type step struct {
	name  string
	attrs []string // of the server, each PATH=VALUE; the same paths in all steps of a ladder
	nagle bool     // clients of HTTP leave Nagle's algorithm on
	reuse bool     // and keep their connections
	than  string   // the step that it is compared with, where that is not the one before it
}

// ladder is a scenario whose arms are the steps, each of which adds one thing to the one before it.
type ladder struct {
	*result.Scenario
	steps []step
	// flood is the same with more on offer than the server can carry, for throughput; nil where the scenario itself has that.
	flood  *result.Scenario
	quoted []quote // what the field quotes for the first steps
	remark string
}

// quote is a figure of others.
type quote struct{ ms, perSecond float64 }

func newLadder(s result.Scenario, steps []step) *ladder {
	for _, st := range steps {
		s.Arms = append(s.Arms, &result.Arm{Name: st.name})
	}
	return &ladder{Scenario: &s, steps: steps}
}

// settle is how long a server gets to be done with a change before anything is measured.
const settle = 200 * time.Millisecond

// climb takes the steps in turn, so that a slow change of the machine touches all of them, until each has its undisturbed measurements.
func (e *effect) climb(ctx context.Context, s *result.Scenario, steps []step, measure func(context.Context, step) (load.Report, error)) error {
	for range e.tries {
		for i, st := range steps {
			a := s.Arms[i]
			if a.Clean() >= e.rounds {
				continue
			}
			if err := e.set(ctx, st); err != nil {
				return fmt.Errorf("%s, %s: %w", s.Name, st.name, err)
			}
			rep, err := measure(ctx, st)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", s.Name, st.name, err)
			}
			a.Runs = append(a.Runs, rep)
			e.progress(s, st, rep)
		}
	}
	return nil
}

func (e *effect) set(ctx context.Context, st step) error {
	for _, a := range st.attrs {
		path, value, _ := strings.Cut(a, "=")
		if err := e.server.Set(ctx, path, value); err != nil {
			return err
		}
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(settle):
		return nil
	}
}

func (e *effect) progress(s *result.Scenario, st step, rep load.Report) {
	mark := " "
	if result.Disturbed(rep) {
		mark = "*"
	}
	c := rep.Counts
	fmt.Fprintf(e.stdout, "%s %s, %s: ", mark, s.Name, st.name)
	if c.Latency.Max > 0 {
		fmt.Fprintf(e.stdout, "mean %.3f p99 %.3f ms, ", c.Latency.Mean, c.Latency.P99)
	}
	fmt.Fprintf(e.stdout, "%.0f/s, CPU %.2f us, other load %.2f\n", c.PPS(), c.MicrosPerPacket(), c.OtherCores)
}

// figure is one of the four that a step is judged by.
type figure struct {
	name, unit, key, format string
	more                    bool // is better
}

var figures = [...]figure{
	{"mean", "ms", "mean_ms", "%.3f", false},
	{"p99", "ms", "p99_ms", "%.3f", false},
	{"throughput", "/s", "pps", "%.0f", true},
	{"CPU", "us", "cost_us", "%.2f", false},
}

// arm is where a figure of a step comes from.
func (l *ladder) arm(f figure, i int) *result.Arm {
	if f.key == "pps" && l.flood != nil {
		return l.flood.Arms[i]
	}
	return l.Arms[i]
}

// value is a figure's median, least and greatest value at a step.
func (l *ladder) value(f figure, i int) (median, least, most float64) {
	m, _ := result.Lookup(f.key)
	return l.arm(f, i).Figures(m)
}

// better is how many times better a figure is than another one.
func (f figure) better(than, is float64) float64 {
	if f.more {
		return is / than
	}
	return than / is
}

// noise is the difference, as a factor, below which two medians are the same however little they scatter.
const noise = 1.05

// verdict says in words what a step changed: every figure whose values lie apart from those before it.
func (l *ladder) verdict(i int) string {
	if i == 0 {
		return ""
	}
	before, against := i-1, ""
	if than := l.steps[i].than; than != "" {
		before = slices.IndexFunc(l.steps, func(s step) bool { return s.name == than })
		against = "against " + than + ": "
	}
	var words []string
	for _, f := range figures {
		was, wasLeast, wasMost := l.value(f, before)
		is, least, most := l.value(f, i)
		factor := f.better(was, is)
		switch {
		case math.IsNaN(factor), least <= wasMost && wasLeast <= most:
		case factor >= noise:
			words = append(words, fmt.Sprintf("%s %.2fx better", f.name, factor))
		case factor <= 1/noise:
			words = append(words, fmt.Sprintf("%s %.2fx worse", f.name, 1/factor))
		}
	}
	if len(words) == 0 {
		words = []string{"gains nothing"}
	}
	return against + strings.Join(words, ", ")
}

// cells are a step's figures, each with how many times better than the first step it is.
func (l *ladder) cells(i int) (cells []string) {
	for _, f := range figures {
		median, _, _ := l.value(f, i)
		first, _, _ := l.value(f, 0)
		text := fmt.Sprintf(f.format, median)
		if factor := f.better(first, median); i > 0 && !math.IsNaN(factor) {
			text += fmt.Sprintf(" (%.2fx)", factor)
		}
		cells = append(cells, text)
	}
	return cells
}

func (l *ladder) unit() string {
	if l.Unit == "" {
		return "packet"
	}
	return l.Unit
}

func (l *ladder) headings() []string {
	list := []string{"mean ms", "p99 ms", l.unit() + "s/s", "CPU us/" + l.unit(), "runs (left out)"}
	if l.quoted != nil {
		list = append(list, "the field quotes")
	}
	return append(list, "against the row before")
}

// row is what stands below the headings for a step.
func (l *ladder) row(i int) []string {
	list := append(l.cells(i), l.counts(i))
	if l.quoted != nil {
		list = append(list, l.quote(i))
	}
	return append(list, l.verdict(i))
}

// counts is how many measurements a step stands on, and how many were left out.
func (l *ladder) counts(i int) string {
	text := l.Arms[i].Counts()
	if l.flood != nil {
		text += " / " + l.flood.Arms[i].Counts()
	}
	return text
}

// table prints the ladder for a terminal.
func (l *ladder) table(out io.Writer) error {
	fmt.Fprintf(out, "\n%s: %s\n%s\n", l.Name, l.About, l.remark)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintf(w, "\t%s\n", strings.Join(l.headings(), "\t"))
	for i, st := range l.steps {
		fmt.Fprintf(w, "%s\t%s\n", st.name, strings.Join(l.row(i), "\t"))
	}
	return w.Flush()
}

// note has the report's other forms say what the table says beside its figures.
func (l *ladder) note() {
	for i, a := range l.Arms {
		a.Note = l.verdict(i)
		if q := l.quote(i); q != "" {
			a.Note = strings.TrimPrefix(a.Note+"; the field quotes "+q, "; ")
		}
	}
}

// quote is what the field says of a step: ratios to its first one.
func (l *ladder) quote(i int) string {
	if i >= len(l.quoted) {
		return ""
	}
	q, first := l.quoted[i], l.quoted[0]
	text := fmt.Sprintf("%.1f ms, %.0f/s", q.ms, q.perSecond)
	if i > 0 {
		text += fmt.Sprintf(" (%.1fx, %.1fx)", first.ms/q.ms, q.perSecond/first.perSecond)
	}
	return text
}

// markdown is all ladders for docs/performance.md.
func markdown(ladders []*ladder) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Measured on %s by `make effect`; medians. In parentheses: how many times better than the first row; above 1 is better.\n", proc.Host())
	for _, l := range ladders {
		headings := l.headings()
		fmt.Fprintf(&b, "\n**%s**: %s. %s\n\n| | %s |\n|---|%s---|\n", l.Name, l.About, l.remark,
			strings.Join(headings, " | "), strings.Repeat("---:|", len(headings)-1))
		for i, st := range l.steps {
			fmt.Fprintf(&b, "| %s | %s |\n", st.name, strings.Join(l.row(i), " | "))
		}
	}
	return b.String()
}
