package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/perf/load"
	"sluice/perf/proc"
	"sluice/perf/rig"
)

type options struct {
	rate, viewers int
	length        time.Duration
	judgeLatency  bool
	server        []string // further arguments of its
}

const (
	setupTimeout = 30 * time.Second
	warmUp       = time.Second
)

// Memory may grow by a tenth and 8 MiB: what the heap of a small Go program swings between two collections.
const (
	growthShare = 10
	growthBytes = 8 << 20
)

// stand is a server with a stream, its viewers and those who attack it.
type stand struct {
	options
	server  *rig.Server
	bench   *load.Bench
	viewers []*load.Viewer
	attacks []attack
	quiet   load.Counts
}

// open starts the server and lets everybody in.
func open(ctx context.Context, o options, kind rig.Kind, log io.Writer) (*stand, error) {
	server, err := kind.Start(ctx, rig.Place{}, log, o.server...)
	if err != nil {
		return nil, err
	}
	s := &stand{options: o, server: server}
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if err := s.fill(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *stand) fill(ctx context.Context) (err error) {
	if s.bench, err = load.Open(ctx, s.server.Target("flood"), load.Media{FPS: 30, PPF: 9, Size: 1150}); err != nil {
		return err
	}
	for range s.options.viewers {
		v, err := s.bench.Join(ctx, true)
		if err != nil {
			return err
		}
		if err := s.bench.AwaitMedia(ctx, v); err != nil {
			return err
		}
		s.viewers = append(s.viewers, v)
	}
	if s.attacks, err = attacks(s.bench.Publisher()); err != nil {
		return err
	}
	time.Sleep(warmUp)
	return nil
}

func (s *stand) close() {
	if s.bench != nil {
		ctx, cancel := context.WithTimeout(context.Background(), setupTimeout)
		defer cancel()
		for _, v := range s.viewers {
			s.bench.Leave(ctx, v)
		}
		s.bench.Close(ctx)
	}
	s.server.Stop()
}

// result is what one flood did.
type result struct {
	name      string
	traffic   traffic
	counts    load.Counts
	overflows uint64 // datagrams that the server's socket had no room for
	relayFull uint64 // datagrams that one shard had for another, which did not come to take them
	memory    [2]int64
}

func (r result) String() string {
	return fmt.Sprintf("%s: %d datagrams in %.1f s, %d replies; %d packets due, %d lost; p99 %.2f ms; %.2f cores; RSS %.1f to %.1f MiB; %d over the socket's buffer, %d between shards",
		r.name, r.traffic.sent, r.counts.Seconds, r.traffic.replies, r.counts.Due, r.counts.Lost, r.counts.Latency.P99, r.counts.Cores(),
		float64(r.memory[0])/(1<<20), float64(r.memory[1])/(1<<20), r.overflows, r.relayFull)
}

// all runs a time without an attack and then each of the attacks.
func (s *stand) all(ctx context.Context, tell func(result)) error {
	quiet, err := s.one(ctx, &attack{name: "none"})
	if err != nil {
		return err
	}
	tell(quiet)
	s.quiet = quiet.counts
	var verdicts []error
	for i := range s.attacks {
		r, err := s.one(ctx, &s.attacks[i])
		if err != nil {
			return err
		}
		tell(r)
		verdicts = append(verdicts, s.judge(r))
	}
	for _, reason := range s.bench.Ended(s.viewers) {
		verdicts = append(verdicts, fmt.Errorf("ended early: %s", reason))
	}
	return errors.Join(verdicts...)
}

// one floods for a while, and counts.
func (s *stand) one(ctx context.Context, a *attack) (r result, err error) {
	r.name = a.name
	port := s.bench.Publisher().Remote.Port()
	before, err := s.overflows(port)
	if err != nil {
		return r, err
	}
	if r.memory[0], err = proc.RSS(s.server.PID()); err != nil {
		return r, err
	}
	window, err := s.bench.Begin(s.viewers)
	if err != nil {
		return r, err
	}
	during, cancel := context.WithTimeout(ctx, s.length)
	defer cancel()
	if len(a.packets) == 0 {
		<-during.Done()
	} else if r.traffic, err = a.flood(during, s.bench.Publisher(), s.rate); err != nil {
		return r, err
	}
	if r.counts, err = window.End(); err != nil {
		return r, err
	}
	if r.memory[1], err = proc.RSS(s.server.PID()); err != nil {
		return r, err
	}
	after, err := s.overflows(port)
	r.overflows, r.relayFull = after[0]-before[0], after[1]-before[1]
	return r, errors.Join(err, ctx.Err())
}

// overflows is what the server had no room for so far: at its socket, and between its shards.
func (s *stand) overflows(port uint16) (sums [2]uint64, err error) {
	relays, err := s.server.Metric(`sluice_dropped_packets_total{reason="relay_full"}`)
	if err != nil {
		return sums, err
	}
	sums[1] = uint64(relays)
	sums[0], err = overflowsOf(port)
	return sums, err
}

func (s *stand) judge(r result) error {
	var list []error
	fail := func(format string, args ...any) {
		list = append(list, fmt.Errorf(r.name+": "+format, args...))
	}
	if r.traffic.sent == 0 || r.counts.Due == 0 {
		fail("%d datagrams sent, %d packets due: nothing was tried", r.traffic.sent, r.counts.Due)
	}
	if c := r.counts; c.Lost != 0 || c.Corrupt != 0 {
		fail("%d packets lost and %d corrupt of %d; %d over the socket's buffer, %d between shards, %d dropped by the generator",
			c.Lost, c.Corrupt, c.Due, r.overflows, r.relayFull, c.GeneratorDrops)
	}
	if grown := r.memory[1] - r.memory[0]; grown > r.memory[0]/growthShare+growthBytes {
		fail("memory grew by %.1f MiB", float64(grown)/(1<<20))
	}
	if t := r.traffic; t.replyBytes > t.sentBytes || t.replies > 0 && t.largest > s.request(r.name) {
		fail("%d bytes were answered by %d, the largest reply has %d", t.sentBytes, t.replyBytes, t.largest)
	}
	if s.judgeLatency && r.counts.Latency.P99 > 2*s.quiet.Latency.P99 {
		fail("p99 is %.2f ms, without a flood %.2f ms", r.counts.Latency.P99, s.quiet.Latency.P99)
	}
	return errors.Join(list...)
}

// request is the size of an attack's datagrams.
func (s *stand) request(name string) int {
	for _, a := range s.attacks {
		if a.name == name {
			return len(a.packets[0])
		}
	}
	return 0
}

// overflowsOf sums what the kernel dropped at the UDP sockets of a port (the last column of /proc/net/udp, proc_pid_net(5)).
func overflowsOf(port uint16) (sum uint64, err error) {
	for _, name := range []string{"/proc/self/net/udp", "/proc/self/net/udp6"} {
		f, err := os.Open(name)
		if err != nil {
			return 0, err
		}
		defer f.Close()
		for lines := bufio.NewScanner(f); lines.Scan(); {
			fields := strings.Fields(lines.Text())
			if len(fields) < 13 || !strings.HasSuffix(fields[1], fmt.Sprintf(":%04X", port)) {
				continue
			}
			n, err := strconv.ParseUint(fields[len(fields)-1], 10, 64)
			if err != nil {
				return 0, fmt.Errorf("%s: %w", name, err)
			}
			sum += n
		}
	}
	return sum, nil
}
