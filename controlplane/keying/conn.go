package keying

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"sluice/dataplane/pkt"
)

// What a session may hold. In the queue: a hello split into a few datagrams,
// and the same said again. In a handshake: some twenty times what an honest
// peer says in all, so that retransmissions on a bad line fit and endless
// fragments do not.
const (
	maxQueuedDatagrams = 4
	maxQueuedBytes     = 8 << 10
	maxHandshakeBytes  = 64 << 10
)

var errTooMuch = fmt.Errorf("the peer sent more than %d KiB and no end of its handshake", maxHandshakeBytes>>10)

// packetConn is the net.PacketConn of one handshake: what is pushed is read, what is
// written is sent to where the peer was heard last, but for a server's last
// flight: it is held back until there are keys. Safe for concurrent use.
type packetConn struct {
	role Role
	send func(pkt.Path, []byte)

	mu       sync.Mutex
	changed  sync.Cond // something below, for ReadFrom
	inbox    [][]byte
	received int // bytes, in all
	deadline time.Time
	expiry   *time.Timer // wakes ReadFrom at the deadline
	err      error       // why reading ends

	path  pkt.Path
	muted bool
	kept  kept
}

func newPacketConn(role Role, path pkt.Path, send func(pkt.Path, []byte)) *packetConn {
	c := &packetConn{role: role, path: path, send: send}
	c.changed.L = &c.mu
	return c
}

// pushQueued takes a datagram while the session waits for its turn. It reports
// whether there was room.
func (c *packetConn) pushQueued(path pkt.Path, datagram []byte) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.inbox) == maxQueuedDatagrams || c.received+len(datagram) > maxQueuedBytes {
		return false
	}
	c.push(path, datagram)
	return true
}

// pushRunning takes a datagram while the handshake runs, and ends the handshake
// when that is one too many.
func (c *packetConn) pushRunning(path pkt.Path, datagram []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.received+len(datagram) > maxHandshakeBytes {
		c.end(errTooMuch)
		return
	}
	c.push(path, datagram)
}

func (c *packetConn) push(path pkt.Path, datagram []byte) {
	c.path = path
	c.received += len(datagram)
	c.inbox = append(c.inbox, bytes.Clone(datagram))
	c.changed.Signal()
}

// fail ends the handshake for a reason.
func (c *packetConn) fail(reason error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.end(reason)
}

func (c *packetConn) end(reason error) {
	if c.err == nil {
		c.err = reason
	}
	c.inbox = nil
	c.changed.Signal()
}

// mute makes the connection record what is written, and send nothing any more.
func (c *packetConn) mute() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.muted = true
}

// recorded returns what was recorded. The connection must be muted and closed.
func (c *packetConn) recorded() *kept {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.kept
	k.path = c.path
	return &k
}

// ReadFrom implements net.PacketConn.
func (c *packetConn) ReadFrom(b []byte) (int, net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for {
		switch {
		case c.err != nil:
			return 0, nil, c.err
		case !c.deadline.IsZero() && !time.Now().Before(c.deadline):
			return 0, nil, os.ErrDeadlineExceeded
		case len(c.inbox) > 0:
			n := copy(b, c.inbox[0])
			c.inbox[0] = nil
			c.inbox = c.inbox[1:]
			return n, peerAddr{}, nil
		}
		c.changed.Wait()
	}
}

// WriteTo implements net.PacketConn. It never fails: a datagram may be lost.
func (c *packetConn) WriteTo(b []byte, _ net.Addr) (int, error) {
	if path, sending := c.record(b); sending {
		c.send(path, bytes.Clone(b))
	}
	return len(b), nil
}

// record notes what is about to be sent, and says whether and where to. A server's
// last flight is the only datagram that begins with ChangeCipherSpec; it fits
// into one. The alert written under mute is the close_notify.
func (c *packetConn) record(b []byte) (path pkt.Path, sending bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case b[0] == changeCipherSpec && c.role == Passive && !c.muted:
		c.kept.flight = bytes.Clone(b)
		return c.path, false
	case b[0] == alert && c.muted:
		c.kept.notify = bytes.Clone(b)
	}
	return c.path, !c.muted
}

// Close implements net.PacketConn.
func (c *packetConn) Close() error {
	c.fail(net.ErrClosed)
	return nil
}

// SetReadDeadline implements net.PacketConn.
func (c *packetConn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.expiry != nil {
		c.expiry.Stop()
	}
	c.deadline = t
	if !t.IsZero() {
		c.expiry = time.AfterFunc(time.Until(t), c.wake)
	}
	c.changed.Signal()
	return nil
}

// wake lets ReadFrom look at the clock. It holds the lock, so that it cannot
// come between ReadFrom's look and its wait.
func (c *packetConn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.changed.Broadcast()
}

// SetWriteDeadline implements net.PacketConn. Writing never blocks.
func (c *packetConn) SetWriteDeadline(time.Time) error { return nil }

// SetDeadline implements net.PacketConn.
func (c *packetConn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// LocalAddr implements net.PacketConn.
func (c *packetConn) LocalAddr() net.Addr { return peerAddr{} }

// peerAddr stands where an address is asked for: the path is the Keyer's
// business.
type peerAddr struct{}

func (peerAddr) Network() string { return "punt" }
func (peerAddr) String() string  { return "punt" }
