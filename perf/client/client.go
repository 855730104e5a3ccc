// Package client is a WHIP and WHEP client made of nothing but what a server can notice: a UDP socket of its own, an offer as a
// browser writes it, ICE as the controlling full agent, a DTLS handshake and the SRTP keys from it. After Dial nothing runs in the
// background: the caller reads the socket, many of them in one thread, or lets the kernel count and discard the media (FilterRTP).
// That is what makes a load generator cheap enough to share a machine with the server it measures.
package client

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/pion/dtls/v3/pkg/crypto/selfsign"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"
)

// Datagram is what one read of the socket gave.
type Datagram struct {
	Data []byte
	At   int64 // kernel receive time, CLOCK_REALTIME in ns (SO_TIMESTAMPNS, socket(7))
}

// Conn is one session with a server. Its methods are not safe for concurrent use, except that one goroutine may send media through
// Out, Send and SendBatch while another one reads.
type Conn struct {
	Local, Remote netip.AddrPort
	Answer        Answer
	Profile       srtp.ProtectionProfile
	In            *srtp.Context // unprotects what the server sends
	Out           *srtp.Context // protects what we send
	Early         []Datagram    // RTP and RTCP that arrived before Dial returned, oldest first

	fd       int
	stream   *stream // nil with UDP
	bare     bool    // no ICE
	agent    agent
	resource string
	http     *http.Client
}

const deleteTimeout = 2 * time.Second

// StatusError is a refusal by the server.
type StatusError struct {
	Code       int
	Body       string
	RetryAfter string
}

// Error names the status and what the server said about it.
func (e *StatusError) Error() string {
	return fmt.Sprintf("server answered %d: %s", e.Code, strings.TrimSpace(e.Body))
}

// identity is the certificate that all clients of this process share, as tabs of one browser may.
var identity = sync.OnceValues(func() (tls.Certificate, error) { return selfsign.GenerateSelfSigned() })

// Dial posts an offer to a WHIP or WHEP endpoint and returns once SRTP keys are there. The context bounds the whole of it.
func Dial(ctx context.Context, hc *http.Client, endpoint string, o Offer) (*Conn, error) {
	cert, err := identity()
	if err != nil {
		return nil, err
	}
	local := o.Local
	if !local.IsValid() {
		if local, err = localAddr(endpoint); err != nil {
			return nil, err
		}
	}
	fd, bound, err := open(local)
	if err != nil {
		return nil, err
	}
	c := &Conn{Local: bound, fd: fd, http: hc}
	if err := c.establish(ctx, endpoint, o, cert); err != nil {
		// The context may be why it failed; the session at the server must go all the same.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deleteTimeout)
		defer cancel()
		c.Close(ctx)
		return nil, err
	}
	return c, nil
}

func (c *Conn) establish(ctx context.Context, endpoint string, o Offer, cert tls.Certificate) error {
	c.agent.localUfrag, c.agent.localPwd = randomHex(4), randomHex(12)
	offer := o.Text(Transport{
		Addr: c.Local, Ufrag: c.agent.localUfrag, Pwd: c.agent.localPwd, Fingerprint: sha256.Sum256(cert.Certificate[0]),
	})
	body, err := c.post(ctx, endpoint, "application/sdp", offer)
	if err != nil {
		return err
	}
	if c.Answer, err = o.ParseAnswer(body); err != nil {
		return fmt.Errorf("answer of %s: %w", endpoint, err)
	}
	c.agent.remoteUfrag, c.agent.remotePwd = c.Answer.Ufrag, c.Answer.Pwd
	candidates := c.Answer.Candidates
	if o.TCP {
		candidates = c.Answer.TCP
	}
	if c.Remote, err = pick(candidates, c.Local.Addr()); err != nil {
		return err
	}
	if o.TCP {
		err = c.openStream()
	} else {
		err = unix.Connect(c.fd, sockaddr(c.Remote))
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", c.Remote, err)
	}
	return c.handshake(ctx, cert, o.profiles())
}

// post sends the offer and remembers the session resource that Location names (RFC 9725 section 4.2).
func (c *Conn) post(ctx context.Context, endpoint, contentType, offer string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint, strings.NewReader(offer))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", contentType)
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusCreated {
		return nil, &StatusError{Code: resp.StatusCode, Body: string(body), RetryAfter: resp.Header.Get("Retry-After")}
	}
	resource, err := resp.Location()
	if err != nil {
		return nil, fmt.Errorf("answer of %s: %w", endpoint, err)
	}
	c.resource = resource.String()
	return body, nil
}

// FD is the non-blocking socket, connected to Remote. It stays owned by the Conn.
func (c *Conn) FD() int { return c.fd }

// Send sends one datagram.
func (c *Conn) Send(p []byte) error {
	if c.stream != nil {
		return c.stream.send(c.fd, p)
	}
	_, err := unix.Write(c.fd, p)
	return err
}

// Abandon closes the socket and leaves the session at the server to its fate.
func (c *Conn) Abandon() error { return unix.Close(c.fd) }

// Close deletes the session at the server and closes the socket.
func (c *Conn) Close(ctx context.Context) error {
	err := c.leave(ctx)
	return errors.Join(err, unix.Close(c.fd))
}

func (c *Conn) leave(ctx context.Context) error {
	if c.resource == "" {
		return nil
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodDelete, c.resource, nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<20))
	resp.Body.Close()
	if resp.StatusCode/100 != 2 {
		return fmt.Errorf("DELETE %s: status %d", c.resource, resp.StatusCode)
	}
	return nil
}

// IsDTLS says whether a datagram is a DTLS record by its first byte (RFC 7983 section 7). After Dial it is an alert, or the last
// flight once more, which a server sends when ours came twice.
func IsDTLS(p []byte) bool { return len(p) > 0 && p[0] >= 20 && p[0] <= 63 }

// IsAlert says whether a DTLS record is an alert, by its content type (RFC 5246 section 6.2.1).
func IsAlert(p []byte) bool { return len(p) > 0 && p[0] == 21 }

// IsSTUN says whether a datagram is a STUN message by its first byte (RFC 7983 section 7).
func IsSTUN(p []byte) bool { return len(p) > 0 && p[0] <= 3 }

// IsRTCP tells RTCP from RTP in what is neither STUN nor DTLS (RFC 5761 section 4).
func IsRTCP(p []byte) bool { return len(p) > 1 && p[1] >= 192 && p[1] <= 223 }

// localAddr is the address of this machine from which the endpoint's host is reached.
func localAddr(endpoint string) (netip.Addr, error) {
	u, err := url.Parse(endpoint)
	if err != nil {
		return netip.Addr{}, err
	}
	probe, err := net.DialTimeout("udp", net.JoinHostPort(u.Hostname(), "9"), time.Second)
	if err != nil {
		return netip.Addr{}, err
	}
	defer probe.Close()
	return probe.LocalAddr().(*net.UDPAddr).AddrPort().Addr().Unmap(), nil
}

func randomHex(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return hex.EncodeToString(b)
}

func sameFingerprint(want []byte, cert []byte) bool {
	sum := sha256.Sum256(cert)
	return bytes.Equal(want, sum[:])
}
