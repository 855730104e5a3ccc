package host

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// Addresses returns the addresses to announce as ICE host candidates, at most
// [MaxAddresses], best first: announce, then those of the network interfaces, or
// listen alone if it is one address and not a wildcard. The zero listen means
// both families.
//
// Of the interfaces that are up, all global and private unicast addresses count.
// Left out are link-local, temporary and deprecated addresses, interfaces whose
// name matches a deny pattern or leads to containers or virtual machines on this
// machine, and loopback, unless there is nothing else. If there are allow
// patterns, they alone say which interfaces count. Patterns are those of
// [path.Match].
//
// It asks the kernel each time, since addresses come and go. It is safe for
// concurrent use.
func Addresses(listen netip.Addr, allow, deny []string, announce []netip.Addr) ([]netip.Addr, error) {
	found, err := interfaces()
	if err != nil {
		return nil, err
	}
	return choose(found, wish{listen, allow, deny, announce})
}

func interfaces() ([]networkInterface, error) {
	all, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing the network interfaces: %w", err)
	}
	// Without the file (no IPv6, no /proc) no address can be told to be passing.
	inet6, _ := os.ReadFile("/proc/net/if_inet6")
	passing := passingAddresses(inet6)
	var found []networkInterface
	for _, i := range all {
		addrs, err := i.Addrs()
		if err != nil {
			continue // it went away meanwhile
		}
		n := networkInterface{name: i.Name, up: i.Flags&net.FlagUp != 0, loopback: i.Flags&net.FlagLoopback != 0}
		for _, a := range addrs {
			prefix, err := netip.ParsePrefix(a.String())
			if err != nil {
				continue
			}
			n.addresses = append(n.addresses, address{prefix.Addr(), passing[prefix.Addr()]})
		}
		found = append(found, n)
	}
	return found, nil
}

// passingAddresses reads /proc/net/if_inet6 (if6_seq_show in the kernel's
// net/ipv6/addrconf.c): address, interface index, prefix length, scope and
// flags in hexadecimal, and the interface's name.
func passingAddresses(inet6 []byte) map[netip.Addr]bool {
	// linux/if_addr.h: IFA_F_TEMPORARY, OPTIMISTIC, DADFAILED, DEPRECATED, TENTATIVE.
	const flags = 0x01 | 0x04 | 0x08 | 0x20 | 0x40
	passing := map[netip.Addr]bool{}
	for s := bufio.NewScanner(bytes.NewReader(inet6)); s.Scan(); {
		f := strings.Fields(s.Text())
		if len(f) != 6 {
			continue
		}
		raw, err := hex.DecodeString(f[0])
		if err != nil || len(raw) != 16 {
			continue
		}
		if have, err := strconv.ParseUint(f[4], 16, 32); err == nil && have&flags != 0 {
			passing[netip.AddrFrom16([16]byte(raw))] = true
		}
	}
	return passing
}
