// Package certs holds the certificate of the HTTPS listener: read from files and
// read again when they change, or made by the appliance itself, since a browser
// gives no camera to a page without HTTPS.
package certs

import (
	"crypto/tls"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// StateDir is where a certificate of our own is kept unless told otherwise.
const StateDir = "/var/lib/sluice"

// Config says where the certificate comes from.
type Config struct {
	// CertFile and KeyFile are PEM files: the certificate, followed by those of
	// its issuers, and its key. If both are empty, the appliance makes its own.
	CertFile, KeyFile string

	// StateDir is the directory in which a certificate of our own survives a
	// restart; it is made if need be. In one that cannot be written the
	// certificate is kept in memory, and browsers ask anew after each restart.
	StateDir string

	// Names returns what browsers may call this machine: host names and
	// addresses, for a certificate of our own. It is asked about once a minute,
	// and may be called from any goroutine, one call at a time.
	Names func() (hosts []string, addresses []netip.Addr)

	Log *slog.Logger
}

// Source hands out the certificate that is valid now. It is safe for concurrent
// use.
type Source struct {
	every   time.Duration // between looks at what the certificate comes from
	renew   func() (*tls.Certificate, error)
	log     *slog.Logger
	current atomic.Pointer[tls.Certificate]

	mu      sync.Mutex // of what follows
	looked  time.Time
	trouble string // what the log has been told already
}

// Open returns the source of the certificate. It fails if there is none to begin
// with: files that cannot be read or do not belong together. Later trouble with
// the files goes to the log, and the last good certificate stays.
func Open(cfg Config) (*Source, error) {
	s := &Source{log: cfg.Log}
	switch {
	case cfg.CertFile != "" && cfg.KeyFile != "":
		s.every, s.renew = time.Second, (&files{cert: cfg.CertFile, key: cfg.KeyFile}).renew
	case cfg.CertFile == "" && cfg.KeyFile == "":
		s.every, s.renew = time.Minute, (&own{dir: cfg.StateDir, names: cfg.Names, log: cfg.Log}).renew
	case cfg.KeyFile == "":
		return nil, errors.New("http/key_file is empty, but http/cert_file is not: set both, or neither for a certificate of the appliance's own")
	default:
		return nil, errors.New("http/cert_file is empty, but http/key_file is not: set both, or neither for a certificate of the appliance's own")
	}
	cert, err := s.renew()
	if err != nil {
		return nil, err
	}
	s.current.Store(cert)
	s.looked = time.Now()
	return s, nil
}

// TLS returns the settings of a listener that uses the certificate.
func (s *Source) TLS() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: s.GetCertificate}
}

// GetCertificate returns the certificate for a handshake, as [tls.Config] wants
// it. Where it comes from is looked at in passing: once a second for files, once
// a minute for a certificate of our own. It never fails.
func (s *Source) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if s.mu.TryLock() { // one looks, the others need not wait
		s.look(time.Now())
		s.mu.Unlock()
	}
	return s.current.Load(), nil
}

func (s *Source) look(now time.Time) {
	if now.Sub(s.looked) < s.every {
		return
	}
	s.looked = now
	cert, err := s.renew()
	switch {
	case err != nil && err.Error() != s.trouble:
		s.trouble = err.Error()
		s.log.Error("the HTTPS certificate could not be renewed; the last one stays in use", "event", "certificate_not_renewed", "error", err)
	case err == nil && cert != nil:
		s.trouble = ""
		s.current.Store(cert)
		s.log.Info("the HTTPS certificate is new", "event", "certificate_new", "valid_until", cert.Leaf.NotAfter.UTC())
	}
}
