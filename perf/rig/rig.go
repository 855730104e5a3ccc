// Package rig builds and runs the servers that perf/ compares.
package rig

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/perf/load"
	"sluice/perf/proc"
)

// startTimeout is how long a server may take to listen.
const startTimeout = 15 * time.Second

// Kind is a server that the rig knows.
type Kind struct {
	Name   string
	source string // package of the command
	args   func(addrs) []string
	admin  bool // serves /metrics on the admin address
}

// addrs are where a server is told to listen, all on loopback.
type addrs struct{ http, admin, media string }

var kinds = []Kind{
	{
		Name: "sluice", source: "./cmd/appliance", admin: true,
		args: func(a addrs) []string {
			// Defaults, whatever this machine is configured to, and no demo stream: the baseline plays none either.
			return []string{"run", "--config", "/nonexistent", "--set", "demo/stream=off", "--https", "off",
				"--http", a.http, "--admin", a.admin, "--media", a.media}
		},
	},
	{
		Name: "baseline", source: "./perf/baseline",
		args: func(a addrs) []string { return []string{"-http", a.http} },
	},
}

// Lookup finds a server by its name.
func Lookup(name string) (Kind, error) {
	names := make([]string, len(kinds))
	for i, k := range kinds {
		if k.Name == name {
			return k, nil
		}
		names[i] = k.Name
	}
	return Kind{}, fmt.Errorf("server %q: want one of %s", name, strings.Join(names, ", "))
}

func (k Kind) binary() string { return filepath.Join("bin", k.Name) }

// Build compiles the server to bin/NAME. It runs in the root of the module.
func (k Kind) Build(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", k.binary(), k.source)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build %s: %w\n%s", k.Name, err, out)
	}
	return nil
}

// Server is a running server.
type Server struct {
	*proc.Server
	http, admin string
}

// Start runs the server that was built, on free ports, with arguments of the caller's behind its own. What it prints goes to log.
func (k Kind) Start(ctx context.Context, log io.Writer, extra ...string) (*Server, error) {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	var a addrs
	for _, addr := range []*string{&a.http, &a.admin, &a.media} {
		var err error
		if *addr, err = proc.FreeAddr(); err != nil {
			return nil, err
		}
	}
	command := append([]string{k.binary()}, k.args(a)...)
	p, err := proc.Start(ctx, a.http, log, append(command, extra...)...)
	if err != nil {
		return nil, err
	}
	s := &Server{Server: p, http: a.http}
	if k.admin {
		s.admin = a.admin
	}
	return s, nil
}

// Target is a stream of the server.
func (s *Server) Target(stream string) load.Target {
	base := "http://" + s.http
	return load.Target{WHIP: base + "/whip/" + stream, WHEP: base + "/whep/" + stream, PID: s.PID()}
}

// Goroutines reads the go_goroutines metric; it is 0 for a server that has no admin listener.
func (s *Server) Goroutines() (int, error) {
	if s.admin == "" {
		return 0, nil
	}
	resp, err := http.Get("http://" + s.admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	return goroutines(resp.Body)
}

func goroutines(metrics io.Reader) (int, error) {
	lines := bufio.NewScanner(metrics)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			n, err := strconv.ParseFloat(value, 64)
			return int(n), err
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("/metrics has no go_goroutines")
}
