package keying

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/md5"
	"crypto/rand"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"strings"
	"testing"

	"github.com/pion/dtls/v3/pkg/crypto/fingerprint"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

func TestFingerprintIsThatOfTheCertificate(t *testing.T) {
	certificate := testCertificate(t)
	k, err := New(Config{
		Certificate: certificate,
		Send:        func(msg.SessionID, pkt.Path, []byte) {},
		Done:        func(msg.SessionID, pkt.Path, msg.Keys, []byte) {},
		Failed:      func(msg.SessionID, error) {},
	})
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(certificate.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	want, err := fingerprint.Fingerprint(parsed, crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	if got := k.Fingerprint(); got != "sha-256 "+strings.ToUpper(want) {
		t.Errorf("got %q, pion has %q", got, want)
	}
}

func TestOnlyP256CertificatesAreTaken(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	good := testCertificate(t)
	for name, certificate := range map[string]tls.Certificate{
		"P-384":          {Certificate: good.Certificate, PrivateKey: p384},
		"no key":         {Certificate: good.Certificate},
		"no certificate": {PrivateKey: good.PrivateKey},
	} {
		if _, err := fingerprintOf(certificate); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestTwoCertificatesDiffer(t *testing.T) {
	a, b := testCertificate(t), testCertificate(t)
	if string(a.Certificate[0]) == string(b.Certificate[0]) || a.PrivateKey.(*ecdsa.PrivateKey).Equal(b.PrivateKey) {
		t.Error("NewCertificate gave the same twice")
	}
}

func TestCheck(t *testing.T) {
	der := []byte("a certificate")
	s256, s384, s512, m5 := sha256.Sum256(der), sha512.Sum384(der), sha512.Sum512(der), md5.Sum(der)
	wrong := make([]byte, 32)
	for name, test := range map[string]struct {
		announced []Fingerprint
		want      error
	}{
		"sha-256":                 {[]Fingerprint{{"sha-256", s256[:]}}, nil},
		"upper case":              {[]Fingerprint{{"SHA-256", s256[:]}}, nil},
		"sha-384":                 {[]Fingerprint{{"sha-384", s384[:]}}, nil},
		"sha-512":                 {[]Fingerprint{{"sha-512", s512[:]}}, nil},
		"second of two":           {[]Fingerprint{{"sha-256", wrong}, {"sha-256", s256[:]}}, nil},
		"unknown beside":          {[]Fingerprint{{"md5", m5[:]}, {"sha-256", s256[:]}}, nil},
		"wrong":                   {[]Fingerprint{{"sha-256", wrong}}, errFingerprint},
		"other function's":        {[]Fingerprint{{"sha-512", s256[:]}}, errFingerprint},
		"cut":                     {[]Fingerprint{{"sha-256", s256[:31]}}, errFingerprint},
		"empty":                   {[]Fingerprint{{"sha-256", nil}}, errFingerprint},
		"the better one is wrong": {[]Fingerprint{{"sha-256", s256[:]}, {"sha-512", wrong}}, errFingerprint},
		"md5 only":                {[]Fingerprint{{"md5", m5[:]}}, errNoHash},
		"none":                    {nil, errNoHash},
		"only the worse is wrong": {[]Fingerprint{{"sha-256", wrong}, {"sha-512", s512[:]}}, nil},
	} {
		if got := check(der, test.announced); got != test.want {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
	}
}
