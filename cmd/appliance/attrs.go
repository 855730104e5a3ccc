package main

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"

	"sluice/controlplane"
	"sluice/controlplane/admin"
	"sluice/controlplane/auth"
	"sluice/controlplane/certs"
	"sluice/controlplane/events"
	"sluice/controlplane/fair"
	"sluice/controlplane/keying"
	"sluice/controlplane/whip"
	"sluice/dataplane"
	"sluice/netopt/attr"
	"sluice/netopt/config"
	"sluice/netopt/host"
	"sluice/netopt/hostmetrics"
)

// attrs declares what belongs to the process as a whole.
var attrs attr.Table

var (
	httpListen = attrs.Text(attr.Decl{
		Path: "http/listen", Mode: attr.Boot, Max: 64, Default: ":8080", Check: checkListen, Since: "0.1",
		Doc: "Address and port of the page and of WHIP and WHEP over HTTP.",
	})
	httpsListen = attrs.Text(attr.Decl{
		Path: "http/tls_listen", Mode: attr.Boot, Max: 64, Default: ":8443", Check: checkListenOrOff, Since: "0.1",
		Doc: `Address and port of the same over HTTPS, or off. Without an address it listens where http/listen does. Browsers
			give a page no camera without HTTPS, except on localhost.`,
	})
	httpNoDelay = attrs.Bool(attr.Decl{
		Path: "http/tcp_nodelay", Mode: attr.RW, Default: "1", Since: "0.1",
		Doc: `Whether what is sent to clients of HTTP and HTTPS leaves at once however small it is (TCP_NODELAY). Without, it waits
			while something before it is not acknowledged (RFC 896). Connections keep what they began with.`,
	})
	adminListen = attrs.Text(attr.Decl{
		Path: "admin/listen", Mode: attr.Boot, Max: 64, Default: "127.0.0.1:9080", Check: checkListen, Since: "0.1",
		Doc: "Address and port of the attribute tree, metrics and health over HTTP. Whoever reaches it reads everything; what writes takes, says admin/token.",
	})
	adminSocket = attrs.Text(attr.Decl{
		Path: "admin/socket", Mode: attr.Boot, Max: 100, Default: "auto", Check: checkSocket, Since: "0.1",
		Doc: `Path of a unix socket with the same as admin/listen, for "sluice attr" and "sluice mount"; off for none. auto is
			/run/sluice/attr.sock, or /run/user/UID/sluice/attr.sock where the user may not make the former. Who may write to the
			socket, its owner and group, may do everything.`,
	})
	mediaListen = attrs.Text(attr.Decl{
		Path: "media/listen", Mode: attr.Boot, Max: 64, Default: ":8189", Check: checkListen, Since: "0.1",
		Doc: "Address and port of all media, over UDP. One address in place of all saves naming it with each message that is sent.",
	})
	demoStream = attrs.Text(attr.Decl{
		Path: "demo/stream", Mode: attr.Boot, Max: 64, Default: "demo", Check: whip.CheckStream, Since: "0.1",
		Doc: "Name of the built-in stream; off for none.",
	})
	hostMetrics = attrs.Bool(attr.Decl{
		Path: "host/metrics", Mode: attr.Boot, Default: "1", Since: "0.1",
		Doc: "Whether the metrics below host are filled. Switch them off where a node exporter says the same.",
	})
	logLevel = attrs.Enum(attr.Decl{
		Path: "log/level", Values: []string{"info", "debug", "warn", "error"}, Since: "0.1",
		Doc: "The least important messages that are logged.",
	})
)

// tables returns every declaration of the appliance.
func tables() []*attr.Table {
	return []*attr.Table{
		&attrs, &controlplane.Attrs, &auth.Attrs, &dataplane.Attrs, &keying.Attrs, &host.Attrs, &hostmetrics.Attrs, &events.Attrs, &certs.Attrs, &fair.Attrs, &whip.Attrs,
		&admin.Attrs, &config.Attrs,
	}
}

// parseListen reads "ADDRESS:PORT" or ":PORT", which is every address.
func parseListen(s string) (netip.AddrPort, error) {
	if strings.HasPrefix(s, ":") {
		s = "[::]" + s
	}
	return netip.ParseAddrPort(s)
}

func checkListen(s string) error {
	if _, err := parseListen(s); err != nil {
		return fmt.Errorf("is not ADDRESS:PORT or :PORT, such as 192.0.2.1:8080 or :8080")
	}
	return nil
}

func checkSocket(s string) error {
	if s != "auto" && s != "off" && !filepath.IsAbs(s) {
		return errors.New("is not an absolute path, auto or off")
	}
	return nil
}

func checkListenOrOff(s string) error {
	if s == "off" {
		return nil
	}
	return checkListen(s)
}
