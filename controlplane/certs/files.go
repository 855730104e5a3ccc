package certs

import (
	"crypto/tls"
	"fmt"
	"os"
)

// files is a certificate that someone else keeps fresh.
type files struct {
	cert, key string
	seen      [2]os.FileInfo // of the files as they were loaded
}

// renew returns the certificate if either file is not the one that was loaded,
// and nil if both are. A pair that does not fit is tried again: it may be half
// written.
func (f *files) renew() (*tls.Certificate, error) {
	var now [2]os.FileInfo
	for i, name := range []string{f.cert, f.key} {
		info, err := os.Stat(name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", attribute[i], err)
		}
		now[i] = info
	}
	if same(f.seen[0], now[0]) && same(f.seen[1], now[1]) {
		return nil, nil
	}
	cert, err := tls.LoadX509KeyPair(f.cert, f.key)
	if err != nil {
		return nil, fmt.Errorf("http/cert_file %s with http/key_file %s: %w", f.cert, f.key, err)
	}
	f.seen = now
	return &cert, nil
}

var attribute = [2]string{"http/cert_file", "http/key_file"}

// same reports whether a file has not been replaced or written to.
func same(a, b os.FileInfo) bool {
	return a != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
}
