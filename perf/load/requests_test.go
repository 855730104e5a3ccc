package load

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// TestRequests counts on the server's side what the clients say they did.
func TestRequests(t *testing.T) {
	for _, reuse := range []bool{false, true} {
		var requests, connections atomic.Int64
		var mu sync.Mutex
		peers := map[string]bool{}
		server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return // the window ended between head and body
			}
			if r.Method != http.MethodPut || r.URL.Path != "/attr/x" || string(body) != "1" {
				t.Errorf("%s %s %q", r.Method, r.URL.Path, body)
			}
			requests.Add(1)
			host, _, _ := net.SplitHostPort(r.RemoteAddr)
			mu.Lock()
			peers[host] = true
			mu.Unlock()
			w.WriteHeader(http.StatusNoContent)
		}))
		server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
			if s == http.StateNew {
				connections.Add(1)
			}
		}
		server.Start()
		const clients = 3
		q := Requests{URL: server.URL + "/attr/x", Body: "1", PID: os.Getpid(), Clients: clients, Reuse: reuse, Window: 200 * time.Millisecond}
		r, err := q.Run(t.Context())
		server.Close()
		if err != nil {
			t.Fatal(err)
		}
		c := r.Counts
		if n := int64(c.Delivered); n < 10 || n > requests.Load() || n < requests.Load()-clients {
			t.Errorf("reuse %v: %d counted, the server had %d", reuse, n, requests.Load())
		}
		if n := connections.Load(); reuse && n != clients || !reuse && n < int64(c.Delivered) {
			t.Errorf("reuse %v: %d connections for %d requests", reuse, n, c.Delivered)
		}
		if len(peers) != clients {
			t.Errorf("%d clients had the addresses %v", clients, peers)
		}
		if c.Latency.Mean <= 0 || c.Latency.Mean > c.Latency.Max || c.CPUSeconds <= 0 || c.Seconds < q.Window.Seconds() {
			t.Errorf("%+v", c)
		}
	}
}

func TestRequestsFail(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	q := Requests{URL: server.URL + "/attr/x", Clients: 1, PID: os.Getpid(), Window: 10 * time.Second}
	if _, err := q.Run(t.Context()); err == nil {
		t.Error("a server that refuses is a success")
	}
}
