package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"
)

// flightInterval is how long a lost DTLS flight stays lost. Browsers start at 50 ms too, because ICE told them the round-trip time.
const flightInterval = 50 * time.Millisecond

// profiles in order of preference; the GCM profile costs a receiver a fifth of the other one.
func (o Offer) profiles() []dtls.SRTPProtectionProfile {
	if o.CM {
		return []dtls.SRTPProtectionProfile{dtls.SRTP_AES128_CM_HMAC_SHA1_80}
	}
	return []dtls.SRTPProtectionProfile{dtls.SRTP_AEAD_AES_128_GCM, dtls.SRTP_AES128_CM_HMAC_SHA1_80}
}

// handshake runs ICE and DTLS over the connected socket and leaves the SRTP contexts in c.
func (c *Conn) handshake(ctx context.Context, cert tls.Certificate, profiles []dtls.SRTPProtectionProfile) error {
	s, err := newSetupConn(c)
	if err != nil {
		return err
	}
	if err := c.nominate(ctx, s); err != nil {
		s.detach()
		return err
	}
	conn, err := c.dtlsConn(s, cert, profiles)
	if err != nil {
		s.detach()
		return err
	}
	err = conn.HandshakeContext(ctx)
	// Detach before Close, so that the close_notify of a session that has done its work never leaves.
	c.Early = s.detach()
	defer conn.Close()
	if err != nil {
		return fmt.Errorf("DTLS with %s: %w", c.Remote, err)
	}
	return c.takeKeys(conn)
}

func (c *Conn) dtlsConn(s *setupConn, cert tls.Certificate, profiles []dtls.SRTPProtectionProfile) (*dtls.Conn, error) {
	shared := []dtls.Option{
		dtls.WithCertificates(cert),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithInsecureSkipVerify(true), // the fingerprint in the answer takes the place of a chain (RFC 8122)
		dtls.WithVerifyPeerCertificate(c.verify),
	}
	if c.Answer.Active {
		opts := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert)}
		for _, o := range shared {
			opts = append(opts, o)
		}
		return dtls.ServerWithOptions(s, s.LocalAddr(), opts...)
	}
	opts := make([]dtls.ClientOption, 0, len(shared))
	for _, o := range shared {
		opts = append(opts, o)
	}
	return dtls.ClientWithOptions(s, s.LocalAddr(), opts...)
}

func (c *Conn) verify(certs [][]byte, _ [][]*x509.Certificate) error {
	if len(certs) == 0 || !sameFingerprint(c.Answer.Fingerprint, certs[0]) {
		return errors.New("certificate does not have the fingerprint that the answer names")
	}
	return nil
}

func (c *Conn) takeKeys(conn *dtls.Conn) error {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return errors.New("DTLS: no SRTP profile was agreed")
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return errors.New("DTLS: no connection state after the handshake")
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, !c.Answer.Active); err != nil {
		return err
	}
	var err, err2 error
	c.Profile = cfg.Profile
	c.Out, err = srtp.CreateContext(cfg.Keys.LocalMasterKey, cfg.Keys.LocalMasterSalt, cfg.Profile)
	c.In, err2 = srtp.CreateContext(cfg.Keys.RemoteMasterKey, cfg.Keys.RemoteMasterSalt, cfg.Profile)
	return errors.Join(err, err2)
}

// setupConn lends the socket to pion/dtls while the handshake lasts: it hands over DTLS records, answers STUN itself and keeps the
// media that comes early. It reads through a duplicate of the descriptor, because the runtime's poller, which makes deadlines
// possible, must forget the socket afterwards.
type setupConn struct {
	c        *Conn
	file     *os.File
	raw      syscall.RawConn
	detached atomic.Bool
	reading  sync.Mutex // held during a read
	early    []Datagram
}

func newSetupConn(c *Conn) (*setupConn, error) {
	fd, err := unix.FcntlInt(uintptr(c.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("dup", err)
	}
	file := os.NewFile(uintptr(fd), "udp")
	raw, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil, err
	}
	return &setupConn{c: c, file: file, raw: raw}, nil
}

// read takes one datagram into buf; it waits until one is there or the read deadline of the file passes.
func (s *setupConn) read(buf []byte) (d Datagram, err error) {
	if s.c.stream != nil {
		return s.readStream(buf)
	}
	var oob [controlSize]byte
	werr := s.raw.Read(func(fd uintptr) bool {
		var n, oobn int
		n, oobn, _, _, err = unix.Recvmsg(int(fd), buf, oob[:], 0)
		if err == unix.EAGAIN {
			return false
		}
		if err == nil {
			d = Datagram{Data: buf[:n], At: stampOf(oob[:oobn])}
		}
		return true
	})
	if werr != nil {
		return d, werr
	}
	return d, os.NewSyscallError("recvmsg", err)
}

// readStream is read for a connection.
func (s *setupConn) readStream(buf []byte) (Datagram, error) {
	for {
		if p, ok := s.c.stream.next(); ok {
			return Datagram{Data: buf[:copy(buf, p)], At: s.c.stream.at}, nil
		}
		var err error
		werr := s.raw.Read(func(fd uintptr) bool {
			err = s.c.stream.fill(int(fd))
			return err != unix.EAGAIN
		})
		if err := errors.Join(werr, err); err != nil {
			return Datagram{}, err
		}
	}
}

// ReadFrom is pion/dtls' view of the socket.
func (s *setupConn) ReadFrom(buf []byte) (int, net.Addr, error) {
	s.reading.Lock()
	defer s.reading.Unlock()
	for !s.detached.Load() {
		d, err := s.read(buf)
		switch {
		case err != nil:
			return 0, nil, err
		case IsDTLS(d.Data):
			return len(d.Data), s.LocalAddr(), nil
		case IsSTUN(d.Data):
			if err := s.c.HandleSTUN(d.Data); err != nil {
				return 0, nil, err
			}
		default:
			s.early = append(s.early, Datagram{Data: bytes.Clone(d.Data), At: d.At})
		}
	}
	return 0, nil, net.ErrClosed
}

// detach takes the socket back and returns the media that arrived meanwhile. It is idempotent.
func (s *setupConn) detach() []Datagram {
	s.detached.Store(true)
	s.file.SetReadDeadline(time.Unix(1, 0))
	s.reading.Lock()
	defer s.reading.Unlock()
	s.file.Close()
	return s.early
}

// WriteTo sends to the connected peer, whatever the address, until the socket is detached.
func (s *setupConn) WriteTo(p []byte, _ net.Addr) (int, error) {
	if s.detached.Load() {
		return len(p), nil
	}
	return len(p), s.c.Send(p)
}

// Close detaches.
func (s *setupConn) Close() error {
	s.detach()
	return nil
}

// LocalAddr is our address; pion/dtls only compares and prints it.
func (s *setupConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(s.c.Local) }

// SetDeadline sets both deadlines.
func (s *setupConn) SetDeadline(t time.Time) error { return s.SetReadDeadline(t) }

// SetReadDeadline makes a pending ReadFrom return at that time.
func (s *setupConn) SetReadDeadline(t time.Time) error { return s.file.SetReadDeadline(t) }

// SetWriteDeadline does nothing: a UDP write never waits here.
func (s *setupConn) SetWriteDeadline(time.Time) error { return nil }
