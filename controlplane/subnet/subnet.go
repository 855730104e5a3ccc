// Package subnet says what counts as one source, for every limit of what one source
// may do.
package subnet

import "net/netip"

// Of returns what counts as one source: an IPv4 address or, since whoever
// has one IPv6 address has 2^64 (RFC 4291 section 2.5.1), an IPv6 network.
func Of(source netip.Addr) netip.Prefix {
	bits := 64
	if source.Is4() {
		bits = 32
	}
	prefix, _ := source.Prefix(bits) // the zero address has the zero prefix
	return prefix
}
