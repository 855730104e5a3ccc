package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// tool is the path of a program that the test packages of the Makefile bring.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s: make deps installs it", name)
	}
	return path
}

// What a fresh appliance exports is without fault to promtool.
func TestPromtoolTakesTheMetrics(t *testing.T) {
	promtool := tool(t, "promtool")
	_, text := get(t, launch(t).admin+"/metrics")
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
	if n := len(text); n > 200_000 {
		t.Errorf("a scrape has %d bytes", n)
	}
}

// A real Prometheus scrapes the appliance: it finds it up, and the series of a
// counter, a gauge, a vector and a histogram.
func TestPrometheusScrapes(t *testing.T) {
	prometheus := tool(t, "prometheus")
	p := launch(t)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := fmt.Sprintf("scrape_configs:\n- job_name: sluice\n  scrape_interval: 1s\n  static_configs:\n  - targets: [%q]\n", strings.TrimPrefix(p.admin, "http://"))
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	server := exec.Command(prometheus, "--config.file", filepath.Join(dir, "prometheus.yml"), "--storage.tsdb.path", filepath.Join(dir, "data"),
		"--web.listen-address", address, "--log.level", "warn")
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	server.Stderr = t.Output()
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	defer server.Wait()
	defer server.Process.Kill()
	for _, query := range []string{
		`up{job="sluice"} == 1`,
		`sluice_rx_packets_total > 0`, // of the demo
		`sluice_ingress_streams`,
		`sluice_loop_seconds_total{stage="sleep"} > 0`,
		`histogram_quantile(0.99, sluice_loop_turn_seconds_bucket) > 0`,
		`sum(sluice_host_cpu_seconds_total) > 0`,
	} {
		awaitSeries(t, address, query)
	}
}

// awaitSeries returns when a query finds something.
func awaitSeries(t *testing.T, address, query string) {
	t.Helper()
	last := "no answer"
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		request, err := http.NewRequest("GET", "http://"+address+"/api/v1/query", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.URL.RawQuery = url.Values{"query": {query}}.Encode()
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			last = err.Error()
			continue
		}
		var answer struct {
			Status string
			Data   struct{ Result []any }
		}
		err = json.NewDecoder(response.Body).Decode(&answer)
		response.Body.Close()
		if err == nil && answer.Status == "success" && len(answer.Data.Result) > 0 {
			return
		}
		last = fmt.Sprintf("%s, %d series, %v", answer.Status, len(answer.Data.Result), err)
	}
	t.Fatalf("Prometheus does not find %s: %s", query, last)
}
