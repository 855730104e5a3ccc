package host

import (
	"errors"
	"net/netip"
	"path"

	"sluice/netopt/attr"
	"sluice/netopt/tune"
)

// Attrs declares what is announced as ICE candidates.
var Attrs attr.Table

var (
	announceAttr = Attrs.List(attr.Decl{
		Path: "ice/announce", Max: MaxAddresses, Check: checkAnnounce, Since: "0.1",
		Doc: `IP addresses under which peers reach this machine although none of its interfaces has them: the outer address
			of a 1:1 NAT, of a cloud's elastic IP, of a container's host. They come first; the addresses of the interfaces
			follow. The media port must be the same outside and inside. Sessions that exist keep what they were told.`,
	})
	allowAttr = Attrs.List(attr.Decl{
		Path: "ice/interfaces_allow", Max: 64, Check: checkPattern, Since: "0.1",
		Doc: `Names of the network interfaces whose addresses are announced, with * and ? as wildcards. If there are any,
			only these count, whatever ice/interfaces_deny says, container bridges and loopback included. Without
			effect if media is received at one given address: then that one is announced.`,
	})
	denyAttr = Attrs.List(attr.Decl{
		Path: "ice/interfaces_deny", Max: 64, Check: checkPattern, Since: "0.1",
		Doc: `Names of network interfaces whose addresses are not announced, with * and ? as wildcards, besides loopback
			and the bridges and cables of containers and virtual machines, which never are by themselves.`,
	})
)

// Profile is how "sluice doctor" would have the host tuned.
var Profile = Attrs.Enum(attr.Decl{
	Path: "host/profile", Mode: attr.Boot, Values: tune.Profiles, Since: "0.1",
	Doc: `What sluice doctor plans for the machine: default changes what helps everybody; latency gives CPU and energy for
		shorter waits; throughput gives waits for fewer interrupts. The running service changes nothing of the machine.`,
})

// FromTree is [Addresses] by the attributes of a tree.
func FromTree(tree *attr.Tree, listen netip.Addr) ([]netip.Addr, error) {
	var announce []netip.Addr
	for _, s := range announceAttr.Get(tree) {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return nil, err
		}
		announce = append(announce, a)
	}
	return Addresses(listen, allowAttr.Get(tree), denyAttr.Get(tree), announce)
}

func checkAnnounce(s string) error {
	a, err := netip.ParseAddr(s)
	switch {
	case err != nil:
		return errors.New("is not an IP address such as 203.0.113.7 or 2001:db8::7")
	case a.IsUnspecified() || a.IsMulticast() || a.Zone() != "" || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return errors.New("is no address that a peer can send to")
	}
	return nil
}

func checkPattern(s string) error {
	if _, err := path.Match(s, ""); err != nil {
		return errors.New("is not a pattern: a [ has no matching ]")
	}
	return nil
}
