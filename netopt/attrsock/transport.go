package attrsock

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"syscall"
	"time"
)

// maxIdle is how many connections are kept for the next questions.
const maxIdle = 64

// transport is an http.RoundTripper over a blocking socket: whoever asks waits in the
// kernel, which keeps the deadline too (SO_RCVTIMEO). net/http's own hands what is said
// and what is heard from goroutine to goroutine; on an idle machine each of them, and
// each timer, wakes a thread, and that is most of the time of a question that takes a
// few microseconds to answer (design note 0024). Safe for concurrent use.
type transport struct {
	paths []string // of sockets; the first one that answers

	mu   sync.Mutex
	idle []*conn // the last used one last
}

// conn is a connection, used by one request at a time.
type conn struct {
	file  *os.File
	raw   syscall.RawConn
	buf   *bufio.Reader
	until time.Time // when it is too late; zero is never
}

// RoundTrip implements http.RoundTripper. A question that meets a connection which the
// server has closed is asked again; what changes something is never said twice, so it
// goes by a connection of its own.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		if c := t.take(); c != nil {
			if resp, err := t.exchange(c, req); err == nil || late(err) || req.Context().Err() != nil {
				return resp, err
			}
			t.CloseIdleConnections() // no better than this one
		}
	}
	c, err := t.dial()
	if err != nil {
		return nil, err
	}
	return t.exchange(c, req)
}

func (t *transport) dial() (*conn, error) {
	var errs []error
	for _, path := range t.paths {
		c, err := dial(path)
		if err == nil {
			return c, nil
		}
		errs = append(errs, fmt.Errorf("%s: %w", path, err))
	}
	return nil, fmt.Errorf("%w: %w", ErrDown, errors.Join(errs...))
}

func dial(path string) (*conn, error) {
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	c := &conn{file: os.NewFile(uintptr(fd), path)}
	c.buf = bufio.NewReader(c)
	if c.raw, err = c.file.SyscallConn(); err == nil {
		err = os.NewSyscallError("connect", syscall.Connect(fd, &syscall.SockaddrUnix{Name: path}))
	}
	if err != nil {
		c.file.Close()
		return nil, err
	}
	return c, nil
}

// exchange says a request and reads the head of the answer. The connection is closed, or
// goes back when the body has been read to its end and closed.
func (t *transport) exchange(c *conn, req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	c.until, _ = ctx.Deadline()
	stop := context.AfterFunc(ctx, c.shutdown)
	resp, err := c.exchange(req)
	if err != nil {
		stop()
		c.file.Close()
		return nil, reason(ctx, err)
	}
	resp.Body = &body{ReadCloser: resp.Body, ctx: ctx, done: func(whole bool) {
		if stop() && whole && !resp.Close {
			t.give(c)
		} else {
			c.file.Close()
		}
	}}
	return resp, nil
}

func (c *conn) exchange(req *http.Request) (*http.Response, error) {
	if err := req.Write(c); err != nil {
		return nil, err
	}
	return http.ReadResponse(c.buf, req)
}

// Read implements io.Reader.
func (c *conn) Read(b []byte) (int, error) {
	if err := c.limit(syscall.SO_RCVTIMEO); err != nil {
		return 0, err
	}
	return c.file.Read(b)
}

// Write implements io.Writer.
func (c *conn) Write(b []byte) (int, error) {
	if err := c.limit(syscall.SO_SNDTIMEO); err != nil {
		return 0, err
	}
	return c.file.Write(b)
}

// limit bounds how long the next call waits (socket(7)).
func (c *conn) limit(option int) error {
	var left time.Duration // 0 waits for ever
	if !c.until.IsZero() {
		left = time.Until(c.until)
		if left < time.Microsecond {
			return context.DeadlineExceeded
		}
	}
	wait := syscall.NsecToTimeval(left.Nanoseconds())
	var failed error
	err := c.raw.Control(func(fd uintptr) {
		failed = syscall.SetsockoptTimeval(int(fd), syscall.SOL_SOCKET, option, &wait)
	})
	return errors.Join(err, failed)
}

// shutdown ends whatever waits. It may come late: Control knows what is closed.
func (c *conn) shutdown() {
	c.raw.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_RDWR) })
}

// late reports that the kernel's clock ended a wait.
func late(err error) bool {
	return errors.Is(err, syscall.EAGAIN) || errors.Is(err, context.DeadlineExceeded)
}

// reason returns why a wait ended: for the context where it did.
func reason(ctx context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case late(err):
		return context.DeadlineExceeded
	}
	return err
}

// take returns a connection that is kept, nil if there is none.
func (t *transport) take() *conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle) == 0 {
		return nil
	}
	c := t.idle[len(t.idle)-1]
	t.idle = t.idle[:len(t.idle)-1]
	return c
}

// give keeps a connection for the next question.
func (t *transport) give(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.idle) == maxIdle {
		c.file.Close()
		return
	}
	t.idle = append(t.idle, c)
}

// CloseIdleConnections closes what is kept.
func (t *transport) CloseIdleConnections() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.idle {
		c.file.Close()
	}
	t.idle = nil
}

// body is the body of an answer.
type body struct {
	io.ReadCloser
	ctx   context.Context
	whole bool
	done  func(whole bool)
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		b.whole = true
		return n, err
	}
	if err != nil {
		err = reason(b.ctx, err)
	}
	return n, err
}

// Close implements io.Closer. It reads nothing: what is left ends with the connection.
func (b *body) Close() error {
	if b.done != nil {
		b.done(b.whole)
		b.done = nil
	}
	return nil
}
