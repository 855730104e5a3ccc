package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"sluice/perf/lab"
	"sluice/perf/load"
	"sluice/perf/report"
	"sluice/perf/result"
	"sluice/perf/rig"
	"sluice/perf/scenario"
	"sluice/perf/stages"
)

// warmUp is how long media flows before anything is measured.
const warmUp = 2 * time.Second

// runner carries the scenarios out.
type runner struct {
	options
	lab     *lab.Lab // nil when no scenario needs it
	clock   *clock
	missing map[string]error // servers that could not be built
	server  *rig.Server      // that runs, or ran last
	results []*result.Scenario
}

func (r *runner) run(ctx context.Context) error {
	for _, s := range r.scenarios {
		res := &result.Scenario{Name: s.Name, About: s.About, Setup: string(s.Setup)}
		for _, a := range s.Arms {
			out := &result.Arm{Name: a.Name}
			if why := r.missing[a.Server]; why != nil {
				out.Missing, _, _ = strings.Cut(why.Error(), "\n")
			}
			res.Arms = append(res.Arms, out)
		}
		r.results = append(r.results, res)
		failure := r.scenario(ctx, s, res)
		if err := errors.Join(res.Table(os.Stdout), r.save()); err != nil {
			return err
		}
		if failure != nil {
			return fmt.Errorf("%s: %w", s.Name, failure)
		}
	}
	if r.markdown {
		if err := report.Markdown(os.Stdout, r.results); err != nil {
			return err
		}
	}
	fmt.Printf("\nfigures and plots: %s\n", filepath.Join(r.dir, "report.html"))
	return r.judge()
}

func (r *runner) save() error {
	if err := report.JSON(filepath.Join(r.dir, "report.json"), r.results); err != nil {
		return err
	}
	return report.HTML(filepath.Join(r.dir, "report.html"), r.results)
}

func (r *runner) judge() error {
	if r.budget == nil {
		return nil
	}
	fmt.Println()
	broken, err := r.budget.Judge(os.Stdout, r.results)
	if err != nil {
		return err
	}
	if len(broken) > 0 {
		return fmt.Errorf("%d rows of the budget are broken:\n%s", len(broken), strings.Join(broken, "\n"))
	}
	return nil
}

func (r *runner) scenario(ctx context.Context, s scenario.Scenario, res *result.Scenario) error {
	switch s.Mode {
	case scenario.Largest:
		return r.each(s, res, func(a scenario.Arm, out *result.Arm) error { return r.largest(ctx, s, a, out) })
	case scenario.Overload:
		return r.each(s, res, func(a scenario.Arm, out *result.Arm) error { return r.overload(ctx, s, a, out) })
	}
	return r.measure(ctx, s, res)
}

func (r *runner) each(s scenario.Scenario, res *result.Scenario, f func(scenario.Arm, *result.Arm) error) error {
	for i, a := range s.Arms {
		if res.Arms[i].Missing != "" {
			continue
		}
		if err := f(a, res.Arms[i]); err != nil {
			return fmt.Errorf("%s: %w", a.Name, err)
		}
	}
	return nil
}

// measure runs the arms in turn, so that a slow change of the machine touches all of them, until each has its undisturbed runs.
func (r *runner) measure(ctx context.Context, s scenario.Scenario, res *result.Scenario) error {
	for round := range 2 * r.runs {
		err := r.each(s, res, func(a scenario.Arm, out *result.Arm) error {
			if out.Clean() >= r.runs {
				return nil
			}
			return r.one(ctx, s, a, out, round)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// one adds a run to an arm, or why there is none. A server that does not start with the arm's arguments is left out.
func (r *runner) one(ctx context.Context, s scenario.Scenario, a scenario.Arm, out *result.Arm, round int) error {
	p := s.Plan
	p.RSSWait = r.wait(s)
	if round == 0 {
		p.After = func(ctx context.Context) error { return r.profileStages(ctx, out) }
	}
	rep, err := r.start(ctx, s, a, p)
	var missing *startError
	if errors.As(err, &missing) && len(a.Args) > 0 {
		out.Missing = missing.Error()
		fmt.Printf("  %s %s: left out: %v\n", s.Name, a.Name, missing)
		return nil
	}
	if err != nil {
		out.Failed = append(out.Failed, err.Error())
		fmt.Printf("! %s %s: %v\n", s.Name, a.Name, err)
		return ctx.Err()
	}
	out.Runs = append(out.Runs, rep)
	if result.Disturbed(rep) && round+1 < 2*r.runs {
		r.clock.more(r.guess(s))
	}
	r.progress(s, a, rep)
	return nil
}

// startError is that a server did not start.
type startError struct{ error }

// start runs a server of the arm and puts the plan on it.
func (r *runner) start(ctx context.Context, s scenario.Scenario, a scenario.Arm, p load.Plan) (rep load.Report, err error) {
	began := time.Now()
	k, err := rig.Lookup(a.Server)
	if err != nil {
		return rep, err
	}
	log, err := os.OpenFile(filepath.Join(r.dir, k.Name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return rep, err
	}
	defer log.Close()
	args := a.Args
	if k.Name == "sluice" {
		args = append(args[:len(args):len(args)], r.sluiceArgs...)
	}
	place := rig.Place{Apart: a.Apart}
	if s.Setup == scenario.Transmit {
		place.Lab = r.lab
	}
	server, err := k.Start(ctx, place, log, args...)
	if err != nil {
		return rep, &startError{fmt.Errorf("%w (see %s)", err, log.Name())}
	}
	defer server.Stop()
	r.server = server
	p.Target = server.Target("perf")
	p.CM, p.TCP, p.Window, p.Warm = a.CM, a.TCP, r.window, warmUp
	stopScraping := scraping(ctx, server, a.Scrape)
	rep, err = load.Run(ctx, p)
	err = errors.Join(err, stopScraping())
	r.clock.done(r.guess(s), time.Since(began))
	return rep, err
}

// scraping reads the server's metrics every so often, or never for 0, until stop, which returns why it could not.
func scraping(ctx context.Context, server *rig.Server, every time.Duration) (stop func() error) {
	if every == 0 {
		return func() error { return nil }
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error)
	go func() {
		n, err := server.Scrape(ctx, every)
		if err == nil && n == 0 {
			err = errors.New("the metrics were not read once")
		}
		done <- err
	}()
	return func() error {
		cancel()
		return <-done
	}
}

// profileStages asks the server that runs where its time goes.
func (r *runner) profileStages(ctx context.Context, out *result.Arm) error {
	seconds := int(r.profile.Seconds())
	if seconds == 0 {
		return nil
	}
	profile, err := r.server.Profile(ctx, seconds)
	if err != nil || profile == nil {
		return err
	}
	out.Stages, err = stages.Of(profile)
	return err
}

func (r *runner) progress(s scenario.Scenario, a scenario.Arm, rep load.Report) {
	mark := " "
	if result.Disturbed(rep) {
		mark = "*"
	}
	c := rep.Counts
	fmt.Printf("%s %s %-10s N=%d %.3f us/packet, p50 %.2f p99 %.2f ms, lost %d, other load %.2f; %s to go\n",
		mark, s.Name, a.Name, rep.Plan.Viewers, c.MicrosPerPacket(), c.Latency.P50, c.Latency.P99, c.Lost, c.OtherCores,
		r.clock.remaining().Round(time.Second))
	for _, reason := range rep.Ended {
		fmt.Println("  ended early:", reason)
	}
}
