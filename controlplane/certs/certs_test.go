package certs

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"sluice/netopt/attr"
)

// rig is a source under test, and what it sees and says.
type rig struct {
	cfg   Config
	said  *bytes.Buffer
	hosts []string
	addrs []netip.Addr
}

func newRig(dir string) *rig {
	r := &rig{
		said:  new(bytes.Buffer),
		hosts: []string{"localhost", "Box", "box.local"},
		addrs: []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("2001:db8::7")},
	}
	r.cfg = Config{
		StateDir: dir,
		Names:    func() ([]string, []netip.Addr) { return r.hosts, r.addrs },
		Log:      slog.New(slog.NewTextHandler(r.said, nil)),
	}
	return r
}

func (r *rig) open(t *testing.T) *Source {
	t.Helper()
	s, err := Open(r.cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func leaf(t *testing.T, s *Source) *x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(nil)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// shake does a handshake as a browser that trusts the certificate and calls the
// machine by that name.
func shake(t *testing.T, s *Source, name string) error {
	t.Helper()
	trusted := x509.NewCertPool()
	trusted.AddCert(leaf(t, s))
	listener, err := tls.Listen("tcp", "127.0.0.1:0", s.TLS())
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			conn.(*tls.Conn).Handshake() // the client says how it went
			conn.Close()
		}
	}()
	conn, err := net.Dial("tcp", listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	return tls.Client(conn, &tls.Config{RootCAs: trusted, ServerName: name}).Handshake()
}

func TestOwnCertificate(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state", "sluice")
	r := newRig(dir)
	s := r.open(t)
	for _, name := range []string{"localhost", "box", "BOX.local", "192.0.2.7", "2001:db8::7"} {
		if err := shake(t, s, name); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := shake(t, s, "elsewhere"); err == nil {
		t.Error("the certificate is good for any name")
	}
	c := leaf(t, s)
	if valid := c.NotAfter.Sub(c.NotBefore) + time.Second; valid > 397*24*time.Hour || c.NotBefore.After(time.Now()) {
		t.Errorf("valid for %v from %v on", valid, c.NotBefore)
	}
	if c.PublicKeyAlgorithm != x509.ECDSA || c.IsCA || c.SerialNumber.BitLen() < 64 {
		t.Errorf("%v key, authority is %v, serial %v", c.PublicKeyAlgorithm, c.IsCA, c.SerialNumber)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("the state directory holds %v (%v)", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != 0o600 {
		t.Errorf("the key has mode %v (%v)", info.Mode(), err)
	}
	if again := leaf(t, newRig(dir).open(t)); !again.Equal(c) {
		t.Error("a restart made another certificate")
	}
	if r.said.Len() > 0 {
		t.Errorf("said %s", r.said)
	}
}

func TestOwnCertificateFollowsNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		r := newRig(dir)
		s := r.open(t)
		first := leaf(t, s)

		r.addrs = r.addrs[:1]
		r.hosts = append(r.hosts, "not_a_name", "-", "")
		time.Sleep(time.Minute)
		if !leaf(t, s).Equal(first) {
			t.Error("an address went, or a name that cannot be named came, and the certificate changed")
		}

		r.addrs = append(r.addrs, netip.MustParseAddr("198.51.100.1"))
		time.Sleep(time.Minute - 1)
		if !leaf(t, s).Equal(first) {
			t.Error("the names were looked at twice in a minute")
		}
		time.Sleep(1)
		second := leaf(t, s)
		if second.Equal(first) || shake(t, s, "198.51.100.1") != nil {
			t.Error("an address came, and the certificate lacks it")
		}
		if !leaf(t, r.open(t)).Equal(second) {
			t.Error("the new certificate was not kept")
		}
		r.hosts = []string{"other"}
		if third := leaf(t, r.open(t)); third.Equal(second) || third.VerifyHostname("other") != nil {
			t.Error("at a start, the kept certificate was taken although it lacks a name")
		}
	})
}

func TestOwnCertificateNeverEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newRig(t.TempDir()).open(t)
		seen := map[string]bool{}
		for begun := time.Now(); time.Since(begun) < 5*365*24*time.Hour; time.Sleep(24 * time.Hour) {
			c := leaf(t, s)
			seen[c.SerialNumber.String()] = true
			if left := time.Until(c.NotAfter); left < 29*24*time.Hour {
				t.Fatalf("a certificate with %v left", left)
			}
		}
		if len(seen) < 5 || len(seen) > 6 {
			t.Errorf("%d certificates in five years", len(seen))
		}
	})
}

// A board without a battery starts in the past and learns the time later; a kept
// certificate may be from a future that was wrong.
func TestOwnCertificateOfAnotherTime(t *testing.T) {
	dir := t.TempDir()
	kept := leaf(t, newRig(dir).open(t))
	synctest.Test(t, func(t *testing.T) { // in the year 2000
		if c := leaf(t, newRig(dir).open(t)); c.Equal(kept) || c.NotBefore.After(time.Now()) {
			t.Errorf("certificate from %v, now is %v", c.NotBefore, time.Now())
		}
	})
	if c := leaf(t, newRig(dir).open(t)); c.NotAfter.Before(time.Now()) {
		t.Errorf("certificate until %v", c.NotAfter)
	}
}

func TestOwnCertificateDamaged(t *testing.T) {
	whole := func() []byte {
		dir := t.TempDir()
		newRig(dir).open(t)
		text, err := os.ReadFile(filepath.Join(dir, fileName))
		if err != nil {
			t.Fatal(err)
		}
		return text
	}()
	for name, text := range map[string][]byte{"empty": {}, "noise": []byte("x\x00"), "half": whole[:len(whole)/2]} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, fileName), text, 0o644); err != nil {
			t.Fatal(err)
		}
		r := newRig(dir)
		c := leaf(t, r.open(t))
		if !strings.Contains(r.said.String(), "cannot be read; it makes a new one") {
			t.Errorf("%s: said %q", name, r.said)
		}
		if !leaf(t, newRig(dir).open(t)).Equal(c) {
			t.Errorf("%s: the new certificate was not kept", name)
		}
		if info, err := os.Stat(filepath.Join(dir, fileName)); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v (%v)", name, info.Mode(), err)
		}
	}
}

func TestOwnCertificateInMemory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(filepath.Join(file, "state")) // cannot be made, even by root
	if err := shake(t, r.open(t), "localhost"); err != nil {
		t.Error(err)
	}
	if !strings.Contains(r.said.String(), "in memory only") {
		t.Errorf("said %q", r.said)
	}
}

// pair writes a certificate for host and its key into dir, and returns it.
func pair(t *testing.T, dir, host string) *x509.Certificate {
	t.Helper()
	text, err := selfSigned(time.Now(), []string{host}, nil)
	if err != nil {
		t.Fatal(err)
	}
	cut := bytes.Index(text, []byte("-----BEGIN PRIVATE KEY"))
	for name, part := range map[string][]byte{"cert": text[:cut], "key": text[cut:]} {
		if err := os.WriteFile(filepath.Join(dir, name), part, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

// move makes dir/cert and dir/key those of from, the way renewal tools do.
func move(t *testing.T, from, dir string, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Rename(filepath.Join(from, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func (r *rig) files(dir string) { r.cfg.CertFile, r.cfg.KeyFile = dir+"/cert", dir+"/key" }

func TestFilesAreReadAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir, next := t.TempDir(), t.TempDir()
		r := newRig("")
		r.files(dir)
		first := pair(t, dir, "one")
		s := r.open(t)
		expect := func(when string, want *x509.Certificate) {
			t.Helper()
			if got := leaf(t, s); !got.Equal(want) {
				t.Errorf("%s: the certificate is that of %v, want %v", when, got.DNSNames, want.DNSNames)
			}
		}
		expect("at first", first)

		second := pair(t, next, "two")
		move(t, next, dir, "cert", "key")
		time.Sleep(time.Second - 1)
		expect("within the second", first)
		time.Sleep(1)
		expect("after a second", second)

		third := pair(t, next, "three")
		move(t, next, dir, "cert")
		for range 3 {
			time.Sleep(time.Second)
			expect("half renewed", second)
		}
		if n := strings.Count(r.said.String(), "could not be renewed"); n != 1 {
			t.Errorf("complained %d times of the same:\n%s", n, r.said)
		}
		move(t, next, dir, "key")
		time.Sleep(time.Second)
		expect("renewed", third)

		if err := os.Remove(filepath.Join(dir, "key")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		expect("without a key", third)
		if !strings.Contains(r.said.String(), "http/key_file") {
			t.Errorf("said %s", r.said)
		}

		fourth := pair(t, dir, "four") // cert is written over in place
		time.Sleep(time.Second)
		expect("written over", fourth)
	})
}

// Kubernetes and ACME clients move a symbolic link.
func TestFilesBehindALink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		root := t.TempDir()
		link, old, fresh := filepath.Join(root, "live"), t.TempDir(), t.TempDir()
		pair(t, old, "one")
		want := pair(t, fresh, "two")
		if err := os.Symlink(old, link); err != nil {
			t.Fatal(err)
		}
		r := newRig("")
		r.files(link)
		s := r.open(t)
		if err := os.Symlink(fresh, link+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(link+".new", link); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := leaf(t, s); !got.Equal(want) {
			t.Errorf("the certificate is that of %v", got.DNSNames)
		}
	})
}

func TestOpenRefuses(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	pair(t, dir, "one")
	pair(t, other, "two")
	for name, tc := range map[string]struct{ cert, key, want string }{
		"no key":      {dir + "/cert", "", "http/key_file is empty"},
		"no cert":     {"", dir + "/key", "http/cert_file is empty"},
		"cert absent": {dir + "/none", dir + "/key", "http/cert_file: stat " + dir + "/none"},
		"key absent":  {dir + "/cert", dir + "/none", "http/key_file: stat " + dir + "/none"},
		"swapped":     {dir + "/key", dir + "/cert", "http/cert_file " + dir + "/key"},
		"mismatch":    {dir + "/cert", other + "/key", "does not match"},
	} {
		r := newRig("")
		r.cfg.CertFile, r.cfg.KeyFile = tc.cert, tc.key
		if _, err := Open(r.cfg); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: error %v, want %q", name, err, tc.want)
		}
	}
}

func TestManyHandshakesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t.TempDir())
		s := r.open(t)
		r.addrs = append(r.addrs, netip.MustParseAddr("198.51.100.1"))
		time.Sleep(time.Minute)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() {
				if c, err := s.GetCertificate(nil); c == nil || err != nil {
					t.Errorf("got %v and %v", c, err)
				}
			})
		}
		wg.Wait()
		if n := strings.Count(r.said.String(), "is new"); n != 1 {
			t.Errorf("renewed %d times", n)
		}
	})
}

func TestAttributes(t *testing.T) {
	tree := attr.NewTree(&Attrs)
	for path, value := range map[string]string{"http/cert_file": "/etc/tls/cert.pem", "http/key_file": "/etc/tls/key.pem"} {
		if err := tree.Set(path, "key.pem"); err == nil {
			t.Errorf("%s takes a relative path", path)
		}
		if err := tree.Set(path, ""); err != nil {
			t.Errorf("%s does not take an empty path: %v", path, err)
		}
		if err := tree.Set(path, value); err != nil {
			t.Error(err)
		}
	}
	var cfg Config
	cfg.Files(tree)
	if cfg.CertFile != "/etc/tls/cert.pem" || cfg.KeyFile != "/etc/tls/key.pem" {
		t.Errorf("got %q and %q", cfg.CertFile, cfg.KeyFile)
	}
}

func TestMachineNames(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	outer := netip.MustParseAddr("203.0.113.7")
	hosts, addrs := MachineNames([]netip.Addr{netip.MustParseAddr("127.0.0.1"), outer})
	if !slices.Contains(hosts, "localhost") || !slices.Contains(hosts, name) {
		t.Errorf("the machine %s is called %v", name, hosts)
	}
	if want := []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback(), outer}; !slices.Equal(addrs, want) {
		t.Errorf("the machine is at %v, want %v", addrs, want)
	}
}

func TestIsHost(t *testing.T) {
	for name, want := range map[string]bool{
		"a": true, "localhost": true, "Box-7.example.org": true, "7": true,
		"": false, ".": false, "a..b": false, "a.": false, "-a": false, "a-": false, "a_b": false, "ä": false, "a b": false, "*.a": false,
		strings.Repeat("a", 63): true, strings.Repeat("a", 64): false, strings.Repeat("a.", 127) + "a": false,
	} {
		if isHost(name) != want {
			t.Errorf("isHost(%q) is %v", name, !want)
		}
	}
}
