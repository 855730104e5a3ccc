package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"
	"time"

	"sluice/bpf/steer"
	"sluice/controlplane"
	"sluice/controlplane/admin"
	"sluice/controlplane/certs"
	"sluice/controlplane/events"
	"sluice/controlplane/fair"
	"sluice/controlplane/httpd"
	"sluice/controlplane/whip"
	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
	"sluice/netopt/config"
	"sluice/netopt/host"
	"sluice/netopt/hostmetrics"
	"sluice/web"
)

// The layers of the persistent tree: what an image or a package sets beside the
// defaults, and what the operator does.
const (
	vendorDir = "/usr/lib/sluice"
	configDir = "/etc/sluice"
)

// configure makes the attribute tree: defaults, then the persistent directories,
// then the command line. What a file says wrongly keeps its default: a box that
// starts can be repaired from afar.
func configure(args []string, log *slog.Logger) (tree *attr.Tree, files *config.Config, err error) {
	flags, wishes := runFlags()
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stdout)
		flags.Usage()
		return nil, nil, err
	} else if err != nil {
		return nil, nil, fmt.Errorf("%w; \"sluice run -h\" lists the flags", err)
	}
	if flags.NArg() > 0 {
		return nil, nil, fmt.Errorf("run takes flags only, not %q", flags.Arg(0))
	}
	for _, path := range slices.Sorted(maps.Keys(wishes.short)) {
		if value := *wishes.short[path]; value != "" {
			wishes.sets = append(wishes.sets, path+"="+value)
		}
	}
	held := map[string]string{}
	for _, set := range wishes.sets {
		path, value, ok := strings.Cut(set, "=")
		if !ok {
			return nil, nil, fmt.Errorf("--set %s: is not PATH=VALUE", set)
		}
		held[path] = value
	}
	tree = attr.NewTree(tables()...)
	files = config.Open(config.Options{Tree: tree, Log: log, Layers: []string{vendorDir, wishes.config}, Held: held})
	for _, path := range slices.Sorted(maps.Keys(held)) {
		if err := tree.Set(path, held[path]); err != nil {
			return nil, nil, err
		}
	}
	tree.Freeze()
	return tree, files, nil
}

// wishes are what the command line says.
type wishes struct {
	config string
	short  map[string]*string // by the attribute that a flag is short for
	sets   []string
}

func runFlags() (*flag.FlagSet, *wishes) {
	flags, w := flag.NewFlagSet("sluice run", flag.ContinueOnError), new(wishes)
	flags.SetOutput(io.Discard) // errors are the caller's to show
	flags.StringVar(&w.config, "config", configDir, "directory with one file for each `attribute`")
	w.short = map[string]*string{
		"http/listen":     flags.String("http", "", "`address`:port of the page, WHIP and WHEP (attribute http/listen)"),
		"http/tls_listen": flags.String("https", "", "`address`:port of the same over HTTPS, or off (attribute http/tls_listen)"),
		"admin/listen":    flags.String("admin", "", "`address`:port of attributes, metrics and health (attribute admin/listen)"),
		"media/listen":    flags.String("media", "", "`address`:port of media (attribute media/listen)"),
	}
	flags.Func("set", "`PATH=VALUE` sets any attribute; may be repeated", func(s string) error {
		w.sets = append(w.sets, s)
		return nil
	})
	return flags, w
}

// usageError is a mistake on the command line.
type usageError struct{ error }

func run(args []string) error {
	level := new(slog.LevelVar)
	handler := events.NewHandler(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: level}))
	log := slog.New(handler)
	tree, files, err := configure(args, log)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return usageError{err}
	}
	defer logLevel.Watch(tree, func(name string) { level.UnmarshalText([]byte(name)) })()
	level.UnmarshalText([]byte(logLevel.Get(tree)))
	handler.Follow(tree)
	debug.SetGCPercent(gcPercent)
	a := &appliance{tree: tree, files: files, log: log, signals: make(chan os.Signal, 2)}
	signal.Notify(a.signals, syscall.SIGINT, syscall.SIGTERM)
	signal.Ignore(syscall.SIGPIPE) // a log that nobody reads any more is no reason to end (os/signal, "SIGPIPE")
	if err := a.start(); err != nil {
		a.stop()
		return err
	}
	debug.FreeOSMemory() // the self-test's buffers: more than all that lives
	defer a.watchFiles()()
	a.wait()
	a.stop()
	return nil
}

// gcPercent is how much garbage may stand beside what lives, before it is
// collected. Little lives on the heap and only handshakes make garbage, so
// collecting twice as often as usual costs little and keeps viewers small.
const gcPercent = 50

// appliance is the running process.
type appliance struct {
	tree    *attr.Tree
	files   *config.Config
	log     *slog.Logger
	signals chan os.Signal
	service *controlplane.Service
	servers []*http.Server
	https   netip.AddrPort // where HTTPS listens, zero for nowhere
	admin   netip.AddrPort // where the admin listener does
	endDemo context.CancelFunc
}

func (a *appliance) start() error {
	media, err := parseListen(mediaListen.Get(a.tree))
	if err != nil {
		return err
	}
	a.service, err = controlplane.Start(controlplane.Config{Tree: a.tree, Log: a.log, Listen: media, Candidates: a.candidates, Steering: steer.Attach})
	if err != nil {
		return err
	}
	if hostMetrics.Get(a.tree) {
		a.tree.Collect(hostmetrics.Host{Root: "/"}.Collect)
	}
	ctx, cancel := context.WithCancel(context.Background())
	a.endDemo = cancel
	if name := demoStream.Get(a.tree); name != "off" {
		if err := a.service.PlayDemo(ctx, name); err != nil {
			return err
		}
	}
	if err := a.serveAdmin(); err != nil {
		return err
	}
	return a.servePublic()
}

// candidates returns where peers reach the media port.
func (a *appliance) candidates(listen netip.AddrPort) ([]netip.AddrPort, error) {
	addrs, err := host.FromTree(a.tree, listen.Addr())
	var all []netip.AddrPort
	for _, addr := range addrs {
		all = append(all, netip.AddrPortFrom(addr, listen.Port()))
	}
	return all, err
}

func (a *appliance) serveAdmin() error {
	listener, err := a.listen(adminListen.Get(a.tree))
	if err != nil {
		return fmt.Errorf("admin/listen: %w", err)
	}
	a.admin = netip.MustParseAddrPort(listener.Addr().String())
	a.log.Info("admin", "open", "http://"+reachable(listener.Addr())+"/")
	handler := admin.NewHandler(admin.Options{
		Tree:   a.tree,
		Health: a.service.Health,
		Ready:  func() []string { return append(a.service.Ready(), a.files.Degraded()...) },

		Sessions: a.service.Sessions,
		Session:  func(id string) (any, bool) { return a.service.Inspect(id) },
		Picture:  func() any { return a.service.Picture() },
		Page:     web.OperatorHandler(),
	})
	a.serve(listener, handler, fair.NewConnections(a.tree))
	return a.serveSocket(handler)
}

// serveSocket serves the same on a unix socket. Where it is nobody's wish in
// particular, one that cannot be made is no reason not to start.
func (a *appliance) serveSocket(handler http.Handler) error {
	wish := adminSocket.Get(a.tree)
	if wish == "off" {
		return nil
	}
	listener, err := listenSocket(wish)
	switch {
	case err == nil:
		a.log.Info("socket", "path", listener.Addr())
		a.serve(listener, handler, nil)
	case wish == "auto":
		a.log.Warn(`no unix socket: "sluice attr" will not find this process; set admin/socket`, "error", err)
	default:
		return fmt.Errorf("admin/socket: %w", err)
	}
	return nil
}

func listenSocket(wish string) (net.Listener, error) {
	if wish != "auto" {
		return attrsock.Listen(wish)
	}
	var errs []error
	for _, path := range attrsock.Paths() {
		listener, err := attrsock.Listen(path)
		if err == nil || errors.Is(err, attrsock.ErrInUse) {
			return listener, err
		}
		errs = append(errs, err)
	}
	return nil, errors.Join(errs...)
}

func (a *appliance) servePublic() error {
	listener, err := a.listen(httpListen.Get(a.tree))
	if err != nil {
		return fmt.Errorf("http/listen: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/", web.Handler())
	whip.Register(mux, a.service, a.tree, whip.Info{
		Version: version, Exposed: a.exposed(), HTTPSURL: a.httpsURL,
		OperatorURL: func(r *http.Request) string { return operatorURL(a.admin, r) },
	})
	connections := fair.NewConnections(a.tree)
	if err := a.serveTLS(listener.Addr(), mux, connections); err != nil {
		listener.Close()
		return err
	}
	a.serve(listener, mux, connections)
	if a.exposed() && a.service.Open() {
		a.log.Warn("everyone who reaches this machine may publish and watch: set auth/publish_tokens and auth/watch_tokens (* lets everyone), or listen on 127.0.0.1", "event", "unprotected")
	}
	a.log.Info("ready", "open", "http://"+reachable(listener.Addr())+"/")
	return nil
}

// exposed reports whether other machines reach the public handlers.
func (a *appliance) exposed() bool {
	plain, secure := httpListen.Get(a.tree), httpsListen.Get(a.tree)
	if strings.HasPrefix(secure, ":") || secure == "off" {
		return !onLoopback(plain) // HTTPS is where HTTP is, or nowhere
	}
	return !onLoopback(plain) || !onLoopback(secure)
}

// onLoopback reports whether only this machine reaches an address to listen on.
func onLoopback(listen string) bool {
	addr, err := parseListen(listen)
	return err == nil && addr.Addr().Unmap().IsLoopback()
}

// serveTLS serves the public handlers over HTTPS too. A port that is taken is no
// reason not to start: most of what the appliance does needs no HTTPS.
func (a *appliance) serveTLS(plain net.Addr, handler http.Handler, connections *fair.Connections) error {
	listen := httpsListen.Get(a.tree)
	if listen == "off" {
		return nil
	}
	source, err := certs.Open(a.certificate())
	if err != nil {
		return err
	}
	if strings.HasPrefix(listen, ":") {
		host, _, _ := net.SplitHostPort(plain.String())
		listen = net.JoinHostPort(host, listen[1:])
	}
	listener, err := a.listen(listen)
	if err != nil {
		a.log.Warn("no HTTPS: browsers that are not on this machine will give the page no camera; set http/tls_listen", "error", err)
		return nil
	}
	a.https = netip.MustParseAddrPort(listener.Addr().String())
	a.log.Info("HTTPS", "open", "https://"+reachable(listener.Addr())+"/")
	a.serve(tls.NewListener(listener, source.TLS()), handler, connections)
	return nil
}

// listen opens a TCP port for HTTP.
func (a *appliance) listen(address string) (net.Listener, error) {
	return httpd.Listen(address, func() bool { return httpNoDelay.Get(a.tree) })
}

func (a *appliance) certificate() certs.Config {
	// systemd says where a service may keep its state (systemd.exec(5)).
	c := certs.Config{StateDir: cmp.Or(os.Getenv("STATE_DIRECTORY"), certs.StateDir), Log: a.log, Names: func() ([]string, []netip.Addr) {
		addrs, _ := host.FromTree(a.tree, netip.IPv6Unspecified()) // none is no reason to have no certificate
		return certs.MachineNames(addrs)
	}}
	c.Files(a.tree)
	return c
}

// httpsURL returns where the page that a request asked for is over HTTPS.
func (a *appliance) httpsURL(r *http.Request) string {
	if !a.https.IsValid() || r.Host == "" {
		return ""
	}
	host := r.Host
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return "https://" + net.JoinHostPort(strings.Trim(host, "[]"), fmt.Sprint(a.https.Port())) + "/"
}

// serve serves a listener, whose connections count among others; nil where there is
// no limit.
func (a *appliance) serve(l net.Listener, h http.Handler, among *fair.Connections) {
	server := httpd.NewServer(h, a.log)
	if among != nil {
		server.ConnState = among.ConnState
	}
	a.servers = append(a.servers, server)
	go func() {
		if err := server.Serve(l); err != http.ErrServerClosed {
			a.log.Error("listener failed", "address", l.Addr(), "error", err)
		}
	}()
}

// watchFiles applies what changes in the persistent tree until stop.
func (a *appliance) watchFiles() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := a.files.Watch(ctx); err != nil {
			a.log.Error("configuration files are not watched: changes take effect at the next start", "error", err)
		}
	}()
	return func() { cancel(); <-ended }
}

// wait returns when the process is to end: at once on SIGINT, on SIGTERM when
// sessions have ended or the grace is over, or with a second signal.
func (a *appliance) wait() {
	if <-a.signals == syscall.SIGINT {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), a.service.Grace())
	defer cancel()
	go func() {
		<-a.signals
		cancel()
	}()
	a.service.Drain(ctx)
}

func (a *appliance) stop() {
	if a.endDemo != nil {
		a.endDemo()
	}
	const patience = time.Second // for requests under way
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for _, server := range a.servers {
		server.Shutdown(ctx)
	}
	if a.service != nil {
		a.service.Close()
	}
}

// reachable turns a listening address into one that a browser can open here.
func reachable(addr net.Addr) string {
	listening := netip.MustParseAddrPort(addr.String())
	if listening.Addr().IsUnspecified() {
		return fmt.Sprintf("localhost:%d", listening.Port())
	}
	return listening.String()
}
