package e2e

import (
	"context"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

const (
	adminAddr = "127.0.0.1:9080"
	mediaPort = 8189
)

// server is one run of the binary, in the servers' namespace.
type server struct {
	url   string // of the HTTP listener, without a slash at the end
	proc  *process
	ended bool
}

// serve runs the binary on host, with attributes set as PATH=VALUE, until the test ends. The test fails if the
// binary exits before that, or does not exit when asked. Pages may still be
// connected then, so the drain's grace is short.
func (l *lab) serve(t *testing.T, host string, set ...string) *server {
	t.Helper()
	addr := net.JoinHostPort(host, "8080")
	argv := []string{l.binary, "run", "--http", addr, "--admin", ":9080", "--media", net.JoinHostPort(host, strconv.Itoa(mediaPort))}
	for _, s := range append(set, "lifecycle/grace_ms=200") {
		argv = append(argv, "--set", s)
	}
	proc, err := l.servers.start(filepath.Join(t.TempDir(), "server.log"), nil, argv...)
	if err != nil {
		t.Fatal(err)
	}
	s := &server{url: "http://" + addr, proc: proc}
	t.Cleanup(func() {
		s.end(t)
		if t.Failed() {
			t.Logf("the server printed:\n%s", s.proc.tail())
		}
	})
	s.awaitReady(t, l.servers)
	return s
}

// end makes the server drain and exit. It may be called again.
func (s *server) end(t *testing.T) {
	t.Helper()
	if s.ended {
		return
	}
	s.ended = true
	if !s.proc.running() {
		t.Errorf("the server exited by itself: %v", s.proc.cmd.ProcessState)
		return
	}
	if !s.proc.stop(patience) {
		t.Errorf("the server did not exit within %v of SIGTERM", patience)
	}
	if code := s.proc.cmd.ProcessState.ExitCode(); code != 0 {
		t.Errorf("the server's exit status after SIGTERM is %d", code)
	}
}

// awaitReady polls readyz: the binary has no other way to tell.
func (s *server) awaitReady(t *testing.T, ns *netns) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	client := &http.Client{Transport: &http.Transport{DialContext: ns.dial, DisableKeepAlives: true}}
	for s.proc.running() && ctx.Err() == nil {
		if answers(ctx, client, "http://"+adminAddr+"/readyz") {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Fatal("the server never answered /readyz with 200")
}

func answers(ctx context.Context, client *http.Client, url string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return false
	}
	response, err := client.Do(request)
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (s *server) whip(stream string) string { return s.url + "/whip/" + stream }
func (s *server) whep(stream string) string { return s.url + "/whep/" + stream }
