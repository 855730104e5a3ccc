package main

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"sluice/perf/load"
)

// run makes a report with a cost in us/packet, a p99 in ms and other load in cores.
func run(micros, p99ms, other float64) load.Report {
	return load.Report{Counts: load.Counts{
		Seconds: 1, Delivered: 1000, CPUSeconds: micros / 1000, OtherCores: other, Latency: load.Latency{P99: p99ms},
	}}
}

func TestMediansLeaveOutDisturbedRuns(t *testing.T) {
	o := outcome{Runs: []load.Report{run(3, 1, 0), run(1, 1, 0.1), run(2, 1, 0), run(50, 1, 0.5), run(4, 1, 0)}}
	if median, least, most := o.figures(cost); median != 2.5 || least != 1 || most != 4 {
		t.Fatalf("figures are %g, %g, %g", median, least, most)
	}
	o = outcome{Runs: []load.Report{run(3, 1, 0), run(7, 1, 1), run(5, 1, 1)}}
	if median, _, _ := o.figures(cost); median != 5 {
		t.Fatalf("median of mostly disturbed runs is %g, want that of all", median)
	}
}

func TestScenarios(t *testing.T) {
	list, err := scenarios("5,200", "burst,paced", "10,all")
	if err != nil {
		t.Fatal(err)
	}
	want := []scenario{
		{5, false, 5}, {200, false, 10}, {5, true, 5}, {200, true, 10},
		{5, false, 5}, {200, false, 200}, {5, true, 5}, {200, true, 200},
	}
	if !slices.Equal(list, want) {
		t.Fatalf("scenarios are %v", list)
	}
	if list[3].String() != "n200-paced-full-10" || list[7].String() != "n200-paced-full-all" {
		t.Fatalf("names are %s, %s", list[3], list[7])
	}
	for _, bad := range [][3]string{{"0", "burst", "1"}, {"x", "burst", "1"}, {"1", "slow", "1"}, {"1", "burst", "none"}, {"1", "burst", "0"}} {
		if _, err := scenarios(bad[0], bad[1], bad[2]); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}

func TestJudge(t *testing.T) {
	theirs := outcome{Runs: []load.Report{run(12, 20, 0)}}
	for _, c := range []struct {
		ours   outcome
		missed []string
	}{
		{outcome{Runs: []load.Report{run(3, 5, 0)}}, nil},
		{outcome{Runs: []load.Report{run(3.1, 5, 0)}}, []string{"CPU per packet"}},
		{outcome{Runs: []load.Report{run(3, 5.1, 0)}}, []string{"p99 latency"}},
		{outcome{Runs: []load.Report{{Counts: load.Counts{Lost: 1}}}}, []string{"no packet lost"}},
		{outcome{Runs: []load.Report{{RSS: load.Memory{PerViewer: 65 << 10}, ConnectCPU: 2, FirstVideo: load.Spread{Median: 1}}}},
			[]string{"RSS per viewer", "first video", "per connect"}},
	} {
		var out bytes.Buffer
		ok := judge(&out, scenario{viewers: 100, full: 10}, c.ours, theirs)
		if ok != (c.missed == nil) || strings.Count(out.String(), "MISSED") != len(c.missed) {
			t.Errorf("judge says %v:\n%s", ok, out.String())
		}
		for _, text := range c.missed {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%q is not named in\n%s", text, out.String())
			}
		}
	}
}

func TestGoalsApplyWhereTheyWereMade(t *testing.T) {
	bad := outcome{Runs: []load.Report{run(100, 100, 0)}}
	var out bytes.Buffer
	if !judge(&out, scenario{viewers: 100, full: 100, paced: true}, bad, bad) {
		t.Fatalf("paced, all full: neither cost nor p99 is a goal\n%s", out.String())
	}
}

func TestTableShowsRatios(t *testing.T) {
	var out bytes.Buffer
	outcomes := []outcome{{"sluice", []load.Report{run(2, 4, 0)}}, {"baseline", []load.Report{run(10, 20, 0)}}}
	if err := table(&out, scenario{viewers: 100, full: 10}, outcomes); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"n100-burst-full-10", "sluice (1 runs, 1 undisturbed)", "2.00 [2.00 - 2.00]", "5.00x"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("table lacks %q:\n%s", want, out.String())
		}
	}
}
