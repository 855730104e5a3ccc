// Command effect shows what each option of low-latency networking is worth: it switches them on one by one on a running server, in turn
// and several times over, and prints latency, throughput and cost of each step. Options that are attributes of Sluice are switched on
// Sluice; what no setting of it goes back to (a thread for each connection, a system call for each packet) is measured on stand-ins
// which do little else. Run it in the root of the module, as root, on a machine with nothing else to do: measurements that other load
// disturbed are marked with *, left out, counted and made up for by further ones.
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

	"sluice/perf/lab"
	"sluice/perf/report"
	"sluice/perf/result"
	"sluice/perf/rig"
)

type options struct {
	rounds  int // undisturbed measurements of a step that are wanted
	tries   int // measurements of it at most
	window  time.Duration
	viewers int
	clients int
	dir     string
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "effect:", err)
		os.Exit(1)
	}
}

func run() error {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "undisturbed measurements of each step; at most twice as many are tried")
	flag.DurationVar(&o.window, "window", 800*time.Millisecond, "length of a measurement")
	flag.IntVar(&o.viewers, "viewers", 200, "how many watch")
	flag.IntVar(&o.clients, "clients", 100, "how many send requests at once, at most 250")
	flag.StringVar(&o.dir, "out", "perf/out", "`directory` for effect.json, effect.html, effect.md and the servers' logs")
	flag.Parse()
	o.tries = 2 * o.rounds
	if o.rounds < 1 || o.viewers < 1 || o.clients < 1 || o.clients > 250 {
		return errors.New("-rounds, -viewers and -clients: want 1 or more, and at most 250 clients")
	}
	if err := lab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(o.dir, 0o755); err != nil {
		return err
	}
	l, err := lab.Open()
	if err != nil {
		return err
	}
	defer l.Close()
	e := &effect{options: o, lab: l, stdout: os.Stdout}
	return e.run(ctx)
}

// effect carries the ladders out.
type effect struct {
	options
	lab    *lab.Lab
	stdout *os.File
	server *rig.Server // that runs
}

func (e *effect) run(ctx context.Context) error {
	var ladders []*ladder
	for _, climb := range []func(context.Context) (*ladder, error){
		e.standinControl, e.sluiceControl, e.iceTCP, e.yardstickMedia, e.sluiceMedia,
	} {
		l, err := climb(ctx)
		var missing *missingError
		if errors.As(err, &missing) {
			fmt.Fprintln(e.stdout, missing)
			continue
		}
		if err != nil {
			return err
		}
		l.note()
		ladders = append(ladders, l)
		if err := errors.Join(l.table(e.stdout), e.save(ladders)); err != nil {
			return err
		}
	}
	fmt.Fprintf(e.stdout, "\nfigures and plots: %s, Markdown: %s\n", filepath.Join(e.dir, "effect.html"), filepath.Join(e.dir, "effect.md"))
	return nil
}

func (e *effect) save(ladders []*ladder) error {
	var list []*result.Scenario
	for _, l := range ladders {
		list = append(list, l.Scenario)
		if l.flood != nil {
			list = append(list, l.flood)
		}
	}
	return errors.Join(
		report.JSON(filepath.Join(e.dir, "effect.json"), list),
		report.HTML(filepath.Join(e.dir, "effect.html"), list),
		os.WriteFile(filepath.Join(e.dir, "effect.md"), []byte(markdown(ladders)), 0o644),
	)
}

// missingError is that a stand-in cannot be built here.
type missingError struct{ error }

// start builds a server and runs it; stop ends it.
func (e *effect) start(ctx context.Context, name string, place rig.Place) (stop func(), err error) {
	k, err := rig.Lookup(name)
	if err != nil {
		return nil, err
	}
	switch err := k.Build(ctx); {
	case err != nil && k.Optional():
		return nil, &missingError{fmt.Errorf("%s is left out: %w", name, err)}
	case err != nil:
		return nil, err
	}
	log, err := os.OpenFile(filepath.Join(e.dir, name+".log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	if e.server, err = k.Start(ctx, place, log); err != nil {
		log.Close()
		return nil, fmt.Errorf("%w (see %s)", err, log.Name())
	}
	return func() { e.server.Stop(); log.Close() }, nil
}
