package keying

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"time"
)

// Fingerprint is the hash of a certificate as a description gives it.
type Fingerprint struct {
	Algorithm string // a name of the hash function registry, any case: "sha-256"
	Value     []byte
}

// hashes are the functions that peers may use, the best first. SHA-1 and MD5
// are not among them: RFC 8122 section 5 leaves them to the past.
var hashes = []struct {
	name string
	sum  func([]byte) []byte
}{
	{"sha-512", func(b []byte) []byte { h := sha512.Sum512(b); return h[:] }},
	{"sha-384", func(b []byte) []byte { h := sha512.Sum384(b); return h[:] }},
	{"sha-256", func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }},
}

var (
	errNoHash        = errors.New("the peer's description has no fingerprint by sha-256, sha-384 or sha-512")
	errFingerprint   = errors.New("the peer's certificate is not the one that its description announced")
	errNoCertificate = errors.New("the peer did not prove that it owns a certificate")
)

// check compares a certificate with the fingerprints by the best hash function
// among them; it has to match one of those (RFC 8122 section 5.1).
func check(certificate []byte, announced []Fingerprint) error {
	for _, hash := range hashes {
		err := errNoHash
		for _, f := range announced {
			if !strings.EqualFold(f.Algorithm, hash.name) {
				continue
			}
			if bytes.Equal(f.Value, hash.sum(certificate)) {
				return nil
			}
			err = errFingerprint
		}
		if err == errFingerprint {
			return err
		}
	}
	return errNoHash
}

// NewCertificate makes a self-signed ECDSA P-256 certificate. It says nothing
// about its owner: peers compare its hash only (RFC 8827 section 6.5).
func NewCertificate() (tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keying: make a key: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keying: make a serial number: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: "WebRTC"},
		NotBefore:    time.Now().AddDate(0, 0, -1), // peers' clocks differ
		NotAfter:     time.Now().AddDate(10, 0, 0), // longer than any process runs
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("keying: make a certificate: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// fingerprintOf returns the SDP form of a certificate's hash, for the kind of
// certificate that we may show.
func fingerprintOf(certificate tls.Certificate) (string, error) {
	key, ok := certificate.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || key.Curve != elliptic.P256() || len(certificate.Certificate) == 0 {
		return "", errors.New("keying: Config.Certificate must be an ECDSA P-256 certificate with its key; NewCertificate makes one")
	}
	sum := sha256.Sum256(certificate.Certificate[0])
	return "sha-256 " + strings.ReplaceAll(fmt.Sprintf("% X", sum), " ", ":"), nil
}
