package report

import (
	"cmp"
	"math"
	"slices"
	"strings"

	"sluice/perf/load"
	"sluice/perf/result"
)

// family groups scenarios that differ in nothing but the number of viewers: those named PREFIX-NUMBER.
type family struct{ prefix, title string }

var families = []family{
	{"tx-", "Cost per packet over viewers, transmit side, 8 packets a frame"},
	{"burst-", "Cost per packet over viewers, loopback, bursts and audio"},
	{"paced-", "Cost per packet over viewers, loopback, paced packets and audio"},
	{"audio-", "Cost per packet over viewers, loopback, audio alone"},
}

// curve is the cost of one arm over viewers.
type curve struct {
	arm    string
	points []result.Point
}

// curves are the costs of a family's arms, in the order of their first appearance.
func (f family) curves(list []*result.Scenario) (curves []*curve) {
	for _, s := range list {
		suffix, ok := strings.CutPrefix(s.Name, f.prefix)
		if !ok || strings.Trim(suffix, "0123456789") != "" {
			continue
		}
		for _, a := range s.Arms {
			cost := a.Median("cost_us")
			if math.IsNaN(cost) || cost <= 0 {
				continue
			}
			i := slices.IndexFunc(curves, func(c *curve) bool { return c.arm == a.Name })
			if i < 0 {
				i = len(curves)
				curves = append(curves, &curve{arm: a.Name})
			}
			curves[i].points = append(curves[i].points, result.Point{Viewers: a.Runs[0].Plan.Viewers, Cost: cost})
		}
	}
	for _, c := range curves {
		slices.SortFunc(c.points, func(a, b result.Point) int { return cmp.Compare(a.Viewers, b.Viewers) })
	}
	return curves
}

// costs plots each family that has more than one number of viewers.
func costs(list []*result.Scenario) (plots []plotted) {
	for _, f := range families {
		var lines []series
		var n, us []float64
		for _, c := range f.curves(list) {
			s := series{name: c.arm}
			for _, p := range c.points {
				s.points = append(s.points, [2]float64{float64(p.Viewers), p.Cost})
				n, us = append(n, float64(p.Viewers)), append(us, p.Cost)
			}
			lines = append(lines, s)
		}
		if len(n) == 0 || slices.Min(n) == slices.Max(n) {
			continue
		}
		plots = append(plots, plotted{f.title, linePlot(span("viewers", true, n), span("us of CPU per packet", true, us), lines)})
	}
	return plots
}

// modelRow is the fitted cost of one arm.
type modelRow struct {
	Title, Arm, A, B, Off string
}

// models fits a/N + b to each arm of each family that was measured at two numbers of viewers or more.
func models(list []*result.Scenario) (rows []modelRow) {
	for _, f := range families {
		for _, c := range f.curves(list) {
			m, ok := result.Fit(c.points)
			if !ok {
				continue
			}
			rows = append(rows, modelRow{Title: f.prefix + "*", Arm: c.arm, A: number(m.A), B: number(m.B), Off: number(100 * m.Off)})
		}
	}
	return rows
}

func byP99(a, b load.Report) int { return cmp.Compare(a.Counts.Latency.P99, b.Counts.Latency.P99) }
