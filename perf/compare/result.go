package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"

	"sluice/perf/load"
)

// disturbance is the other load, in cores, from which on a run does not count.
const disturbance = 0.2

// metric is one figure of a run.
type metric struct {
	name   string
	format string
	value  func(load.Report) float64
}

var (
	cost       = metric{"server CPU, us/packet", "%.2f", func(r load.Report) float64 { return r.Counts.MicrosPerPacket() }}
	p99        = metric{"latency p99, ms", "%.2f", func(r load.Report) float64 { return r.Counts.Latency.P99 }}
	lost       = metric{"lost packets", "%.0f", func(r load.Report) float64 { return float64(r.Counts.Lost) }}
	connect    = metric{"server CPU per connect, ms", "%.2f", func(r load.Report) float64 { return r.ConnectCPU }}
	firstVideo = metric{"POST to first video, ms", "%.1f", func(r load.Report) float64 { return r.FirstVideo.Median }}
	perViewer  = metric{"RSS per viewer, KiB", "%.1f", func(r load.Report) float64 { return float64(r.RSS.PerViewer) / 1024 }}
)

// metrics in the order of the table.
var metrics = []metric{
	cost,
	{"- user", "%.2f", func(r load.Report) float64 { return r.Counts.MicrosPerPacket() * r.Counts.UserShare }},
	{"- sys", "%.2f", func(r load.Report) float64 { return r.Counts.MicrosPerPacket() * (1 - r.Counts.UserShare) }},
	{"server cores", "%.3f", func(r load.Report) float64 { return r.Counts.Cores() }},
	{"delivered packets/s", "%.0f", func(r load.Report) float64 { return r.Counts.PPS() }},
	lost,
	{"sent again on NACK", "%.0f", func(r load.Report) float64 { return float64(r.Retransmitted) }},
	{"latency p50, ms", "%.2f", func(r load.Report) float64 { return r.Counts.Latency.P50 }},
	{"latency p90, ms", "%.2f", func(r load.Report) float64 { return r.Counts.Latency.P90 }},
	p99,
	{"latency p99.9, ms", "%.2f", func(r load.Report) float64 { return r.Counts.Latency.P999 }},
	{"latency max, ms", "%.2f", func(r load.Report) float64 { return r.Counts.Latency.Max }},
	firstVideo,
	{"POST to first keyframe, ms", "%.1f", func(r load.Report) float64 { return r.FirstKeyframe.Median }},
	connect,
	{"RSS with publisher, MiB", "%.1f", func(r load.Report) float64 { return float64(r.RSS.Publisher) / (1 << 20) }},
	{"RSS at the end, MiB", "%.1f", func(r load.Report) float64 { return float64(r.RSS.End) / (1 << 20) }},
	perViewer,
	{"generator cores", "%.2f", func(r load.Report) float64 { return r.Counts.OwnCores }},
	{"generator drops", "%.0f", func(r load.Report) float64 { return float64(r.Counts.GeneratorDrops) }},
	{"other load, cores", "%.2f", func(r load.Report) float64 { return r.Counts.OtherCores }},
}

// outcome holds the runs of one server in one scenario.
type outcome struct {
	Server string        `json:"server"`
	Runs   []load.Report `json:"runs"`
}

func disturbed(r load.Report) bool { return r.Counts.OtherCores > disturbance }

// counted are the runs that the medians are taken of: the undisturbed ones, or all when fewer than half were undisturbed.
func (o outcome) counted() (runs []load.Report, clean int) {
	for _, r := range o.Runs {
		if !disturbed(r) {
			runs = append(runs, r)
		}
	}
	clean = len(runs)
	if 2*clean < len(o.Runs) {
		runs = o.Runs
	}
	return runs, clean
}

// figures are the median, the least and the greatest value of a metric over the counted runs.
func (o outcome) figures(m metric) (median, least, most float64) {
	runs, _ := o.counted()
	if len(runs) == 0 {
		return 0, 0, 0
	}
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = m.value(r)
	}
	slices.Sort(values)
	n := len(values)
	return (values[(n-1)/2] + values[n/2]) / 2, values[0], values[n-1]
}

// table prints medians with their range; with two servers also how many times the first one's figure the second one's is.
func table(out io.Writer, s scenario, outcomes []outcome) error {
	fmt.Fprintf(out, "\n%s: median [least - most]\n", s)
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	for _, o := range outcomes {
		runs, clean := o.counted()
		fmt.Fprintf(w, "\t%s (%d runs, %d undisturbed)", o.Server, len(runs), clean)
	}
	if len(outcomes) == 2 {
		fmt.Fprint(w, "\tratio")
	}
	fmt.Fprintln(w)
	for _, m := range metrics {
		fmt.Fprint(w, m.name)
		for _, o := range outcomes {
			median, least, most := o.figures(m)
			fmt.Fprintf(w, "\t"+m.format+" ["+m.format+" - "+m.format+"]", median, least, most)
		}
		if len(outcomes) == 2 {
			fmt.Fprintf(w, "\t%s", ratio(m, outcomes[0], outcomes[1]))
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

func ratio(m metric, ours, theirs outcome) string {
	a, _, _ := ours.figures(m)
	b, _, _ := theirs.figures(m)
	if a == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fx", b/a)
}

// goal is what the project promises of the first server, by its medians; loss by its worst run.
type goal struct {
	text    string
	applies func(scenario) bool
	reached func(ours, theirs outcome) bool
}

func always(scenario) bool { return true }

func atLeast(times float64, m metric) func(ours, theirs outcome) bool {
	return func(ours, theirs outcome) bool {
		a, _, _ := ours.figures(m)
		b, _, _ := theirs.figures(m)
		return a*times <= b
	}
}

func atMost(limit float64, m metric) func(ours, theirs outcome) bool {
	return func(ours, _ outcome) bool {
		median, _, _ := ours.figures(m)
		return median <= limit
	}
}

var goals = []goal{
	{"no packet lost", always, func(ours, _ outcome) bool { _, _, most := ours.figures(lost); return most == 0 }},
	{"CPU per packet at least 4 times lower", func(s scenario) bool { return !s.all() }, atLeast(4, cost)},
	{"p99 latency at least 4 times lower", func(s scenario) bool { return !s.paced }, atLeast(4, p99)},
	{"RSS per viewer under 64 KiB", always, atMost(64, perViewer)},
	{"first video no later", always, atLeast(1, firstVideo)},
	{"at most 1.5 ms of CPU per connect", always, atMost(1.5, connect)},
}

// judge prints which goals were reached and says whether all were.
func judge(out io.Writer, s scenario, ours, theirs outcome) bool {
	all := true
	for _, g := range goals {
		if !g.applies(s) {
			continue
		}
		verdict := "reached"
		if !g.reached(ours, theirs) {
			verdict, all = "MISSED", false
		}
		fmt.Fprintf(out, "goal %s: %s\n", verdict, g.text)
	}
	return all
}
