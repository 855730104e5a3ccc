// Package rig builds and runs the servers that perf/ compares.
package rig

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/perf/janus"
	"sluice/perf/lab"
	"sluice/perf/load"
	"sluice/perf/proc"
)

// startTimeout is how long a server may take to listen.
const startTimeout = 15 * time.Second

// Kind is a server that the rig knows.
type Kind struct {
	Name   string
	source string // package of the command, or its one C file
	libs   []string
	args   func(addrs) []string
	admin  bool   // serves /metrics and profiles on the admin address
	bare   bool   // has no sessions (client.DialBare)
	url    string // of a server that runs already; nothing is built or started then
	built  string // the binary, where it is there already

	installed string // the binary of one that a package of the distribution brings, instead of source
	launch    func(ctx context.Context, k Kind, place Place, log io.Writer) (*Server, error)
}

// token lets this process write attributes in the lab, where it is another machine to the server.
const token = "perf"

// addrs are where a server is told to listen.
type addrs struct{ http, admin, media string }

var kinds = []Kind{
	{
		Name: "sluice", source: "./cmd/appliance", admin: true,
		args: func(a addrs) []string {
			// Defaults, whatever this machine is configured to, and no demo stream: the baseline plays none either.
			return []string{"run", "--config", "/nonexistent", "--set", "demo/stream=off", "--set", "admin/socket=off", "--set", "admin/token=" + token, "--https", "off",
				"--http", a.http, "--admin", a.admin, "--media", a.media}
		},
	},
	{
		Name: "baseline", source: "./perf/baseline",
		args: func(a addrs) []string { return []string{"-http", a.http} },
	},
	{
		Name: "yardstick", source: "./perf/yardstick", bare: true,
		args: func(a addrs) []string { return []string{"-http", a.http, "-media", a.media} },
	},
	{
		Name: "yardstick-c", source: "perf/yardstick/c/yardstick.c", libs: []string{"-lIPSec_MB", "-lpthread"}, bare: true,
		args: func(a addrs) []string { return []string{"-http", a.http, "-media", a.media} },
	},
	{
		Name: "standin", source: "perf/standin/standin.c", libs: []string{"-lpthread"},
		args: func(a addrs) []string { return []string{"-http", a.http} },
	},
	{
		Name: "floor", source: "./perf/yardstick", bare: true,
		args: func(a addrs) []string { return []string{"-floor", "-http", a.http, "-media", a.media} },
	},
	{Name: "janus", installed: janus.Binary, launch: startJanus},
}

// Lookup finds a server by its name. NAME=URL makes one of a WHIP/WHEP server that runs already: its endpoints are
// URL/whip/STREAM and URL/whep/STREAM, or, where URL has "{}", that with whip and whep in its place. Its cost is not measured, for its process may be anywhere.
// NAME=PATH makes one of another build of Sluice.
func Lookup(name string) (Kind, error) {
	if name, at, ok := strings.Cut(name, "="); ok {
		if strings.Contains(at, "://") {
			return Kind{Name: name, url: at}, nil
		}
		other := kinds[0]
		other.Name, other.built = name, at
		return other, nil
	}
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names[i] = k.Name
	}
	return Kind{}, fmt.Errorf("server %q: want one of %s", name, strings.Join(names, ", "))
}

func (k Kind) binary() string {
	if k.built != "" {
		return k.built
	}
	return filepath.Join("bin", k.Name)
}

// Build compiles the server to bin/NAME, or says how to get one that is not ours. It runs in the root of the module.
func (k Kind) Build(ctx context.Context) error {
	if k.url != "" || k.built != "" {
		return nil
	}
	if k.installed != "" {
		if _, err := os.Stat(k.installed); err != nil {
			return fmt.Errorf("%w: apt-get install %s", err, k.Name)
		}
		return nil
	}
	command := []string{"go", "build", "-o", k.binary(), k.source}
	if k.libs != nil {
		command = append([]string{"gcc", "-O3", "-march=native", "-Wall", "-o", k.binary(), k.source}, k.libs...)
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", k.Name, err, out)
	}
	return nil
}

// Optional says that a comparison can do without the server where it cannot be built: it needs what not every machine has.
func (k Kind) Optional() bool { return k.libs != nil || k.installed != "" }

// Place is where a server runs: on loopback when Lab is nil.
type Place struct {
	Lab   *lab.Lab
	Apart bool // on a processor that nothing of ours uses (proc.Apart); not for one that is installed
}

// addrs are free on loopback; a lab is empty, so any port is.
func (p Place) addrs() (a addrs, err error) {
	if p.Lab != nil {
		at := func(port uint16) string { return netip.AddrPortFrom(lab.Server, port).String() }
		return addrs{at(8080), at(9080), at(8189)}, nil
	}
	for _, addr := range []*string{&a.http, &a.admin, &a.media} {
		if *addr, err = proc.FreeAddr(); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (p Place) within() func(func() error) error {
	if p.Lab != nil {
		return p.Lab.Within
	}
	return proc.Here
}

// Server is a running server.
type Server struct {
	*proc.Server // nil when it is not ours
	kind         Kind
	http, admin  string
	lab          *lab.Lab
	closing      func() // ends what we have beside the process; may be nil
}

// Start runs the server that was built, on free ports, with arguments of the caller's behind its own. What it prints goes to log.
func (k Kind) Start(ctx context.Context, place Place, log io.Writer, extra ...string) (*Server, error) {
	if k.url != "" {
		return &Server{kind: k}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if k.launch != nil {
		return k.launch(ctx, k, place, log)
	}
	a, err := place.addrs()
	if err != nil {
		return nil, err
	}
	command := append([]string{k.binary()}, k.args(a)...)
	within, together := place.within(), func() error { return nil }
	if place.Apart {
		if within, together, err = proc.Apart(within); err != nil {
			return nil, err
		}
	}
	p, err := proc.Start(ctx, within, a.http, log, append(command, extra...)...)
	if err != nil {
		return nil, errors.Join(err, together())
	}
	s := &Server{Server: p, kind: k, http: a.http, lab: place.Lab, closing: func() { together() }}
	if k.admin {
		s.admin = a.admin
	}
	return s, nil
}

// Stop ends the server if it is ours.
func (s *Server) Stop() {
	if s.Server != nil {
		s.Server.Stop()
	}
	if s.closing != nil {
		s.closing()
	}
}

// Target is a stream of the server.
func (s *Server) Target(stream string) load.Target {
	if s.Server == nil {
		return load.Target{WHIP: s.endpoint("whip", stream), WHEP: s.endpoint("whep", stream)}
	}
	base := "http://" + s.http
	t := load.Target{WHIP: base + "/whip/" + stream, WHEP: base + "/whep/" + stream, PID: s.PID(), Bare: s.kind.bare}
	if s.lab != nil {
		t.Drop = s.lab // only when there is one: a nil pointer in an interface is not nil
	}
	if s.admin != "" {
		t.Inside = s.inside
	}
	return t
}

func (s *Server) endpoint(what, stream string) string {
	if strings.Contains(s.kind.url, "{}") {
		return strings.ReplaceAll(s.kind.url, "{}", what)
	}
	return strings.TrimSuffix(s.kind.url, "/") + "/" + what + "/" + stream
}

// AttrURL is where an attribute of the server is read and, by PUT, written. The stand-ins take theirs in the same way, at the
// address of their service.
func (s *Server) AttrURL(path string) string {
	return "http://" + cmp.Or(s.admin, s.http) + "/attr/" + path
}

// Set writes an attribute of the running server.
func (s *Server) Set(ctx context.Context, path, value string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, s.AttrURL(path), strings.NewReader(value))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if answer, _ := io.ReadAll(resp.Body); resp.StatusCode/100 != 2 {
		return fmt.Errorf("%s=%s: status %d: %s", path, value, resp.StatusCode, answer)
	}
	return nil
}

// Profile reads a CPU profile of some seconds, gzipped, from a server that has an admin listener; it is nil for others.
func (s *Server) Profile(ctx context.Context, seconds int) ([]byte, error) {
	if s.admin == "" {
		return nil, nil
	}
	url := fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.admin, seconds)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: status %d", url, resp.StatusCode)
	}
	return io.ReadAll(resp.Body)
}

// Scrape reads /metrics whole, as Prometheus does, each time so long after the last, until ctx is done. It returns how many
// times it did, and why it could not.
func (s *Server) Scrape(ctx context.Context, every time.Duration) (n int, err error) {
	for tick := time.NewTicker(every); ; n++ {
		select {
		case <-ctx.Done():
			tick.Stop()
			return n, nil
		case <-tick.C:
		}
		if err := s.scrape(ctx); err != nil && ctx.Err() == nil {
			return n, err
		}
	}
}

func (s *Server) scrape(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.admin+"/metrics", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("/metrics: status %d", resp.StatusCode)
	}
	return nil
}

// inside reads what all shards together tell in /picture.
func (s *Server) inside() (all load.Inside, err error) {
	resp, err := http.Get("http://" + s.admin + "/picture")
	if err != nil {
		return all, err
	}
	defer resp.Body.Close()
	var picture struct {
		Edges  []int `json:"edges_us"`
		Shards []struct {
			Latency []uint64
			Stages  map[string]float64 `json:"stage_seconds"`
		}
	}
	if err := json.NewDecoder(resp.Body).Decode(&picture); err != nil {
		return all, fmt.Errorf("/picture: %w", err)
	}
	all.Latency = load.Buckets{Edges: picture.Edges, Counts: make([]uint64, len(picture.Edges)+1)}
	for i, shard := range picture.Shards {
		if len(shard.Latency) != len(all.Latency.Counts) {
			return all, fmt.Errorf("/picture: shard %d has %d buckets, want %d", i, len(shard.Latency), len(all.Latency.Counts))
		}
		for j, n := range shard.Latency {
			all.Latency.Counts[j] += n
		}
		for stage, seconds := range shard.Stages {
			if stage != "sleep" && stage != "spin" {
				all.Work += time.Duration(seconds * 1e9)
			}
		}
	}
	return all, nil
}

// Goroutines reads the go_goroutines metric; it is 0 for a server that has no admin listener.
func (s *Server) Goroutines() (int, error) {
	n, err := s.Metric("go_goroutines")
	return int(n), err
}

// Metric reads one series of /metrics, as it is written there with its labels; it is 0 for a server that has no admin listener.
func (s *Server) Metric(series string) (float64, error) {
	if s.admin == "" {
		return 0, nil
	}
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return metric(resp.Body, series)
}

func metric(metrics io.Reader, series string) (float64, error) {
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("/metrics has no %s", series)
}
