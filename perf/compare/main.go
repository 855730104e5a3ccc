// Command compare puts the same load on Sluice, on the forwarder that one would write by hand with pion/webrtc, on the least that a
// forwarder must do and on the kernel alone, in turn, each run on a fresh server process, and prints medians and ratios. Run it in
// the root of the module, on a machine with nothing else to do: runs that other load disturbed are marked with *, left out, counted
// and made up for by further ones.
//
// Scenarios are chosen by name (-scenario, package scenario) or made of -n, -load, -full and -servers. What a change of Sluice is
// worth, say the builds before and after it beside each other: -scenario tx-100 -servers sluice,before=bin/sluice-before
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice/perf/lab"
	"sluice/perf/load"
	"sluice/perf/result"
	"sluice/perf/rig"
	"sluice/perf/scenario"
)

type options struct {
	scenarios       []scenario.Scenario
	runs            int
	window, rssWait time.Duration
	sluiceArgs      []string
	profile         time.Duration
	budget          *result.Budget
	dir             string
	markdown        bool
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func run() error {
	o, err := parse()
	if err != nil {
		return err
	}
	needsLab := slices.ContainsFunc(o.scenarios, func(s scenario.Scenario) bool { return s.Setup == scenario.Transmit })
	if needsLab {
		if err := lab.Enter(); err != nil {
			return err
		}
	}
	load.Quiet()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	missing, err := build(ctx, o.scenarios)
	if err != nil {
		return err
	}
	for server, why := range missing {
		fmt.Printf("%s is left out: %v\n", server, why)
	}
	r := &runner{options: o, clock: newClock(o), missing: missing}
	if needsLab {
		if r.lab, err = lab.Open(); err != nil {
			return err
		}
		defer r.lab.Close()
	}
	return r.run(ctx)
}

func parse() (o options, err error) {
	names := flag.String("scenario", "", "scenarios by `name`, with * and commas, or all, or quick; empty: made of -n, -load, -full and -servers")
	list := flag.Bool("list", false, "list the scenarios and end")
	viewers := flag.String("n", "100,200", "numbers of viewers, separated by commas")
	paces := flag.String("load", "burst,paced", "burst: a frame's packets leave together; paced: over 25 ms")
	fulls := flag.String("full", "10,all", "how many viewers decrypt and time every packet")
	servers := flag.String("servers", "sluice,baseline,yardstick,floor", "servers to run in turn, with -scenario those of the scenario; NAME=URL is a WHIP/WHEP server that runs already, NAME=PATH another build of sluice")
	args := flag.String("sluice-args", "", "further arguments for sluice, separated by blanks")
	seconds := flag.Float64("seconds", 10, "length of a measurement")
	budget := flag.String("budget", "", "judge by the limits in this `file` and fail when one is broken")
	flag.IntVar(&o.runs, "runs", 5, "undisturbed runs of each server in each scenario; at most twice as many are tried")
	flag.DurationVar(&o.rssWait, "rss-wait", 15*time.Second, "time from the last join to the reading of memory")
	flag.DurationVar(&o.profile, "profile", 5*time.Second, "length of the CPU profile of each server that gives one; 0: none")
	flag.StringVar(&o.dir, "out", "perf/out", "`directory` for the figures as JSON and HTML and the servers' logs")
	flag.BoolVar(&o.markdown, "markdown", false, "print the figures as Markdown in the end")
	flag.Parse()
	if *list {
		for _, s := range scenario.Table() {
			fmt.Printf("%-14s %-9s %s\n", s.Name, s.Setup, s.About)
		}
		os.Exit(0)
	}
	if o.runs < 1 {
		return o, fmt.Errorf("-runs %d: want 1 or more", o.runs)
	}
	o.window = time.Duration(*seconds * float64(time.Second))
	o.sluiceArgs = strings.Fields(*args)
	if *budget != "" {
		b, err := result.ReadBudget(*budget)
		if err != nil {
			return o, err
		}
		o.budget = &b
	}
	if *names != "" {
		if o.scenarios, err = scenario.Select(*names); err == nil && given("servers") {
			err = scenario.Restrict(o.scenarios, strings.Split(*servers, ","))
		}
	} else {
		o.scenarios, err = scenario.AdHoc(*viewers, *paces, *fulls, strings.Split(*servers, ","))
	}
	return o, err
}

// given reports whether the command line has a flag.
func given(name string) (yes bool) {
	flag.Visit(func(f *flag.Flag) { yes = yes || f.Name == name })
	return yes
}

// build compiles every server that takes part, once, and returns why those are missing that could not be built and need not be.
func build(ctx context.Context, list []scenario.Scenario) (missing map[string]error, err error) {
	missing = map[string]error{}
	built := map[string]bool{}
	for _, s := range list {
		for _, a := range s.Arms {
			if built[a.Server] {
				continue
			}
			built[a.Server] = true
			k, err := rig.Lookup(a.Server)
			if err != nil {
				return nil, err
			}
			switch err := k.Build(ctx); {
			case err != nil && k.Optional():
				missing[a.Server] = err
			case err != nil:
				return nil, err
			}
		}
	}
	return missing, nil
}
