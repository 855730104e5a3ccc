package load

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/perf/client"
)

// sink takes what the hub reads for one connection. Its methods run on the hub's goroutine, under the hub's lock.
type sink interface {
	rtp(p []byte, at int64)
	rtcp(p []byte)
	ended(reason string) // the server closed the session or is gone; called at most once
}

// hub reads all sockets in one thread, answers STUN and keeps consent fresh.
type hub struct {
	epfd  int
	batch client.Batch
	stop  chan struct{}
	done  chan struct{}

	mu      sync.Mutex // guards members and whatever the sinks own
	members map[int32]*member
}

type member struct {
	conn  *client.Conn
	sink  sink
	check time.Time // when the next consent check is due
	gone  bool
}

func newHub() (*hub, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	h := &hub{epfd: epfd, stop: make(chan struct{}), done: make(chan struct{}), members: make(map[int32]*member)}
	go h.run()
	return h, nil
}

// add starts to serve a connection; what came early goes to the sink first.
func (h *hub) add(c *client.Conn, s sink) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	m := &member{conn: c, sink: s, check: time.Now().Add(client.CheckInterval)}
	for _, d := range c.Early {
		m.datagram(d)
	}
	c.Early = nil
	h.members[int32(c.FD())] = m
	return unix.EpollCtl(h.epfd, unix.EPOLL_CTL_ADD, c.FD(), &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(c.FD())})
}

// remove ends the service; the connection can be closed afterwards.
func (h *hub) remove(c *client.Conn) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if _, ok := h.members[int32(c.FD())]; ok {
		unix.EpollCtl(h.epfd, unix.EPOLL_CTL_DEL, c.FD(), nil)
		delete(h.members, int32(c.FD()))
	}
}

// locked runs f while no sink is being served.
func (h *hub) locked(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	f()
}

func (h *hub) close() {
	close(h.stop)
	<-h.done
	unix.Close(h.epfd)
}

func (h *hub) run() {
	defer close(h.done)
	const turn = 100 * time.Millisecond
	events := make([]unix.EpollEvent, 64)
	sweep := time.Now()
	for {
		select {
		case <-h.stop:
			return
		default:
		}
		n, _ := unix.EpollWait(h.epfd, events, int(turn.Milliseconds()))
		h.locked(func() {
			for _, ev := range events[:max(n, 0)] {
				h.serve(h.members[ev.Fd])
			}
			if now := time.Now(); now.Sub(sweep) >= turn {
				sweep = now
				h.renewConsent(now)
			}
		})
	}
}

// serve reads one batch; epoll is level-triggered, so the rest has its turn after the other sockets.
func (h *hub) serve(m *member) {
	if m == nil {
		return
	}
	for more := true; more; more = m.conn.Buffered() {
		got, err := m.conn.Recv(&h.batch)
		if err != nil {
			m.end(err.Error())
			return
		}
		for _, d := range got {
			m.datagram(d)
		}
	}
}

func (m *member) datagram(d client.Datagram) {
	switch {
	case client.IsSTUN(d.Data):
		if err := m.conn.HandleSTUN(d.Data); err != nil {
			m.end(err.Error())
		}
	case client.IsAlert(d.Data):
		m.end("server sent a DTLS alert")
	case client.IsDTLS(d.Data):
	case client.IsRTCP(d.Data):
		m.sink.rtcp(d.Data)
	default:
		m.sink.rtp(d.Data, d.At)
	}
}

func (h *hub) renewConsent(now time.Time) {
	for _, m := range h.members {
		if now.Before(m.check) {
			continue
		}
		m.check = now.Add(client.CheckInterval)
		if err := m.conn.Check(); err != nil {
			m.end(err.Error())
		}
	}
}

func (m *member) end(reason string) {
	if !m.gone {
		m.gone = true
		m.sink.ended(reason)
	}
}
