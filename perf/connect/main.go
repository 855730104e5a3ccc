// Command connect measures what a viewer's connect costs a server: POST, connectivity check, DTLS and keying. Servers take turns, some
// viewers each, for many turns, and medians are compared: so two builds of Sluice (NAME=PATH) can be told apart on a machine that
// does other things too. Run it in the root of the module.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"sluice/perf/load"
	"sluice/perf/proc"
	"sluice/perf/rig"
)

// settle is the time after the last of a turn's viewers for what the server does late.
const settle = 300 * time.Millisecond

const firstViewers = 10

type plan struct {
	viewers  int           // in a turn
	parallel int           // of them connect at once
	every    time.Duration // between the beginnings of two connects
}

func main() {
	var p plan
	servers := flag.String("servers", "sluice,baseline", "servers that take turns; NAME=PATH is another build of Sluice")
	turns := flag.Int("turns", 7, "of each server")
	flag.IntVar(&p.viewers, "n", 100, "viewers that connect in a turn")
	flag.IntVar(&p.parallel, "parallel", 4, "of them at once")
	flag.DurationVar(&p.every, "every", 0, "least time between the beginnings of two connects")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Split(*servers, ","), *turns, p); err != nil {
		fmt.Fprintln(os.Stderr, "connect:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, names []string, turns int, p plan) error {
	arms := make([]*arm, len(names))
	for i, name := range names {
		kind, err := rig.Lookup(name)
		if err == nil {
			err = kind.Build(ctx)
		}
		if err != nil {
			return err
		}
		arms[i] = &arm{name: name, kind: kind}
	}
	for range turns {
		for _, a := range arms {
			if err := a.turn(ctx, p); err != nil {
				return fmt.Errorf("%s: %w", a.name, err)
			}
		}
	}
	for _, a := range arms {
		a.report(p)
	}
	return nil
}

// arm is a server, and what its turns cost.
type arm struct {
	name  string
	kind  rig.Kind
	costs []proc.Effort
	times []time.Duration // of connects, as viewers see them
}

// turn starts a server, lets viewers in, and takes what all but the first ones cost: those find everything new.
func (a *arm) turn(ctx context.Context, p plan) (err error) {
	server, err := a.kind.Start(ctx, rig.Place{}, os.Stderr)
	if err != nil {
		return err
	}
	defer server.Stop()
	// A packet a second: nothing beside a connect.
	bench, err := load.Open(ctx, server.Target("connect"), load.Media{FPS: 1, PPF: 1, Size: 200, Silent: true})
	if err != nil {
		return err
	}
	defer bench.Close(context.WithoutCancel(ctx))
	time.Sleep(load.Settling)
	first, _, err := join(ctx, bench, plan{viewers: firstViewers, parallel: 1})
	defer leave(ctx, bench, first)
	if err != nil {
		return err
	}
	before, err := proc.ReadEffort(server.PID())
	if err != nil {
		return err
	}
	viewers, times, err := join(ctx, bench, p)
	defer leave(ctx, bench, viewers)
	if err != nil {
		return err
	}
	time.Sleep(settle)
	after, err := proc.ReadEffort(server.PID())
	a.costs = append(a.costs, after.Sub(before))
	a.times = append(a.times, times...)
	return err
}

func leave(ctx context.Context, bench *load.Bench, viewers []*load.Viewer) {
	for _, v := range viewers {
		bench.Leave(context.WithoutCancel(ctx), v)
	}
}

func join(ctx context.Context, bench *load.Bench, p plan) (viewers []*load.Viewer, times []time.Duration, failure error) {
	var mu sync.Mutex
	var wg sync.WaitGroup
	slots := make(chan struct{}, p.parallel)
	for range p.viewers {
		slots <- struct{}{}
		wg.Go(func() {
			began := time.Now()
			v, err := bench.Join(ctx, false)
			took := time.Since(began)
			mu.Lock()
			defer mu.Unlock()
			times = append(times, took)
			if err != nil {
				failure = err
			} else {
				viewers = append(viewers, v)
			}
			<-slots
		})
		time.Sleep(p.every)
	}
	wg.Wait()
	return viewers, times, failure
}

// report prints medians of a connect.
func (a *arm) report(p plan) {
	each := func(f func(proc.Effort) float64) (median, low, high float64) {
		var list []float64
		for _, c := range a.costs {
			list = append(list, f(c)/float64(p.viewers))
		}
		slices.Sort(list)
		return list[len(list)/2], list[len(list)/4], list[len(list)*3/4]
	}
	cpu, low, high := each(func(c proc.Effort) float64 { return ms(c.CPU.Total) })
	waits, _, _ := each(func(c proc.Effort) float64 { return float64(c.Waits) })
	forced, _, _ := each(func(c proc.Effort) float64 { return float64(c.Preempted) })
	faults, _, _ := each(func(c proc.Effort) float64 { return float64(c.Faults) })
	slices.Sort(a.times)
	fmt.Printf("%-30s %.3f ms of CPU a connect (quartiles %.3f to %.3f), %.1f waits, %.1f preemptions, %.1f page faults; it took %.2f ms at the median, %.2f at the 9th decile\n",
		a.name, cpu, low, high, waits, forced, faults, ms(a.times[len(a.times)/2]), ms(a.times[len(a.times)*9/10]))
}

func ms(d time.Duration) float64 { return d.Seconds() * 1e3 }
