package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sluice/perf/client"
)

// patience is how long anything may take before a test gives up on it.
const patience = 30 * time.Second

// asSluice makes the test binary be the appliance.
const asSluice = "SLUICE_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asSluice) != "" {
		main()
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// command is the appliance with arguments, on no state of this machine's.
func command(t testing.TB, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Env = append(os.Environ(), asSluice+"=1", "STATE_DIRECTORY="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// process is a running appliance.
type process struct {
	testing.TB
	cmd                *exec.Cmd
	http, https, admin string // base URLs; https may be empty
	socket             string
	done               chan struct{}
	err                error

	mu  sync.Mutex
	log bytes.Buffer
}

var opened = regexp.MustCompile(`msg=(ready|admin|HTTPS) open=(\S+)/`)

// launch starts an appliance on free ports of loopback, and waits until it is ready.
func launch(t testing.TB, args ...string) *process {
	t.Helper()
	p := &process{TB: t, done: make(chan struct{}), socket: filepath.Join(t.TempDir(), "attr.sock")}
	p.cmd = command(t, append([]string{
		"run", "--config", filepath.Join(t.TempDir(), "none"), "--http", "127.0.0.1:0", "--https", "127.0.0.1:0",
		"--admin", "127.0.0.1:0", "--media", "127.0.0.1:0", "--set", "dataplane/shards=1",
		"--set", "admin/socket=" + p.socket,
	}, args...)...)
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready := make(chan struct{})
	go p.follow(stderr, ready)
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("the appliance said:\n%s", p.text())
		}
	})
	select {
	case <-ready:
	case <-p.done:
		t.Fatalf("it ended: %v\n%s", p.err, p.text())
	case <-time.After(patience):
		t.Fatal("it is not ready")
	}
	return p
}

// follow reads the log to its end; ready is closed when the appliance says so.
func (p *process) follow(stderr io.Reader, ready chan<- struct{}) {
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		p.mu.Lock()
		fmt.Fprintln(&p.log, lines.Text())
		m := opened.FindStringSubmatch(lines.Text())
		if m != nil {
			*map[string]*string{"ready": &p.http, "admin": &p.admin, "HTTPS": &p.https}[m[1]] = m[2]
		}
		p.mu.Unlock()
		if m != nil && m[1] == "ready" {
			close(ready)
		}
	}
	p.err = p.cmd.Wait()
	close(p.done)
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) signal(s os.Signal) {
	p.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.Fatal(err)
	}
}

// exits waits for the end, which must be a good one.
func (p *process) exits() {
	p.Helper()
	select {
	case <-p.done:
		if p.err != nil {
			p.Errorf("it ended with %v", p.err)
		}
	case <-time.After(patience):
		p.Fatal("it does not end")
	}
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	insecure := &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
	}}
	resp, err := insecure.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// list returns what the page is told.
func (p *process) list(base string) (list struct {
	Streams []struct {
		Name   string
		Live   bool
		Source string
	}
	Version  string
	HTTPSURL string `json:"https_url"`
	Operator string `json:"operator_url"`
}) {
	p.Helper()
	status, body := get(p.TB, base+"/api/streams")
	if err := json.Unmarshal([]byte(body), &list); status != 200 || err != nil {
		p.Fatalf("%d %v %s", status, err, body)
	}
	return list
}

// viewer is a peer that watches the demo.
func (p *process) viewer() *client.Conn {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.Context(), patience)
	defer cancel()
	conn, err := client.Dial(ctx, http.DefaultClient, p.http+"/whep/demo", client.Offer{})
	if err != nil {
		p.Fatal(err)
	}
	p.Cleanup(func() { conn.Abandon() })
	return conn
}

// receives reads the peer's socket until a datagram is as wanted.
func receives(t *testing.T, conn *client.Conn, what string, wanted func([]byte) bool) {
	t.Helper()
	buf := make([]byte, 2048)
	for end := time.Now().Add(patience); time.Now().Before(end); {
		unix.Poll([]unix.PollFd{{Fd: int32(conn.FD()), Events: unix.POLLIN}}, 100)
		for {
			n, err := unix.Read(conn.FD(), buf)
			if err != nil {
				break
			}
			if wanted(buf[:n]) {
				return
			}
		}
	}
	t.Fatalf("no %s came", what)
}

func isAlert(b []byte) bool { return len(b) > 0 && b[0] == 21 } // RFC 5246 section 6.2.1
func isRTP(b []byte) bool {
	return len(b) > 12 && !client.IsDTLS(b) && !client.IsSTUN(b) && !client.IsRTCP(b)
}

// The first start: the page over HTTP and HTTPS, the demo in the list and on
// the wire, figures and health on the admin listener.
func TestFirstStart(t *testing.T) {
	p := launch(t)
	plain := p.list(p.http)
	if len(plain.Streams) != 1 || plain.Streams[0].Name != "demo" || !plain.Streams[0].Live || plain.Streams[0].Source != "built-in" || plain.Version != version {
		t.Errorf("streams: %+v", plain)
	}
	if plain.HTTPSURL != p.https+"/" || p.https == "" {
		t.Errorf("https_url is %q, HTTPS is at %q", plain.HTTPSURL, p.https)
	}
	if plain.Operator != p.admin+"/" {
		t.Errorf("operator_url is %q, the admin listener is at %q", plain.Operator, p.admin)
	}
	if secure := p.list(plain.HTTPSURL[:len(plain.HTTPSURL)-1]); secure.HTTPSURL != plain.HTTPSURL {
		t.Errorf("over HTTPS: %+v", secure)
	}
	for _, base := range []string{p.http, p.https} {
		if status, body := get(t, base+"/"); status != 200 || !strings.Contains(body, "<html") {
			t.Errorf("the page at %s: %d %.60q", base, status, body)
		}
	}
	for path, want := range map[string]string{"/healthz": "", "/readyz": "", "/metrics": "sluice_", "/attr/demo/stream": "demo\n"} {
		if status, body := get(t, p.admin+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %.100q", path, status, body)
		}
	}
	receives(t, p.viewer(), "media", isRTP)
}

// The own certificate names what browsers call this machine, and is kept.
func TestOwnCertificate(t *testing.T) {
	p := launch(t)
	conn, err := tls.Dial("tcp", strings.TrimPrefix(p.https, "https://"), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	leaf := conn.ConnectionState().PeerCertificates[0]
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if err := leaf.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

// What the configuration directory says wrongly keeps its default, and readyz
// says so; the rest counts.
func TestBadConfiguration(t *testing.T) {
	dir := t.TempDir()
	for path, value := range map[string]string{"limits/streams": "many\n", "no/such": "1\n", "limits/sessions": "77\n"} {
		file := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(value), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, "--config", dir)
	status, body := get(t, p.admin+"/readyz")
	if status != 503 || !strings.Contains(body, "limits/streams") || !strings.Contains(body, "no/such") || strings.Contains(body, "limits/sessions") {
		t.Errorf("readyz: %d %s", status, body)
	}
	for path, want := range map[string]string{"/healthz": "", "/attr/limits/sessions": "77\n", "/attr/limits/streams": "1024\n"} {
		if status, body := get(t, p.admin+path); status != 200 || !strings.Contains(body, want) {
			t.Errorf("%s: %d %q", path, status, body)
		}
	}
	p.viewer()
}

// A file changes while the appliance runs: the value follows, and what is wrong
// stands beside the file.
func TestLiveConfiguration(t *testing.T) {
	dir := t.TempDir()
	p := launch(t, "--config", dir)
	becomes := func(path, want string) {
		t.Helper()
		for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
			if _, body := get(t, p.admin+path); strings.Contains(body, want) {
				return
			}
		}
		t.Fatalf("%s does not become %q", path, want)
	}
	write := func(path, value string) {
		t.Helper()
		file := filepath.Join(dir, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(value), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("dataplane/mtu_bytes", "1300\n")
	becomes("/attr/dataplane/mtu_bytes", "1300\n")
	write("streams/line1/title", "Line 1\n")
	becomes("/attr/streams/line1/title", "Line 1\n")
	write("dataplane/mtu_bytes", "9\n")
	becomes("/metrics", "sluice_config_broken_files 1\n")
	if note, err := os.ReadFile(dir + "/dataplane/mtu_bytes.err"); string(note) != "9 is out of range 576..1952\n" {
		t.Errorf("the note says %q (%v)", note, err)
	}
	if status, body := get(t, p.admin+"/readyz"); status != 200 {
		t.Errorf("the last good value is in effect, and yet: %d %s", status, body)
	}
	if err := os.Remove(dir + "/dataplane/mtu_bytes"); err != nil {
		t.Fatal(err)
	}
	becomes("/attr/dataplane/mtu_bytes", "1452\n")
	if err := os.RemoveAll(dir + "/streams"); err != nil {
		t.Fatal(err)
	}
	becomes("/attr/streams/line1/title", "no such attribute")
}

func TestHTTPSPortTaken(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	p := launch(t, "--https", taken.Addr().String())
	if got := p.list(p.http).HTTPSURL; got != "" {
		t.Errorf("https_url is %q", got)
	}
	if !strings.Contains(p.text(), "level=WARN") || !strings.Contains(p.text(), "http/tls_listen") {
		t.Errorf("no warning that names the attribute")
	}
	if status, body := get(t, p.admin+"/readyz"); status != 200 {
		t.Errorf("readyz: %d %s", status, body)
	}
}

func TestOff(t *testing.T) {
	p := launch(t, "--https", "off", "--set", "demo/stream=off")
	if got := p.list(p.http); got.HTTPSURL != "" || len(got.Streams) != 0 || p.https != "" {
		t.Errorf("%+v", got)
	}
}

// SIGTERM: new sessions are refused and told when to come again, those there
// are may go on; the process ends with the last of them.
func TestDrainEndsWithTheLastSession(t *testing.T) {
	p := launch(t, "--set", "lifecycle/grace_ms=3600000")
	viewer := p.viewer()
	p.signal(syscall.SIGTERM)
	for {
		if status, body := get(t, p.admin+"/readyz"); status == 503 && strings.Contains(body, "shutting down") {
			break
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, err := client.Dial(ctx, http.DefaultClient, p.http+"/whep/demo", client.Offer{})
	var refused *client.StatusError
	if !errors.As(err, &refused) || refused.Code != 503 || refused.RetryAfter == "" || !strings.Contains(refused.Body, "shutting down") {
		t.Errorf("a new viewer: %v", err)
	}
	if status, _ := get(t, p.admin+"/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	receives(t, viewer, "media", isRTP)
	if err := viewer.Close(ctx); err != nil {
		t.Error(err)
	}
	p.exits()
}

// After the grace sessions are closed, and told.
func TestDrainEndsWithTheGrace(t *testing.T) {
	p := launch(t, "--set", "lifecycle/grace_ms=300")
	viewer := p.viewer()
	p.signal(syscall.SIGTERM)
	receives(t, viewer, "close_notify", isAlert)
	p.exits()
}

func TestSecondSignalEndsTheDrain(t *testing.T) {
	for _, second := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		p := launch(t, "--set", "lifecycle/grace_ms=3600000")
		viewer := p.viewer()
		p.signal(syscall.SIGTERM)
		for !strings.Contains(p.text(), "draining") {
			time.Sleep(time.Millisecond)
		}
		p.signal(second)
		receives(t, viewer, "close_notify", isAlert)
		p.exits()
	}
}

func TestInterruptDoesNotWait(t *testing.T) {
	p := launch(t, "--set", "lifecycle/grace_ms=3600000")
	viewer := p.viewer()
	p.signal(syscall.SIGINT)
	receives(t, viewer, "close_notify", isAlert)
	p.exits()
}

// Commands that end by themselves: what they say, and what they exit with.
func TestCommandLine(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	run := func(args ...string) []string {
		return append([]string{"run", "--config", filepath.Join(t.TempDir(), "none"), "--http", "127.0.0.1:0", "--https", "off",
			"--admin", "127.0.0.1:0", "--media", "127.0.0.1:0"}, args...)
	}
	for _, test := range []struct {
		args []string
		exit int
		says string
	}{
		{[]string{"version"}, 0, "sluice " + version + "\n"},
		{nil, 2, "sluice run"},
		{[]string{"dance"}, 2, "sluice run"},
		{[]string{"run", "-h"}, 0, "-media"},
		{run("--nonsense"), 2, "nonsense"},
		{run("loose"), 2, `not "loose"`},
		{run("--set", "limits/sessions"), 2, "PATH=VALUE"},
		{run("--set", "limits/sessions=0"), 2, "limits/sessions: 0 is out of range 1..65536"},
		{run("--set", "limits/session=5"), 2, "the nearest is limits/sessions"},
		{run("--set", "log/level=loud"), 2, "log/level"},
		{run("--http", "here"), 2, "http/listen: "},
		{run("--media", "192.0.2.1"), 2, "media/listen: "},
		{run("--set", "demo/stream=a/b"), 2, "demo/stream: "},
		{run("--set", "demo/stream=.."), 2, "demo/stream: "},
		{run("--set", "http/cert_file=/nowhere", "--https", "127.0.0.1:0"), 1, "http/key_file"},
		{run("--http", taken.Addr().String()), 1, "http/listen: "},
		{run("--admin", taken.Addr().String()), 1, "admin/listen: "},
		{run("--media", "192.0.2.1:0"), 1, "192.0.2.1"},
	} {
		cmd := command(t, test.args...)
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		stop := context.AfterFunc(ctx, func() { cmd.Process.Kill() })
		cmd.Run()
		stop()
		cancel()
		if got := cmd.ProcessState.ExitCode(); got != test.exit || !strings.Contains(out.String(), test.says) {
			t.Errorf("%q: exit %d, want %d and %q:\n%s", test.args, got, test.exit, test.says, out.String())
		}
	}
}

// Flags are shorthands, and win over --set, and both over files; what is frozen
// at boot stays.
func TestConfigure(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/http", 0o755), os.WriteFile(dir+"/http/listen", []byte(":4"), 0o644)); err != nil {
		t.Fatal(err)
	}
	tree, files, err := configure([]string{"--config", dir, "--set", "http/listen=:1", "--http", ":2", "--set", "lifecycle/grace_ms=7"}, slog.New(slog.DiscardHandler))
	if err != nil || files.Degraded() != nil {
		t.Fatal(files.Degraded(), err)
	}
	if got := httpListen.Get(tree); got != ":2" {
		t.Errorf("http/listen is %s", got)
	}
	if err := tree.Set("http/listen", ":3"); err == nil {
		t.Error("a boot attribute changed after boot")
	}
	if err := tree.Set("lifecycle/grace_ms", "8"); err != nil {
		t.Error(err)
	}
}

func TestHTTPSURL(t *testing.T) {
	for host, want := range map[string]string{
		"example.com": "https://example.com:8443/", "example.com:8080": "https://example.com:8443/",
		"[2001:db8::1]:8080": "https://[2001:db8::1]:8443/", "[::1]": "https://[::1]:8443/", "": "",
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		a := &appliance{https: netip.MustParseAddrPort("[::]:8443")}
		if got := a.httpsURL(r); got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
		if got := (&appliance{}).httpsURL(r); got != "" {
			t.Errorf("without HTTPS: %q", got)
		}
	}
}
