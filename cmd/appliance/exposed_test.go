package main

import (
	"testing"

	"sluice/netopt/attr"
)

// What only this machine reaches needs no token; HTTPS without an address is where
// HTTP is.
func TestExposed(t *testing.T) {
	for _, c := range []struct {
		plain, secure string
		want          bool
	}{
		{":8080", ":8443", true},
		{"0.0.0.0:8080", "off", true},
		{"192.0.2.1:8080", ":8443", true},
		{"127.0.0.1:8080", ":8443", false},
		{"[::1]:8080", "off", false},
		{"[::ffff:127.0.0.1]:8080", "127.0.0.2:8443", false},
		{"127.0.0.1:8080", "[::]:8443", true},
	} {
		tree := attr.NewTree(tables()...)
		for path, value := range map[string]string{"http/listen": c.plain, "http/tls_listen": c.secure} {
			if err := tree.Set(path, value); err != nil {
				t.Fatal(err)
			}
		}
		if got := (&appliance{tree: tree}).exposed(); got != c.want {
			t.Errorf("HTTP at %s, HTTPS at %s: %v, want %v", c.plain, c.secure, got, c.want)
		}
	}
}
