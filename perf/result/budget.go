package result

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path"
)

// Budget is a list of limits that figures must keep; a file in perf/budgets.
type Budget struct {
	About string `json:"about"`
	Rows  []Row  `json:"rows"`
}

// Row is one limit. It holds for the median of a metric, or for its worst run, or for how many times another arm's it is.
type Row struct {
	Scenario string   `json:"scenario"`     // pattern (path.Match)
	Arm      string   `json:"arm"`          //
	Metric   string   `json:"metric"`       // key of a metric, or "largest", or "overload" for the share of the peak
	Of       string   `json:"of,omitempty"` // divide by this arm's figure
	Worst    bool     `json:"worst"`        // of the counted runs, instead of their median
	AtMost   *float64 `json:"at_most,omitempty"`
	AtLeast  *float64 `json:"at_least,omitempty"`
}

// ReadBudget reads and checks a budget file.
func ReadBudget(file string) (b Budget, err error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return b, err
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&b); err != nil {
		return b, fmt.Errorf("%s: %w", file, err)
	}
	for i, r := range b.Rows {
		if err := r.check(); err != nil {
			return b, fmt.Errorf("%s: row %d: %w", file, i+1, err)
		}
	}
	return b, nil
}

func (r Row) check() error {
	if _, ok := Lookup(r.Metric); !ok && r.Metric != "largest" && r.Metric != "overload" {
		return fmt.Errorf("metric %q: there is none", r.Metric)
	}
	if _, err := path.Match(r.Scenario, ""); err != nil {
		return fmt.Errorf("scenario %q: %w", r.Scenario, err)
	}
	if r.Arm == "" || r.AtMost == nil && r.AtLeast == nil {
		return fmt.Errorf("%s: want an arm, and at_most or at_least", r.Scenario)
	}
	return nil
}

// Judge prints each row that applies and whether it was kept, and returns the rows that broke. That no row applies is an error: such
// a budget would pass whatever happens.
func (b Budget) Judge(out io.Writer, list []*Scenario) (broken []string, err error) {
	applied := 0
	for _, r := range b.Rows {
		for _, s := range list {
			if hit, _ := path.Match(r.Scenario, s.Name); !hit {
				continue
			}
			applied++
			if why := r.missing(s); why != "" {
				fmt.Fprintf(out, "NOT JUDGED %s: %s: %s\n", s.Name, r.what(), why)
				continue
			}
			line, ok := r.judge(s)
			fmt.Fprintln(out, line)
			if !ok {
				broken = append(broken, line)
			}
		}
	}
	if applied == 0 {
		return nil, fmt.Errorf("no row of the budget is about a scenario that ran")
	}
	return broken, nil
}

// missing says why a row cannot be judged: a server takes no part that not every machine has.
func (r Row) missing(s *Scenario) string {
	for _, name := range []string{r.Arm, r.Of} {
		if a := s.Arm(name); a != nil && a.Missing != "" {
			return a.Missing
		}
	}
	return ""
}

func (r Row) judge(s *Scenario) (line string, ok bool) {
	value := r.value(s)
	ok = !math.IsNaN(value) && (r.AtMost == nil || value <= *r.AtMost) && (r.AtLeast == nil || value >= *r.AtLeast)
	verdict := "kept  "
	if !ok {
		verdict = "BROKEN"
	}
	return fmt.Sprintf("%s %s: %s is %.3g, want %s", verdict, s.Name, r.what(), value, r.limit()), ok
}

func (r Row) what() string {
	text := r.Metric + " of " + r.Arm
	if r.Worst {
		text = "worst " + text
	}
	if r.Of != "" {
		text += " / " + r.Of
	}
	return text
}

func (r Row) limit() string {
	switch {
	case r.AtMost == nil:
		return fmt.Sprintf("at least %g", *r.AtLeast)
	case r.AtLeast == nil:
		return fmt.Sprintf("at most %g", *r.AtMost)
	}
	return fmt.Sprintf("%g to %g", *r.AtLeast, *r.AtMost)
}

// value is NaN when there is nothing to judge, which breaks the row.
func (r Row) value(s *Scenario) float64 {
	v := r.of(s.Arm(r.Arm))
	if r.Of != "" {
		v /= r.of(s.Arm(r.Of))
	}
	return v
}

func (r Row) of(a *Arm) float64 {
	switch {
	case a == nil:
		return math.NaN()
	case r.Metric == "largest" && a.Largest != nil:
		return float64(a.Largest.Viewers)
	case r.Metric == "overload" && a.Peak != nil:
		return a.Peak.Overload / a.Peak.PPS
	}
	m, ok := Lookup(r.Metric)
	if !ok {
		return math.NaN()
	}
	median, least, most := a.Figures(m)
	switch {
	case !r.Worst:
		return median
	case r.AtMost != nil:
		return most
	}
	return least
}
