package httpd

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestProblem(t *testing.T) {
	for _, c := range []struct {
		status        int
		title, detail string
		wantTitle     string
	}{
		{409, "No publisher yet", "Try again in 2 seconds.", "No publisher yet"},
		{403, "", "The Host \"evil\u2028\" is foreign.", "Forbidden"},
		{400, "", "", "Bad Request"},
	} {
		w := httptest.NewRecorder()
		w.Header().Set("ETag", `"stale"`)
		w.Header().Set("Retry-After", "2")
		Problem(w, c.status, c.title, c.detail)
		if w.Code != c.status || w.Header().Get("Content-Type") != "application/problem+json" {
			t.Errorf("%d: got %d, %q", c.status, w.Code, w.Header().Get("Content-Type"))
		}
		if w.Header().Get("ETag") != "" || w.Header().Get("Retry-After") != "2" {
			t.Errorf("%d: headers %v", c.status, w.Header())
		}
		var got struct {
			Type, Title, Detail string
			Status              int
		}
		if err := json.Unmarshal(w.Body.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Title != c.wantTitle || got.Status != c.status || got.Detail != c.detail || got.Type != "" {
			t.Errorf("%d: document %+v", c.status, got)
		}
	}
}

// TCP_NODELAY of a connection is what was wished when it came.
func TestListenNoDelay(t *testing.T) {
	var noDelay bool
	l, err := Listen("127.0.0.1:0", func() bool { return noDelay })
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, want := range []bool{true, false, true} {
		noDelay = want
		peer, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer peer.Close()
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		raw, err := c.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY); err != nil || (got != 0) != want {
				t.Errorf("TCP_NODELAY is %d, %v; want %v", got, err, want)
			}
		})
	}
}

func TestServerRefusesLargeHeaders(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(http.NotFoundHandler(), slog.New(slog.DiscardHandler))
	defer srv.Close()
	go srv.Serve(ln)
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	// net/http allows 4 KiB beyond MaxHeaderBytes.
	go io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nA: "+strings.Repeat("a", maxHeaderBytes+8<<10)+"\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// A server with a zero timeout waits for ever: one forgotten field is an outage.
func TestServerHasEveryTimeout(t *testing.T) {
	srv := NewServer(nil, slog.New(slog.DiscardHandler))
	for name, d := range map[string]int64{
		"ReadTimeout":    int64(srv.ReadTimeout),
		"WriteTimeout":   int64(srv.WriteTimeout),
		"IdleTimeout":    int64(srv.IdleTimeout),
		"MaxHeaderBytes": int64(srv.MaxHeaderBytes),
	} {
		if d <= 0 {
			t.Errorf("%s is unlimited", name)
		}
	}
}

// A client that sends a byte now and then, in the head or in the body of its
// request, is let go, and so is one that never reads.
func TestSlowClientsAreLetGo(t *testing.T) {
	const patience = 50 * time.Millisecond
	large := make([]byte, 16<<20) // more than sockets keep
	srv := NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err == nil {
			w.Write(large)
		}
	}), slog.New(slog.DiscardHandler))
	srv.ReadTimeout, srv.WriteTimeout, srv.IdleTimeout = 2*patience, 4*patience, patience
	closed := make(chan struct{}, 1)
	srv.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer srv.Close()
	go srv.Serve(ln)
	for name, c := range map[string]struct{ start, drip string }{
		"nothing":        {},
		"a slow head":    {"GET / HTTP/1.1\r\nHost: x\r\nA: ", "a"},
		"a slow body":    {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", "a"},
		"slow chunks":    {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\na\r\n"},
		"a slow trailer": {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: ", "a"},
		"a deaf reader":  {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, c.start)
			drip := time.NewTicker(patience / 10)
			defer drip.Stop()
			for late := time.After(30 * time.Second); ; {
				select {
				case <-closed:
					return
				case <-drip.C:
					io.WriteString(conn, c.drip)
				case <-late:
					t.Fatal("the connection is still there")
				}
			}
		})
	}
}
