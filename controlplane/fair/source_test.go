package fair

import (
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/netopt/attr"
)

// Whose a request is: X-Forwarded-For counts as far as trusted proxies wrote it.
func TestSource(t *testing.T) {
	const proxies = "192.0.2.1\n10.0.0.0/8\n2001:db8:1::/48"
	for _, c := range []struct{ trusted, remote, forwarded, want string }{
		{"", "192.0.2.1:5", "", "192.0.2.1"},
		{"", "[::ffff:192.0.2.1]:5", "", "192.0.2.1"},
		{"", "[fe80::1%eth0]:5", "", "fe80::1"},
		{"", "@", "", "invalid IP"},
		{"", "192.0.2.1:5", "203.0.113.9", "192.0.2.1"}, // nobody is trusted
		{proxies, "192.0.2.2:5", "203.0.113.9", "192.0.2.2"},
		{proxies, "192.0.2.1:5", "", "192.0.2.1"},
		{proxies, "192.0.2.1:5", "203.0.113.9", "203.0.113.9"},
		{proxies, "192.0.2.1:5", "198.51.100.7, 203.0.113.9", "203.0.113.9"}, // the client made the first one up
		{proxies, "192.0.2.1:5", "203.0.113.9, 10.1.2.3", "203.0.113.9"},     // through two proxies
		{proxies, "192.0.2.1:5", "198.51.100.7|203.0.113.9,10.1.2.3", "203.0.113.9"},
		{proxies, "192.0.2.1:5", "10.9.9.9, 10.1.2.3", "10.9.9.9"}, // a client among the proxies
		{proxies, "192.0.2.1:5", "203.0.113.9, nonsense", "192.0.2.1"},
		{proxies, "192.0.2.1:5", "nonsense, 10.1.2.3", "10.1.2.3"},
		{proxies, "192.0.2.1:5", "203.0.113.9:4711", "203.0.113.9"},
		{proxies, "[2001:db8:1::7]:5", "2001:db8:2::1", "2001:db8:2::1"},
		{proxies, "[2001:db8:1::7]:5", "[2001:db8:2::1]:80", "2001:db8:2::1"},
		{proxies, "[::ffff:192.0.2.1]:5", "::ffff:203.0.113.9", "203.0.113.9"},
	} {
		tree := attr.NewTree(&Attrs)
		if err := tree.Set("http/trusted_proxies", c.trusted); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("POST", "/whip/live", nil)
		r.RemoteAddr = c.remote
		for field := range strings.SplitSeq(c.forwarded, "|") {
			if field != "" {
				r.Header.Add("X-Forwarded-For", field)
			}
		}
		if got := Source(tree, r).String(); got != c.want {
			t.Errorf("%s, X-Forwarded-For %q, trusted %q: %s, want %s", c.remote, c.forwarded, c.trusted, got, c.want)
		}
	}
	for _, bad := range []string{"example.net", "192.0.2.0/33", "192.0.2", "*"} {
		if checkPrefix(bad) == nil {
			t.Errorf("%s is taken for a network", bad)
		}
	}
}

// A request that a proxy on this machine passed on is not of this machine.
func TestLocal(t *testing.T) {
	for _, c := range []struct {
		remote, field, value string
		want                 bool
	}{
		{"127.0.0.9:5", "", "", true},
		{"[::1]:5", "", "", true},
		{"[::ffff:127.0.0.1]:5", "", "", true},
		{"127.0.0.1:5", "X-Forwarded", "192.0.2.7", true}, // nobody's
		{"192.0.2.1:5", "", "", false},
		{"192.0.2.1:5", "X-Forwarded-For", "127.0.0.1", false},
		{"@", "", "", false},
		{"127.0.0.1:5", "Forwarded", "for=192.0.2.7", false},
		{"127.0.0.1:5", "Via", "1.1 proxy", false},
		{"127.0.0.1:5", "X-Forwarded-For", "192.0.2.7", false},
		{"127.0.0.1:5", "X-Forwarded-For", "127.0.0.1", false}, // as a client may make it up
		{"127.0.0.1:5", "X-Forwarded-For", "", false},
		{"127.0.0.1:5", "X-Forwarded-Host", "sluice.example", false},
		{"127.0.0.1:5", "X-Forwarded-Proto", "https", false},
		{"[::1]:5", "x-real-ip", "192.0.2.7", false},
	} {
		r := httptest.NewRequest("PUT", "/attr/title", nil)
		r.RemoteAddr = c.remote
		if c.field != "" {
			r.Header.Set(c.field, c.value)
		}
		if got := Local(r); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
}

// FuzzSource holds that nothing a client writes into X-Forwarded-For changes
// whose its request is, whether it comes by the proxy or not.
func FuzzSource(f *testing.F) {
	for _, seed := range []string{"", ",", "198.51.100.7", "192.0.2.1, 192.0.2.1", "[::1]:80", "::ffff:192.0.2.1%x", "192.0.2.1,", "\x00"} {
		f.Add(seed)
	}
	tree := attr.NewTree(&Attrs)
	if err := tree.Set("http/trusted_proxies", "192.0.2.1"); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, written string) {
		r := httptest.NewRequest("POST", "/whip/live", nil)
		for remote, header := range map[string]string{"203.0.113.9:5": written, "192.0.2.1:5": written + ", 203.0.113.9"} {
			r.RemoteAddr = remote
			r.Header.Set("X-Forwarded-For", header)
			if got := Source(tree, r).String(); got != "203.0.113.9" {
				t.Fatalf("from %s with %q it is %s", remote, header, got)
			}
		}
	})
}
