package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
)

// face is one way to write to the tree.
type face struct {
	name string
	// set writes a value, and returns why it was refused. Where a face is one for
	// which no such value can be given, that counts as refused.
	set  func(path, value string) error
	path bool // whether paths go to the appliance as they are, not through a file system
}

// faces returns all ways to write to a process's tree: a client of the socket as
// "sluice attr" is one, a document, HTTP, the mounted tree and the directory dir.
func (p *process) faces(dir string) []face {
	client := attrsock.New(p.socket)
	p.Cleanup(client.Close)
	m := mount(p.TB, p.socket, p.TempDir())
	return []face{
		{"socket", func(path, value string) error { return client.Set(p.Context(), path, value) }, true},
		{"document", func(path, value string) error {
			return client.Apply(p.Context(), attr.Change{Set: map[string]string{path: value}})
		}, true},
		{"HTTP", p.put, true},
		{"mount", func(path, value string) error { return patiently(func() error { return m.write(path, value) }) }, false},
		{"directory", func(path, value string) error { return replace(filepath.Join(dir, path), value) }, false},
	}
}

// put writes by HTTP.
func (p *process) put(path, value string) error {
	r, err := http.NewRequestWithContext(p.Context(), http.MethodPut, p.admin+"/attr/"+url.PathEscape(path), strings.NewReader(value))
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if body, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusNoContent {
		return fmt.Errorf("%s: %s", resp.Status, body)
	}
	return nil
}

// patiently tries again what the mount gives up after 100 ms on a busy machine.
func patiently(f func() error) error {
	err := f()
	for end := time.Now().Add(patience); errors.Is(err, syscall.EIO) && time.Now().Before(end); {
		err = f()
	}
	return err
}

// replace writes a file as careful editors do: another one takes its place.
func replace(file, text string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".new*")
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close(), os.Rename(f.Name(), file))
}

// Attack 33 on every face: what is no value of an attribute is refused, and what is
// no path; the value is what it was, and the appliance goes on.
func TestAttack33OnEveryFace(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lifecycle"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "--config", dir)
	const path = "lifecycle/grace_ms"
	for _, f := range p.faces(dir) {
		for _, value := range []string{
			"-1", "3600001", "9223372036854775808", strings.Repeat("9", 4096), strings.Repeat("9", 5000), strings.Repeat("9", 1<<20),
			"NaN", "1e3", "0x10", "+1", " 1", "1\n2", "1\x00", "1\r\n", "\xff", "é", "../../etc/passwd", "\n\n",
		} {
			err := f.set(path, value)
			if f.name == "directory" {
				err = p.noted(filepath.Join(dir, path))
			}
			if err == nil {
				t.Errorf("%s: %.20q is taken", f.name, value)
			}
			if out, err := attrsock.New(p.socket).Get(t.Context(), path); out != "5000" || err != nil {
				t.Fatalf("%s: after %.20q it is %.20q, %v", f.name, value, out, err)
			}
		}
		for _, bad := range []string{"../" + path, "lifecycle/../" + path, "/etc/passwd", path + "/", path + "/x", path + "\n", path + "\x00", "lifecycle", strings.Repeat("x/", 5000), "lifecycle\\grace_ms"} {
			if f.path && f.set(bad, "1") == nil {
				t.Errorf("%s: %.40q is taken for an attribute", f.name, bad)
			}
		}
		if err := f.set(path, "05000\n"); err != nil {
			t.Errorf("%s: a good value is refused: %v", f.name, err)
		}
		if out, err := attrsock.New(p.socket).Get(t.Context(), path); out != "5000" || err != nil {
			t.Fatalf("%s: after bad paths it is %.20q, %v", f.name, out, err)
		}
	}
	if err := os.Remove(filepath.Join(dir, path)); err != nil {
		t.Fatal(err)
	}
	p.viewer()
}

// noted waits until the appliance says beside a file what is wrong with it, and
// takes that away.
func (p *process) noted(file string) error {
	p.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if note, err := os.ReadFile(file + ".err"); err == nil && len(note) > 0 {
			return errors.Join(errors.New(string(note)), os.Remove(file+".err"))
		}
	}
	p.Errorf("nothing is said of %s", file)
	return nil
}

// A value that comes in two writes is two values to the mount, as in sysfs; a file
// that grows is judged when it is closed.
func TestSplitWrites(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "lifecycle"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "--config", dir)
	m := mount(t, p.socket, t.TempDir())
	client := attrsock.New(p.socket)
	split := func(name string) {
		t.Helper()
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE, 0o644)
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range []string{"12", "34\n"} {
			if err := patiently(func() error { _, err := f.WriteString(part); return err }); err != nil {
				t.Error(err)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	split(filepath.Join(m.dir, "lifecycle/grace_ms"))
	if got, err := client.Get(t.Context(), "lifecycle/grace_ms"); got != "34" || err != nil {
		t.Errorf("through the mount it is %q, %v", got, err)
	}
	var seen []string
	stop := make(chan struct{})
	watching := make(chan struct{})
	go func() {
		client.Watch(t.Context(), "lifecycle/grace_ms", func() { close(watching) }, func(e attrsock.Event) {
			if seen = append(seen, e.Value); e.Value == "1234" {
				close(stop)
			}
		})
	}()
	<-watching
	split(filepath.Join(dir, "lifecycle/grace_ms"))
	select {
	case <-stop:
	case <-time.After(patience):
		t.Fatalf("the file is not applied: %q", seen)
	}
	if len(seen) != 1 {
		t.Errorf("on the way it was %q", seen)
	}
}

// Sixteen writers on one attribute, by each face and by all of them at once: what
// anybody reads is what somebody wrote, whole.
func TestConcurrentWritersOnEveryFace(t *testing.T) {
	const path, writers, sets = "streams/line1/title", 16, 4
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "streams/line1"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := launch(t, "--config", dir)
	all := p.faces(dir)
	client := attrsock.New(p.socket)
	value := func(round, w, i int) string {
		return strings.TrimSpace(strings.Repeat(fmt.Sprintf("%d.%d.%d ", round, w, i), 12))
	}
	written := map[string]bool{"": true}
	for round := range len(all) + 1 {
		for w := range writers * sets {
			written[value(round, w/sets, w%sets)] = true
		}
	}
	for round := range len(all) + 1 {
		done := make(chan error)
		for w := range writers {
			f := all[(round+w)%len(all)]
			if round < len(all) {
				f = all[round]
			}
			go func() {
				var errs error
				for i := range sets {
					if err := f.set(path, value(round, w, i)); err != nil {
						errs = fmt.Errorf("%s: %w", f.name, err)
					}
					if got, err := client.Get(t.Context(), path); err != nil || !written[got] {
						errs = fmt.Errorf("%s: read %q, which nobody wrote, %v", f.name, got, err)
					}
				}
				done <- errs
			}()
		}
		for range writers {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	}
}
