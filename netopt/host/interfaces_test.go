package host

import (
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/netopt/host/hosttest"
)

// In a network namespace of its own, the test knows every interface there is.
func TestAddressesInANamespace(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNET) {
		return
	}
	ip := func(args string) {
		t.Helper()
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", args, err, out)
		}
	}
	check := func(listen, want string, allow ...string) {
		t.Helper()
		var at netip.Addr
		if listen != "" {
			at = netip.MustParseAddr(listen)
		}
		got, err := Addresses(at, allow, nil, nil)
		if err != nil || !slices.Equal(got, addresses(want)) {
			t.Errorf("listening at %q, allowing %q: got %v (%v), want %s", listen, allow, got, err, want)
		}
	}
	if got, err := Addresses(netip.Addr{}, nil, nil, nil); err == nil {
		t.Errorf("with loopback down: got %v", got)
	}
	ip("link set lo up")
	check("", "127.0.0.1 ::1")

	ip("link add uplink type veth peer name veth1")
	ip("addr add 192.0.2.1/24 dev uplink")
	ip("addr add 192.0.2.9/24 dev veth1")
	ip("addr add 2001:db8::1/64 dev uplink nodad")
	ip("addr add 2001:db8::2/64 dev uplink nodad preferred_lft 0")
	check("", "127.0.0.1 ::1")

	ip("link set uplink up")
	ip("link set veth1 up")
	check("", "192.0.2.1 2001:db8::1")
	check("::", "192.0.2.1 2001:db8::1")
	check("0.0.0.0", "192.0.2.1")
	check("192.0.2.1", "192.0.2.1")
	check("", "192.0.2.9", "veth*")
}
