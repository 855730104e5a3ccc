// Package httpd is what every HTTP listener of the appliance shares: a server
// that slow and oversized clients cannot hold, and refusals as problem
// documents (RFC 9457).
package httpd

import (
	"context"
	"encoding/json"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Requests here are small: an SDP offer, an attribute's value, a page. Nobody
// honest needs longer than this to send one or to take its answer: on a bad line,
// TCP that lost its SYN waits 3 s before it sends a request again, then 6 and 12
// (RFC 6298 section 5.7). How many wait at once, package fair limits. A handler
// that streams moves its own deadline with http.ResponseController; a hijacked
// connection (WebSocket) has none.
const (
	readTimeout    = 30 * time.Second
	writeTimeout   = 30 * time.Second
	idleTimeout    = 60 * time.Second
	maxHeaderBytes = 16 << 10
)

// NewServer returns a server for h with a limit on every wait and on the size
// of headers. What net/http has to say about single connections (failed TLS
// handshakes, for the most part) goes to log at debug level, since anyone can
// cause it. When the server is shut down, contexts of requests are done, so
// that those which last end. The size of bodies is for h to limit, with http.MaxBytesReader.
func NewServer(h http.Handler, log *slog.Logger) *http.Server {
	ctx, end := context.WithCancel(context.Background())
	s := &http.Server{
		BaseContext:    func(net.Listener) context.Context { return ctx },
		Handler:        h,
		ReadTimeout:    readTimeout, // of the head alone too
		WriteTimeout:   writeTimeout,
		IdleTimeout:    idleTimeout,
		MaxHeaderBytes: maxHeaderBytes,
		ErrorLog:       slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	s.RegisterOnShutdown(end)
	return s
}

// Listen opens a TCP listener. For each connection noDelay says whether small
// writes leave at once (TCP_NODELAY, tcp(7)).
func Listen(address string, noDelay func() bool) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	return &listener{l.(*net.TCPListener), noDelay}, nil
}

type listener struct {
	*net.TCPListener
	noDelay func() bool
}

// Accept overrides that of the TCPListener, whose connections have TCP_NODELAY.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	if !l.noDelay() {
		c.SetNoDelay(false) // fails only on a connection that is gone, and then so does the next read
	}
	return c, nil
}

// Problem answers a request with a problem document (RFC 9457 section 3). title
// says what kind of problem it is and is the same each time, or "" for the
// status's own phrase; detail is a sentence about this occurrence that says what
// to do. Further headers (Allow, Retry-After) are set on w before the call.
func Problem(w http.ResponseWriter, status int, title, detail string) {
	if title == "" {
		title = http.StatusText(status)
	}
	body, err := json.Marshal(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail,omitempty"`
	}{title, status, detail})
	if err != nil {
		panic("httpd: strings and an int always marshal: " + err.Error())
	}
	h := w.Header()
	// What describes the answer that was hoped for must not describe this one.
	for _, name := range []string{"Content-Length", "Content-Encoding", "ETag", "Last-Modified"} {
		h.Del(name)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	w.Write(append(body, '\n')) // a client that went away has no one to tell
}
