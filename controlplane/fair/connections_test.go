package fair

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"sluice/netopt/attr"
)

// visitor is one connection to a server.
type visitor struct {
	*testing.T
	conn net.Conn
	in   *bufio.Reader
}

// served reports whether the server answers a request on the connection.
func (v *visitor) served() bool {
	v.Helper()
	v.conn.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := v.conn.Write([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n")); err != nil {
		return false
	}
	resp, err := http.ReadResponse(v.in, nil)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		v.Fatal("neither an answer nor the end of the connection")
	}
	if err != nil {
		return false
	}
	resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// Connections beyond the limits are closed at once, of a source or in all, and
// counted; those there are go on, and when one ends there is room again.
func TestConnections(t *testing.T) {
	tree := newTree(t, map[string]string{"limits/http_connections": "16", "limits/http_source_connections": "10", "http/trusted_proxies": "127.0.0.3"})
	web := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("x")) }))
	web.Config.ConnState = NewConnections(tree).ConnState
	web.Start()
	defer web.Close()
	dial := func(from string) *visitor {
		t.Helper()
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		conn, err := d.Dial("tcp", web.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { conn.Close() })
		return &visitor{t, conn, bufio.NewReader(conn)}
	}
	var there []*visitor
	visit := func(from string, n int) {
		t.Helper()
		for range n {
			v := dial(from)
			if !v.served() {
				t.Fatalf("%s is not served, with %d there", from, len(there))
			}
			there = append(there, v)
		}
	}
	visit("127.0.0.1", 10)
	if dial("127.0.0.1").served() {
		t.Error("one more of the source is served")
	}
	visit("127.0.0.2", 6)
	if dial("127.0.0.2").served() {
		t.Error("one more than there may be is served")
	}
	for i, v := range there {
		if !v.served() {
			t.Errorf("connection %d is not served any more", i)
		}
	}
	metrics(t, tree, map[string]string{"http_connections": "16", "http_refused_connections": "total 1\nsource 1"})
	for _, v := range there[:11] {
		v.conn.Close()
	}
	eventually(t, func() bool { n, _ := tree.Get("http_connections"); return n == "5" })
	visit("127.0.0.3", 11) // a trusted proxy, whose connections are many sources'
	metrics(t, tree, map[string]string{"http_connections": "16", "http_refused_connections": "total 1\nsource 1"})
}

func metrics(t *testing.T, tree *attr.Tree, want map[string]string) {
	t.Helper()
	for path, value := range want {
		if got, err := tree.Get(path); err != nil || got != value {
			t.Errorf("%s is %q, want %q, %v", path, got, value, err)
		}
	}
}

func eventually(t *testing.T, is func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it never is")
		}
	}
}
