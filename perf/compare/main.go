// Command compare puts the same load on Sluice and on the forwarder that one would write by hand with pion/webrtc, in turn, each run
// on a fresh server process, and prints medians and ratios. Run it in the root of the module, on a machine with nothing else to do:
// runs that other load disturbed are marked with * and left out of the medians unless they are the majority.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"sluice/perf/load"
	"sluice/perf/rig"
)

type options struct {
	scenarios       []scenario
	servers         []rig.Kind
	runs            int
	window, rssWait time.Duration
	sluiceArgs      []string
	check           bool
	dir             string
}

func main() {
	o, err := parse()
	if err == nil {
		err = compare(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

func parse() (o options, err error) {
	viewers := flag.String("n", "100,200", "numbers of viewers, separated by commas")
	paces := flag.String("load", "burst,paced", "burst: a frame's packets leave together; paced: over 25 ms")
	fulls := flag.String("full", "10,all", "how many viewers decrypt and time every packet")
	servers := flag.String("servers", "sluice,baseline", "servers to run in turn")
	args := flag.String("sluice-args", "", "further arguments for sluice, separated by blanks")
	seconds := flag.Float64("seconds", 10, "length of a measurement")
	flag.IntVar(&o.runs, "runs", 5, "runs of each server in each scenario")
	flag.DurationVar(&o.rssWait, "rss-wait", 15*time.Second, "time from the last join to the reading of memory")
	flag.BoolVar(&o.check, "check", false, "fail when a goal of the project is missed")
	flag.StringVar(&o.dir, "out", "perf/out", "`directory` for the figures as JSON and the servers' logs")
	flag.Parse()
	o.window = time.Duration(*seconds * float64(time.Second))
	o.sluiceArgs = strings.Fields(*args)
	if o.scenarios, err = scenarios(*viewers, *paces, *fulls); err != nil {
		return o, err
	}
	for _, name := range strings.Split(*servers, ",") {
		kind, err := rig.Lookup(name)
		if err != nil {
			return o, err
		}
		o.servers = append(o.servers, kind)
	}
	return o, nil
}

func compare(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	for _, k := range o.servers {
		if err := k.Build(ctx); err != nil {
			return err
		}
	}
	reached := true
	for _, s := range o.scenarios {
		outcomes, err := runScenario(ctx, o, s)
		if err != nil {
			return err
		}
		if err := table(os.Stdout, s, outcomes); err != nil {
			return err
		}
		if len(outcomes) == 2 {
			reached = judge(os.Stdout, s, outcomes[0], outcomes[1]) && reached
		}
	}
	if o.check && !reached {
		return errors.New("not every goal was reached")
	}
	return nil
}

// runScenario runs the servers in turn, so that a slow change of the machine touches all of them.
func runScenario(ctx context.Context, o options, s scenario) ([]outcome, error) {
	outcomes := make([]outcome, len(o.servers))
	for i, k := range o.servers {
		outcomes[i].Server = k.Name
	}
	for n := range o.runs {
		for i, k := range o.servers {
			r, err := runOnce(ctx, o, s, k)
			if err != nil {
				return nil, fmt.Errorf("%s, %s, run %d: %w", s, k.Name, n+1, err)
			}
			outcomes[i].Runs = append(outcomes[i].Runs, r)
			progress(s, n+1, k.Name, r)
		}
		if err := save(o.dir, s, outcomes); err != nil {
			return nil, err
		}
	}
	return outcomes, nil
}

func runOnce(ctx context.Context, o options, s scenario, k rig.Kind) (r load.Report, err error) {
	log, err := os.OpenFile(filepath.Join(o.dir, k.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return r, err
	}
	defer log.Close()
	var extra []string
	if k.Name == "sluice" {
		extra = o.sluiceArgs
	}
	server, err := k.Start(ctx, log, extra...)
	if err != nil {
		return r, err
	}
	defer server.Stop()
	plan := s.plan(o.window, o.rssWait)
	plan.Target = server.Target("perf")
	return load.Run(ctx, plan)
}

func progress(s scenario, run int, server string, r load.Report) {
	mark := " "
	if disturbed(r) {
		mark = "*"
	}
	fmt.Printf("%s%s run %d %-8s %6.2f us/packet, p50 %.2f p99 %.2f ms, lost %d, RSS/viewer %.1f KiB, first video %.1f ms, connect %.2f ms, other load %.2f\n",
		mark, s, run, server, r.Counts.MicrosPerPacket(), r.Counts.Latency.P50, r.Counts.Latency.P99, r.Counts.Lost,
		float64(r.RSS.PerViewer)/1024, r.FirstVideo.Median, r.ConnectCPU, r.Counts.OtherCores)
	for _, reason := range r.Ended {
		fmt.Println("  ended early:", reason)
	}
}

// save writes what a scenario has given so far.
func save(dir string, s scenario, outcomes []outcome) error {
	text, err := json.MarshalIndent(outcomes, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, s.String()+".json"), append(text, '\n'), 0o644)
}
