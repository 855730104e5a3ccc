// Package host knows the machine the appliance runs on: the addresses at which
// peers can reach it (address.go), and how it is tuned: facts are read
// (machine.go), package tune makes a plan of them, which is carried out
// (apply.go) with a journal that can undo it (journal.go).
package host

import (
	"fmt"
	"net/netip"
	"path"
	"slices"
	"strings"
)

// MaxAddresses is the most addresses that are announced: each one is a line in
// every answer, and checks from every peer.
const MaxAddresses = 16

// wish says which addresses are wanted.
type wish struct {
	listen      netip.Addr   // where media is received; unspecified or the zero Addr for everywhere
	allow, deny []string     // patterns of interface names (path.Match)
	announce    []netip.Addr // addresses that only others can see
}

// networkInterface is a network interface as address discovery sees it.
type networkInterface struct {
	name      string
	up        bool
	loopback  bool
	addresses []address
}

// address is one address of an interface. Passing means temporary (RFC 8981),
// deprecated, or not known to be unique yet (RFC 4862).
type address struct {
	netip.Addr
	passing bool
}

// inner matches interfaces that lead into this machine: bridges and cables of
// containers and virtual machines. No peer outside can use their addresses.
var inner = []string{
	"docker*", "br-*", "veth*", "podman*", "cni*", "nerdctl*", // container engines
	"cali*", "cilium*", "flannel*", "weave*", "kube*", "nodelocaldns*", // Kubernetes
	"lxc*", "lxdbr*", "incusbr*", "virbr*", "vnet*", "vmnet*", "vboxnet*", // virtual machines
}

// choose returns the addresses to announce, best first and each once.
func choose(found []networkInterface, w wish) ([]netip.Addr, error) {
	if err := w.check(); err != nil {
		return nil, err
	}
	var chosen []netip.Addr
	add := func(a netip.Addr) {
		if a = a.Unmap().WithZone(""); !slices.Contains(chosen, a) && len(chosen) < MaxAddresses {
			chosen = append(chosen, a)
		}
	}
	for _, a := range w.announce {
		add(a)
	}
	if w.listen.IsValid() && !w.listen.IsUnspecified() {
		add(w.listen)
		return chosen, nil
	}
	for _, a := range w.collect(found, w.wanted, reachable) {
		add(a)
	}
	if len(chosen) > 0 {
		return chosen, nil
	}
	if len(w.allow) > 0 {
		return nil, fmt.Errorf("ice/interfaces_allow: no interface that is up, has an address and matches %s; the interfaces are %s",
			strings.Join(w.allow, " "), names(found))
	}
	// Alone on the machine: peers can only be here too.
	for _, a := range w.collect(found, isLoopback, netip.Addr.IsLoopback) {
		add(a)
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("no address to announce: set ice/announce; the interfaces are %s", names(found))
	}
	return chosen, nil
}

// check says what is wrong with the wish itself.
func (w *wish) check() error {
	for name, patterns := range map[string][]string{"ice/interfaces_allow": w.allow, "ice/interfaces_deny": w.deny} {
		for _, p := range patterns {
			if err := checkPattern(p); err != nil {
				return fmt.Errorf("%s: %q %w", name, p, err)
			}
		}
	}
	for _, a := range w.announce {
		if err := checkAnnounce(a.String()); err != nil {
			return fmt.Errorf("ice/announce: %q %w", a, err)
		}
	}
	return nil
}

// collect returns the addresses of a family we listen on, of interfaces that are
// up and pass one test, that pass the other.
func (w *wish) collect(found []networkInterface, which func(*networkInterface) bool, good func(netip.Addr) bool) (all []netip.Addr) {
	for _, i := range found {
		if !i.up || !which(&i) {
			continue
		}
		for _, a := range i.addresses {
			if !a.passing && good(a.Unmap()) && w.hears(a.Unmap()) {
				all = append(all, a.Addr)
			}
		}
	}
	return all
}

// hears reports whether what is sent to a arrives: the IPv6 wildcard takes both
// families, the IPv4 one its own.
func (w *wish) hears(a netip.Addr) bool { return !w.listen.Is4() || a.Is4() }

func (w *wish) wanted(i *networkInterface) bool {
	if len(w.allow) > 0 {
		return match(w.allow, i.name)
	}
	return !i.loopback && !match(inner, i.name) && !match(w.deny, i.name)
}

func isLoopback(i *networkInterface) bool { return i.loopback }

// reachable reports whether a peer that is told the address can use it: not so
// for link-local addresses, which need the name of an interface beside them.
func reachable(a netip.Addr) bool { return a.IsGlobalUnicast() || a.IsLoopback() }

func match(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := path.Match(p, name) // the patterns are checked
		return ok
	})
}

func names(found []networkInterface) string {
	if len(found) == 0 {
		return "none"
	}
	var all []string
	for _, i := range found {
		all = append(all, i.name)
	}
	return strings.Join(all, " ")
}
