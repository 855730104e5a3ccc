package main

import (
	"net"
	"net/http"
	"net/netip"
	"strings"

	"sluice/controlplane/fair"
)

// operatorURL returns where who sends a request reaches the operator's page of the
// admin listener, "" for nowhere that is known: on loopback only this machine does,
// and it is addressed by IP address or as localhost only.
func operatorURL(admin netip.AddrPort, r *http.Request) string {
	at := admin.Addr().Unmap()
	switch {
	case !at.IsValid():
		return ""
	case at.IsLoopback():
		if !fair.Local(r) {
			return ""
		}
	case at.IsUnspecified():
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		var err error
		if at, err = netip.ParseAddr(strings.Trim(host, "[]")); err != nil {
			return ""
		}
	}
	return "http://" + netip.AddrPortFrom(at, admin.Port()).String() + "/"
}
