// Command flood attacks a server while it serves: bad datagrams of each kind come in as fast as they are told to, and meanwhile the
// viewers of a stream must lose nothing, memory must not grow, no stranger may be told more than it said, and no reply may be larger
// than the request was. With -judge-latency their p99 must stay within twice what it was before. Arguments behind "--" are the server's. It
// makes a network namespace of its own, and needs root. Run it in the root of the module.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"sluice/perf/lab"
	"sluice/perf/rig"
)

func main() {
	var o options
	flag.IntVar(&o.rate, "rate", 100_000, "bad datagrams a second")
	flag.DurationVar(&o.length, "length", 20*time.Second, "length of each flood")
	flag.IntVar(&o.viewers, "n", 10, "number of viewers")
	flag.BoolVar(&o.judgeLatency, "judge-latency", true, "fail when p99 is over twice that without a flood")
	dir := flag.String("out", "perf/out", "`directory` for the server's log")
	flag.Parse()
	o.server = flag.Args()
	if err := run(o, *dir); err != nil {
		fmt.Fprintln(os.Stderr, "flood:", err)
		os.Exit(1)
	}
}

func run(o options, dir string) error {
	if err := lab.Enter(); err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(dir, "flood.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	sluice, err := rig.Lookup("sluice")
	if err != nil {
		return err
	}
	if err := sluice.Build(ctx); err != nil {
		return err
	}
	s, err := open(ctx, o, sluice, log)
	if err != nil {
		return err
	}
	defer s.close()
	return s.all(ctx, func(r result) { fmt.Println(r) })
}
