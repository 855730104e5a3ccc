// Command soak runs a server for a long time with many steady viewers and, each second, one viewer that joins and one that leaves;
// every tenth of those vanishes without a word. It fails when a steady viewer lost a packet, when memory grew, or when goroutines or
// file descriptors were left behind. Run it in the root of the module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"sluice/perf/load"
	"sluice/perf/proc"
	"sluice/perf/rig"
)

const (
	joinTimeout = 20 * time.Second
	warmUp      = 5 * time.Second
	memoryEvery = 10 * time.Second
	// A viewer that vanished is gone 30 s after its last check; the rest is for a slow machine.
	forgetTimeout = time.Minute
)

type options struct {
	server        rig.Kind
	viewers, full int
	length        time.Duration
	dir           string
}

func main() {
	var o options
	name := flag.String("server", "sluice", "sluice or baseline")
	minutes := flag.Float64("minutes", 10, "length of the soak")
	flag.IntVar(&o.viewers, "n", 200, "number of steady viewers")
	flag.IntVar(&o.full, "full", 10, "how many of them decrypt every packet")
	flag.StringVar(&o.dir, "out", "perf/out", "`directory` for the server's log")
	flag.Parse()
	o.length = time.Duration(*minutes * float64(time.Minute))
	var err error
	if o.server, err = rig.Lookup(*name); err == nil {
		err = run(o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run(o options) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(o.dir, "soak-"+o.server.Name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	if err := o.server.Build(ctx); err != nil {
		return err
	}
	server, err := o.server.Start(ctx, rig.Place{}, log)
	if err != nil {
		return err
	}
	defer server.Stop()
	bench, err := load.Open(ctx, server.Target("soak"), load.Media{FPS: 30, PPF: 9, Size: 1150})
	if err != nil {
		return err
	}
	s := &soak{options: o, server: server, bench: bench}
	defer s.close(ctx)
	return s.run(ctx)
}

// soak is a run in progress.
type soak struct {
	options
	server *rig.Server
	bench  *load.Bench
	steady []*load.Viewer
	memory []int64 // RSS in bytes, sampled evenly over the soak
}

func (s *soak) run(ctx context.Context) error {
	if err := pause(ctx, warmUp); err != nil {
		return err
	}
	alone, err := s.held()
	if err != nil {
		return err
	}
	if err := s.fill(ctx); err != nil {
		return err
	}
	full, err := s.held()
	if err != nil {
		return err
	}
	window, err := s.bench.Begin(s.steady)
	if err != nil {
		return err
	}
	if err := s.churn(ctx); err != nil {
		return err
	}
	counts, err := window.End()
	if err != nil {
		return err
	}
	var verdicts []error
	verdicts = append(verdicts, checkLoss(counts), s.checkEnded(), checkMemory(s.memory))
	verdicts = append(verdicts, s.awaitHeld(ctx, "after the churn", full))
	if err := s.empty(ctx); err != nil {
		return err
	}
	verdicts = append(verdicts, s.awaitHeld(ctx, "after all viewers left", alone))
	fmt.Printf("%d packets sent, %d delivered, %d lost, p99 %.2f ms, max %.2f ms, %.2f us/packet\n",
		counts.Sent, counts.Delivered, counts.Lost, counts.Latency.P99, counts.Latency.Max, counts.MicrosPerPacket())
	return errors.Join(verdicts...)
}

// held is what a server must not hoard.
type held struct{ goroutines, fds int }

func (h held) String() string {
	return fmt.Sprintf("%d goroutines, %d file descriptors", h.goroutines, h.fds)
}

// held reads with no connection of ours idle at the server, but for the one that asks.
func (s *soak) held() (h held, err error) {
	s.bench.CloseIdle()
	if h.goroutines, err = s.server.Goroutines(); err != nil {
		return h, err
	}
	h.fds, err = proc.FDs(s.server.PID())
	return h, err
}

// fill lets the steady viewers in and warms up.
func (s *soak) fill(ctx context.Context) error {
	for i := range s.viewers {
		v, err := s.join(ctx, load.IsFull(i, s.full, s.viewers))
		if err != nil {
			return fmt.Errorf("steady viewer %d: %w", i, err)
		}
		s.steady = append(s.steady, v)
	}
	return pause(ctx, warmUp)
}

func (s *soak) join(ctx context.Context, full bool) (*load.Viewer, error) {
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	v, err := s.bench.Join(ctx, full)
	if err != nil {
		return nil, err
	}
	return v, s.bench.AwaitMedia(ctx, v)
}

// churn lets one viewer in each second, which leaves when the next one is in.
func (s *soak) churn(ctx context.Context) error {
	second := time.NewTicker(time.Second)
	defer second.Stop()
	var last *load.Viewer
	sampled := time.Now()
	end := sampled.Add(s.length)
	for n := 1; time.Now().Before(end); n++ {
		v, err := s.join(ctx, false)
		if err != nil {
			return fmt.Errorf("viewer %d of the churn: %w", n, err)
		}
		if err := s.dismiss(ctx, last, n); err != nil {
			return err
		}
		last = v
		if time.Since(sampled) >= memoryEvery {
			sampled = time.Now()
			if err := s.sample(end); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-second.C:
		}
	}
	return s.dismiss(ctx, last, 0)
}

// dismiss lets a viewer leave, the n-th one without a word when n divides by ten.
func (s *soak) dismiss(ctx context.Context, v *load.Viewer, n int) error {
	if v == nil {
		return nil
	}
	if n%10 == 9 {
		return s.bench.Vanish(v)
	}
	return s.bench.Leave(ctx, v)
}

func (s *soak) sample(end time.Time) error {
	rss, err := proc.RSS(s.server.PID())
	if err != nil {
		return err
	}
	s.memory = append(s.memory, rss)
	h, err := s.held()
	fmt.Printf("%v to go: RSS %.1f MiB, %v\n", time.Until(end).Round(time.Second), float64(rss)/(1<<20), h)
	return err
}

func (s *soak) empty(ctx context.Context) error {
	for len(s.steady) > 0 {
		if err := s.bench.Leave(ctx, s.steady[0]); err != nil {
			return err
		}
		s.steady = s.steady[1:]
	}
	return nil
}

// awaitHeld waits until the server holds no more than it did before.
func (s *soak) awaitHeld(ctx context.Context, when string, before held) error {
	for deadline := time.Now().Add(forgetTimeout); ; {
		now, err := s.held()
		if err != nil {
			return err
		}
		if now.goroutines <= before.goroutines && now.fds <= before.fds {
			fmt.Printf("%s: %v, before %v\n", when, now, before)
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %v, before %v", when, now, before)
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

func (s *soak) checkEnded() error {
	var list []error
	for _, reason := range s.bench.Ended(s.steady) {
		list = append(list, fmt.Errorf("ended early: %s", reason))
	}
	return errors.Join(list...)
}

func (s *soak) close(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), joinTimeout)
	defer cancel()
	s.empty(ctx)
	s.bench.Close(ctx)
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
