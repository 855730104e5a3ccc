package certs

import (
	"net/netip"
	"os"
	"slices"
	"strings"
)

// MachineNames adds to addresses what else a browser may call this machine:
// localhost, its host name, and the name it has in multicast DNS. It is meant for
// [Config.Names].
func MachineNames(addresses []netip.Addr) ([]string, []netip.Addr) {
	hosts := []string{"localhost"}
	if name, err := os.Hostname(); err == nil && name != "localhost" {
		hosts = append(hosts, name)
		if !strings.Contains(name, ".") {
			hosts = append(hosts, name+".local")
		}
	}
	all := []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()}
	for _, a := range addresses {
		if !slices.Contains(all, a) {
			all = append(all, a)
		}
	}
	return hosts, all
}
