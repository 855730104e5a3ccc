package load

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
)

// Requests is a load of small HTTP requests: some clients, each of which sends one, waits for the answer and sends the next. As
// many programs do, a client writes the head and the body of a request apart, so that its second write meets Nagle's algorithm
// (RFC 896) and the server's delayed acknowledgement (RFC 1122 section 4.2.3.2).
type Requests struct {
	URL     string // of what is PUT; its host is an IPv4 address with a port
	Body    string
	PID     int // of the server on this machine
	Clients int
	Nagle   bool // clients do not set TCP_NODELAY
	Reuse   bool // a client keeps its connection; otherwise each request has one of its own
	Window  time.Duration
}

// Run carries the load out and counts requests where other loads count packets. A request takes from before its connection is
// made, or its head written, until its answer has been read.
func (q Requests) Run(ctx context.Context) (r Report, err error) {
	r.Plan = Scenario{Clients: q.Clients, WindowS: q.Window.Seconds()}
	before, err := readUsage(q.PID)
	if err != nil {
		return r, err
	}
	end := time.Now().Add(q.Window)
	took := make([]histogram, q.Clients)
	err = each(q.Clients, indices(q.Clients), func(i int) error { return q.client(ctx, end, i, &took[i]) })
	if err != nil {
		return r, err
	}
	after, err := readUsage(q.PID)
	if err != nil {
		return r, err
	}
	var all histogram
	for i := range took {
		all.merge(&took[i])
	}
	c := &r.Counts
	c.Seconds = after.at.Sub(before.at).Seconds()
	c.Sent, c.Due, c.Delivered = all.total, all.total, all.total
	c.Latency = all.summary()
	c.cost(before, after)
	return r, nil
}

// client sends requests until the time is over; one that is under way then does not count.
func (q Requests) client(ctx context.Context, end time.Time, i int, took *histogram) error {
	c := &requester{Requests: q, end: end}
	defer c.hangUp()
	var err error
	if c.request, err = http.NewRequest(http.MethodPut, q.URL, nil); err != nil {
		return err
	}
	// An address for each client: the ports of one do not suffice for a connection a request.
	c.dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 1, byte(1 + i)}), 0))
	for {
		start := time.Now()
		err := c.ask(ctx)
		now := time.Now()
		if !now.Before(end) {
			return ctx.Err()
		}
		if err != nil {
			return err
		}
		took.add(now.Sub(start))
	}
}

// requester is one client.
type requester struct {
	Requests
	end     time.Time
	dialer  net.Dialer
	request *http.Request
	conn    net.Conn // nil for none
	answers *bufio.Reader
}

func (c *requester) ask(ctx context.Context) error {
	if c.conn == nil {
		if err := c.dial(ctx); err != nil {
			return err
		}
	}
	last := ""
	if !c.Reuse {
		last = "Connection: close\r\n"
	}
	head := fmt.Sprintf("PUT %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n%s\r\n", c.request.URL.Path, c.request.URL.Host, len(c.Body), last)
	for _, part := range []string{head, c.Body} {
		if _, err := io.WriteString(c.conn, part); err != nil {
			return err
		}
	}
	answer, err := http.ReadResponse(c.answers, c.request)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode/100 != 2 {
		return fmt.Errorf("PUT %s: status %d", c.URL, answer.StatusCode)
	}
	if !c.Reuse {
		c.hangUp()
	}
	return nil
}

func (c *requester) dial(ctx context.Context) (err error) {
	c.dialer.Deadline = c.end
	if c.conn, err = c.dialer.DialContext(ctx, "tcp4", c.request.URL.Host); err != nil {
		return err
	}
	c.conn.SetDeadline(c.end)
	if c.Nagle {
		err = c.conn.(*net.TCPConn).SetNoDelay(false)
	}
	c.answers = bufio.NewReaderSize(c.conn, 512)
	return err
}

func (c *requester) hangUp() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (h *histogram) merge(other *histogram) {
	for i, n := range other.counts {
		h.counts[i] += n
	}
	h.total += other.total
	h.sum += other.sum
	h.max = max(h.max, other.max)
}
