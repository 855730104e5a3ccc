package certs

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

const (
	// lifetime is the most that browsers take of a certificate that is valid for
	// the web: 398 days (CA/Browser Forum baseline requirements 6.3.2), less one.
	lifetime = 397 * 24 * time.Hour
	// early is how much of it lies in the past at first, for clients whose clock
	// is behind.
	early = 24 * time.Hour
	// spare is how much of it is left when the certificate is replaced.
	spare = 30 * 24 * time.Hour

	fileName = "https.pem" // key and certificate together, so that they always fit
)

// own is a certificate that the appliance makes for itself.
type own struct {
	dir   string
	names func() ([]string, []netip.Addr)
	log   *slog.Logger
	have  *x509.Certificate // nil before the first
}

// renew returns a certificate if there is none yet, or if the last one will end
// soon or lacks a name; else nil. A name that the machine no longer has does no
// harm.
func (o *own) renew() (*tls.Certificate, error) {
	hosts, addrs := o.names()
	now := time.Now()
	if o.have != nil && good(o.have, now, hosts, addrs) {
		return nil, nil
	}
	cert := o.load()
	if cert == nil || !good(cert.Leaf, now, hosts, addrs) {
		text, err := selfSigned(now, hosts, addrs)
		if err != nil {
			return nil, err
		}
		if cert, err = parse(text); err != nil {
			return nil, err
		}
		o.keep(text)
	}
	o.have = cert.Leaf
	return cert, nil
}

// good reports whether the certificate serves for a while and has all names.
func good(c *x509.Certificate, now time.Time, hosts []string, addrs []netip.Addr) bool {
	if now.Before(c.NotBefore) || now.Add(spare).After(c.NotAfter) {
		return false
	}
	for _, h := range hosts {
		if isHost(h) && !slices.Contains(c.DNSNames, strings.ToLower(h)) {
			return false
		}
	}
	for _, a := range addrs {
		if !slices.ContainsFunc(c.IPAddresses, func(ip net.IP) bool { return ip.Equal(a.AsSlice()) }) {
			return false
		}
	}
	return true
}

// load returns the certificate that was kept, nil if there is none to use.
func (o *own) load() *tls.Certificate {
	name := filepath.Join(o.dir, fileName)
	text, err := os.ReadFile(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var cert *tls.Certificate
	if err == nil {
		cert, err = parse(text)
	}
	if err != nil {
		o.log.Warn("the appliance's own HTTPS certificate cannot be read; it makes a new one", "event", "own_certificate_unreadable", "file", name, "error", err)
		return nil
	}
	return cert
}

// keep writes key and certificate so that a crash leaves the old file or the new.
func (o *own) keep(text []byte) {
	if err := replace(filepath.Join(o.dir, fileName), text); err != nil {
		o.log.Info("the appliance's own HTTPS certificate is kept in memory only: browsers will ask again after a restart", "event", "own_certificate_not_kept", "error", err)
	}
}

func replace(name string, text []byte) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "."+filepath.Base(name)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it has been renamed
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func parse(text []byte) (*tls.Certificate, error) {
	cert, err := tls.X509KeyPair(text, text)
	if err != nil {
		return nil, err
	}
	return &cert, nil
}

// selfSigned returns a new key and its certificate in PEM.
func selfSigned(now time.Time, hosts []string, addrs []netip.Addr) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making the HTTPS key: %w", err)
	}
	begin := now.Add(-early).Truncate(time.Second)
	template := &x509.Certificate{
		Subject:               pkix.Name{CommonName: "Sluice"},
		NotBefore:             begin,
		NotAfter:              begin.Add(lifetime - time.Second), // both ends count
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range hosts {
		if isHost(h) {
			template.DNSNames = append(template.DNSNames, strings.ToLower(h))
		}
	}
	for _, a := range addrs {
		template.IPAddresses = append(template.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("making the HTTPS certificate: %w", err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("making the HTTPS key: %w", err)
	}
	var b bytes.Buffer
	err = errors.Join(
		pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}),
		pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	return b.Bytes(), err
}

// isHost reports whether a machine's name can stand in a certificate: letters,
// digits and hyphens between dots (RFC 1123 section 2.1).
func isHost(name string) bool {
	if len(name) > 253 {
		return false
	}
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "-") != label || strings.ContainsFunc(label, notHost) {
			return false
		}
	}
	return true
}

func notHost(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-'
}
