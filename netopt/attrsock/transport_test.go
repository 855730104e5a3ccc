package attrsock

import (
	"context"
	"errors"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// serve answers at a socket, and counts the connections.
func serve(t *testing.T, path string, handler http.HandlerFunc) (server *http.Server, dialed *atomic.Int32) {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	dialed = new(atomic.Int32)
	server = &http.Server{Handler: handler, ConnState: func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			dialed.Add(1)
		}
	}}
	go server.Serve(l)
	t.Cleanup(func() { server.Close() })
	return server, dialed
}

func value(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("7\n")) }

func TestConnectionsAreKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr.sock")
	server, dialed := serve(t, path, value)
	c := New(path)
	defer c.Close()
	for range 3 {
		if got, err := c.Get(t.Context(), "a"); got != "7" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
	}
	if dialed.Load() != 1 {
		t.Errorf("three questions took %d connections", dialed.Load())
	}
	// A server that started again closed what is kept.
	server.Close()
	serve(t, path, value)
	if got, err := c.Get(t.Context(), "a"); got != "7" || err != nil {
		t.Errorf("after a restart: %q, %v", got, err)
	}
}

// A change that got no answer may have been made: it is not said again.
func TestNoChangeIsSaidTwice(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr.sock")
	var changes atomic.Int32
	serve(t, path, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			value(w, r)
			return
		}
		changes.Add(1)
		panic(http.ErrAbortHandler) // closes the connection
	})
	c := New(path)
	defer c.Close()
	if _, err := c.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if err := c.Set(t.Context(), "a", "8"); err == nil {
		t.Error("no answer is no error")
	}
	if changes.Load() != 1 {
		t.Errorf("it was said %d times", changes.Load())
	}
}

// deadline is a context of which only the deadline is known, without a timer.
type deadline struct {
	context.Context
	until time.Time
}

func (d deadline) Deadline() (time.Time, bool) { return d.until, true }

func TestWaitsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "attr.sock")
	silent := make(chan struct{})
	serve(t, path, func(w http.ResponseWriter, r *http.Request) {
		w.Write([]byte("7"))
		w.(http.Flusher).Flush()
		if r.Header.Get("Accept") != "" {
			<-silent
		}
	})
	defer close(silent)
	c := New(path)
	defer c.Close()
	if _, err := c.Get(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	canceled, cancel := context.WithCancel(t.Context())
	time.AfterFunc(20*time.Millisecond, cancel)
	timed, done := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer done()
	for _, w := range []struct {
		what string
		ctx  context.Context
		want error
	}{
		{"canceled", canceled, context.Canceled},
		{"timed", timed, context.DeadlineExceeded},
		{"by the kernel", deadline{t.Context(), time.Now().Add(20 * time.Millisecond)}, context.DeadlineExceeded},
		{"too late", deadline{t.Context(), time.Now().Add(-time.Second)}, context.DeadlineExceeded},
	} {
		if _, err := c.Entries(w.ctx, ""); !errors.Is(err, w.want) {
			t.Errorf("%s: %v", w.what, err)
		}
	}
	if got, err := c.Get(t.Context(), "a"); got != "7" || err != nil {
		t.Errorf("afterwards: %q, %v", got, err)
	}
}
