package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
)

// Attack 34: a reader of the mounted tree is killed while the appliance does not
// answer it. Nobody else notices.
func TestAttack34KilledReader(t *testing.T) {
	p := launch(t)
	m := mount(t, p.socket, t.TempDir())
	p.signal(syscall.SIGSTOP)
	for range 4 {
		reader := exec.Command("cat", filepath.Join(m.dir, "lifecycle/grace_ms"))
		if err := reader.Start(); err != nil {
			t.Fatal(err)
		}
		reader.Process.Kill()
		gone := make(chan struct{})
		go func() { reader.Wait(); close(gone) }()
		select {
		case <-gone:
		case <-time.After(patience):
			t.Fatal("a reader cannot be killed")
		}
	}
	p.signal(syscall.SIGCONT)
	m.eventually("the mount does not work any more", func() bool { got, err := m.read("lifecycle/grace_ms"); return got == "5000\n" && err == nil })
	receives(t, p.viewer(), "media", isRTP)
}

// Attack 37: names and values with line ends, quotes and great length, on every
// way in. A line of the log begins as lines of the log do, and there are no more
// series than before.
func TestAttack37InjectedNames(t *testing.T) {
	dir := t.TempDir()
	const forged = "time=2000-01-01T00:00:00Z level=ERROR msg=forged"
	evil := []string{"a\n" + forged, `a" level=ERROR msg="forged`, "a\r\n\r\nHTTP/1.1 200 OK", "\x1b[2Jforged", strings.Repeat("x", 250)}
	for _, name := range evil {
		if err := os.WriteFile(filepath.Join(dir, strings.ReplaceAll(name, "/", "_")), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	p := launch(t, "--config", dir, "--set", "log/level=debug")
	before := p.series()
	evil = append(evil, strings.Repeat("x", 64<<10))
	for i, text := range evil {
		for _, path := range []string{"/whip/", "/whep/", "/whip/" + url.PathEscape(text) + "/"} {
			p.send(http.MethodPost, p.http+path+url.PathEscape(text), "v=0\r\ns="+text)
		}
		p.send(http.MethodPatch, p.http+"/whip/x/"+url.PathEscape(text), text)
		for _, method := range []string{http.MethodPut, http.MethodPost, http.MethodDelete} {
			p.send(method, p.admin+"/attr/streams/"+url.PathEscape(text), text)
		}
		p.send(http.MethodPost, p.admin+"/attr/streams/line"+fmt.Sprint(i), "")
		p.send(http.MethodPut, p.admin+"/attr/streams/line"+fmt.Sprint(i)+"/title", text)
		if len(text) < 1000 {
			p.send(http.MethodGet, p.http+"/", "", "User-Agent", text, "Referer", text, "X-Forwarded-For", text, "Authorization", "Bearer "+text)
		}
	}
	if after := p.series(); after != before {
		t.Errorf("%d series are %d", before, after)
	}
	if status, body := get(t, p.admin+"/readyz"); status != 503 || strings.Contains(body, "\n"+forged) {
		t.Errorf("readyz: %d\n%s", status, body)
	}
	p.viewer() // what it logs comes after all that
	begin := regexp.MustCompile(`^time=2\d\d\d-\d\d-\d\dT[0-9:.]+(Z|[+-]\d\d:\d\d) level=(DEBUG|INFO|WARN|ERROR) msg=`)
	for line := range strings.SplitSeq(strings.TrimSuffix(p.text(), "\n"), "\n") {
		if !begin.MatchString(line) || strings.HasPrefix(line, forged) || len(line) > 4096 || strings.ContainsAny(line, "\x1b\r") {
			t.Errorf("a line of the log: %.200q", line)
		}
	}
}

// send sends a request; what comes of it is not this test's.
func (p *process) send(method, at, body string, header ...string) {
	p.Helper()
	r, err := http.NewRequestWithContext(p.Context(), method, at, strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/sdp")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return // a field that the client itself does not let through
	}
	io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
}

// series counts the samples of a scrape.
func (p *process) series() (n int) {
	p.Helper()
	_, body := get(p.TB, p.admin+"/metrics")
	for line := range strings.SplitSeq(body, "\n") {
		if line != "" && line[0] != '#' && !strings.HasPrefix(line, "go_") && !strings.HasPrefix(line, "process_") {
			n++
		}
	}
	return n
}

// Attack 38: the appliance is stopped for a while and goes on; those who watch go
// on with it, and it is well.
func TestAttack38Stopped(t *testing.T) {
	t.Parallel()             // it waits,
	stop := 33 * time.Second // longer than consent lasts without a check
	if testing.Short() {
		stop = 3 * time.Second // longer than a loop may take for /healthz
	}
	p := launch(t)
	viewer := p.viewer()
	receives(t, viewer, "media", isRTP)
	p.signal(syscall.SIGSTOP)
	time.Sleep(stop)
	if err := viewer.Check(); err != nil { // as browsers do all the time
		t.Fatal(err)
	}
	for buf := make([]byte, 2048); ; { // what came before
		if _, err := syscall.Read(viewer.FD(), buf); err != nil {
			break
		}
	}
	p.signal(syscall.SIGCONT)
	receives(t, viewer, "media", isRTP)
	if status, body := get(t, p.admin+"/healthz"); status != 200 {
		t.Errorf("healthz: %d %s", status, body)
	}
	receives(t, p.viewer(), "media", isRTP)
}

// Attack 38: whoever read the log is gone. That is no reason to end.
func TestAttack38LogThatNobodyReads(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{TB: t, done: make(chan struct{}), socket: filepath.Join(t.TempDir(), "attr.sock")}
	p.cmd = command(t, "run", "--config", filepath.Join(t.TempDir(), "none"), "--http", "127.0.0.1:0", "--https", "off",
		"--admin", "127.0.0.1:0", "--media", "127.0.0.1:0", "--set", "dataplane/shards=1", "--set", "admin/socket="+p.socket, "--set", "log/level=debug")
	p.cmd.Stderr = write
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	write.Close()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	seen := ""
	for b := make([]byte, 4096); !opened.MatchString(seen) || !strings.Contains(seen, "msg=ready"); {
		n, err := read.Read(b)
		if err != nil {
			t.Fatalf("it said %s, %v", seen, err)
		}
		seen += string(b[:n])
	}
	for _, m := range opened.FindAllStringSubmatch(seen, -1) {
		*map[string]*string{"ready": &p.http, "admin": &p.admin, "HTTPS": &p.https}[m[1]] = m[2]
	}
	read.Close()
	receives(t, p.viewer(), "media", isRTP) // which is logged
	if status, _ := get(t, p.admin+"/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
}

// Every file that there can be is broken: the appliance starts on the defaults and
// works, says that it is degraded, and of each file what is wrong with it.
func TestEveryFileBroken(t *testing.T) {
	dir := t.TempDir()
	defaults := attr.NewTree(tables()...)
	var paths []string
	defaults.Walk("", func(d *attr.Decl, _ string) {
		if d.Kind.Metric() || d.Mode == attr.RO {
			return
		}
		paths = append(paths, d.Path)
		file := filepath.Join(dir, d.Path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte("\x00\xffbroken"), 0o644)); err != nil {
			t.Fatal(err)
		}
	})
	if len(paths) < 50 {
		t.Fatalf("there are %d files only", len(paths))
	}
	p := launch(t, "--config", dir)
	status, body := get(t, p.admin+"/readyz")
	if status != 503 {
		t.Errorf("readyz: %d", status)
	}
	held := []string{"http/listen", "http/tls_listen", "admin/listen", "media/listen", "dataplane/shards", "admin/socket"} // by launch
	client := attrsock.New(p.socket)
	for _, path := range paths {
		if !strings.Contains(body, filepath.Join(dir, path)+": byte 0 (0x00) is not printable ASCII\n") && !slices.Contains(held, path) {
			t.Errorf("readyz does not name %s", path)
		}
		if note, err := os.ReadFile(filepath.Join(dir, path) + ".err"); err != nil || !strings.Contains(string(note), "not printable") {
			t.Errorf("the note of %s is %q, %v", path, note, err)
		}
		want, err := defaults.Get(path)
		if err != nil || slices.Contains(held, path) {
			continue
		}
		if got, err := client.Get(t.Context(), path); got != want || err != nil {
			t.Errorf("%s is %q, want the default %q, %v", path, got, want, err)
		}
	}
	if status, _ := get(t, p.admin+"/healthz"); status != 200 {
		t.Errorf("healthz: %d", status)
	}
	receives(t, p.viewer(), "media", isRTP)
}
