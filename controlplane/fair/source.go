package fair

import (
	"errors"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"sluice/netopt/attr"
)

// Source returns the address that a request comes from: behind trusted proxies,
// the last address that none of them vouches for. The zero address stands for all
// that have none, as at a unix socket.
func Source(tree *attr.Tree, r *http.Request) netip.Addr {
	addr := parseSource(r.RemoteAddr)
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0 && trusts(tree, addr); i-- {
		before := parseSource(strings.TrimSpace(hops[i]))
		if !before.IsValid() {
			break
		}
		addr = before
	}
	return addr
}

// hopFields are what proxies add to what they pass on (RFC 7239, RFC 9110 section
// 7.6.3, and those in use without one).
var hopFields = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-IP"}

// Local reports whether a request over TCP comes from this machine, as far as it
// says: one that a proxy on this machine passed on for another comes from loopback
// too, and bears a field that tells.
func Local(r *http.Request) bool {
	passedOn := func(field string) bool { return len(r.Header.Values(field)) > 0 }
	return parseSource(r.RemoteAddr).IsLoopback() && !slices.ContainsFunc(hopFields, passedOn)
}

// parseSource reads an address with or without a port. One that is none, as of a
// Unix socket, gives the zero address: all such share one limit.
func parseSource(text string) netip.Addr {
	if addr, err := netip.ParseAddrPort(text); err == nil {
		return addr.Addr().Unmap().WithZone("")
	}
	addr, _ := netip.ParseAddr(strings.Trim(text, "[]"))
	return addr.Unmap().WithZone("")
}

// trusts reports whether an address is that of a trusted proxy.
func trusts(tree *attr.Tree, addr netip.Addr) bool {
	for _, entry := range trustedProxies.Get(tree) {
		if prefix, err := parsePrefix(entry); err == nil && prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// parsePrefix reads a network, or an address, which is one of its own.
func parsePrefix(entry string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(entry); err == nil {
		return addr.Prefix(addr.BitLen())
	}
	return netip.ParsePrefix(entry)
}

func checkPrefix(entry string) error {
	if _, err := parsePrefix(entry); err != nil {
		return errors.New("is neither an IP address nor a network such as 192.0.2.0/24 or 2001:db8::/32")
	}
	return nil
}
