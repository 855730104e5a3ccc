package main

import (
	"net/http/httptest"
	"net/netip"
	"testing"
)

// The page tells of the operator's page only who reaches it.
func TestOperatorURL(t *testing.T) {
	for _, c := range []struct{ admin, from, host, forwarded, want string }{
		{"127.0.0.1:9080", "127.0.0.1:5", "localhost:8080", "", "http://127.0.0.1:9080/"},
		{"[::1]:9080", "[::1]:5", "localhost:8080", "", "http://[::1]:9080/"},
		{"127.0.0.1:9080", "192.0.2.7:5", "192.0.2.1:8080", "", ""},
		{"127.0.0.1:9080", "127.0.0.1:5", "sluice.example", "192.0.2.7", ""}, // through a proxy here
		{"[::]:9080", "192.0.2.7:5", "192.0.2.1:8080", "", "http://192.0.2.1:9080/"},
		{"[::]:9080", "[2001:db8::7]:5", "[2001:db8::1]:8080", "", "http://[2001:db8::1]:9080/"},
		{"0.0.0.0:9080", "192.0.2.7:5", "192.0.2.1", "", "http://192.0.2.1:9080/"},
		{"[::]:9080", "192.0.2.7:5", "sluice.example:8080", "", ""}, // it would be refused
		{"[::]:9080", "192.0.2.7:5", "", "", ""},
		{"192.0.2.1:9080", "192.0.2.7:5", "sluice.example", "", "http://192.0.2.1:9080/"},
	} {
		r := httptest.NewRequest("GET", "/api/streams", nil)
		r.RemoteAddr, r.Host = c.from, c.host
		if c.forwarded != "" {
			r.Header.Set("X-Forwarded-For", c.forwarded)
		}
		if got := operatorURL(netip.MustParseAddrPort(c.admin), r); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
		if got := operatorURL(netip.AddrPort{}, r); got != "" {
			t.Errorf("without a listener: %q", got)
		}
	}
}
