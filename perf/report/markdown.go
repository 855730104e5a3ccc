package report

import (
	"fmt"
	"io"
	"math"
	"strings"

	"sluice/perf/result"
)

// shown are the metrics of the Markdown table, with their headings.
var shown = []struct{ key, title string }{
	{"cost_us", "CPU µs/packet"}, {"p50_ms", "p50 ms"}, {"p99_ms", "p99 ms"}, {"loss", "loss %"}, {"rss_viewer_kib", "KiB/viewer"},
}

// Markdown prints the figures for docs/performance.md.
func Markdown(out io.Writer, list []*result.Scenario) error {
	var b strings.Builder
	fmt.Fprintf(&b, "\nMeasured on %s. CPU per packet in parentheses: how many times the first row's it is.\n\n", machine(list))
	b.WriteString("| Scenario | Server |")
	for _, m := range shown {
		fmt.Fprintf(&b, " %s |", m.title)
	}
	b.WriteString(" runs (left out) |\n|---|---|" + strings.Repeat("---:|", len(shown)+1) + "\n")
	var remarks []string
	for _, s := range list {
		for i, a := range s.Arms {
			for _, r := range a.Remarks() {
				remarks = append(remarks, fmt.Sprintf("%s, %s: %s", s.Name, a.Name, r))
			}
			if len(a.Runs) > 0 && !a.Stepped() {
				b.WriteString(markdownRow(s, i, a))
			}
		}
	}
	if rows := models(list); len(rows) > 0 {
		b.WriteString("\n| Cost = a/N + b | Server | a, µs | b, µs | off by at most, % |\n|---|---|---:|---:|---:|\n")
		for _, m := range rows {
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", m.Title, m.Arm, m.A, m.B, m.Off)
		}
	}
	if len(remarks) > 0 {
		b.WriteString("\n- " + strings.Join(remarks, "\n- ") + "\n")
	}
	_, err := io.WriteString(out, b.String())
	return err
}

func markdownRow(s *result.Scenario, i int, a *result.Arm) string {
	name := ""
	if i == 0 {
		name = s.Name
	}
	row := fmt.Sprintf("| %s | %s |", name, a.Name)
	for _, m := range shown {
		metric, _ := result.Lookup(m.key)
		median, _, _ := a.Figures(metric)
		row += " " + fmt.Sprintf(metric.Format, median)
		if base, _, _ := s.Arms[0].Figures(metric); m.key == "cost_us" && i > 0 && base > 0 && !math.IsNaN(median) {
			row += fmt.Sprintf(" (%.2f)", median/base)
		}
		row += " |"
	}
	return row + " " + a.Counts() + " |\n"
}
