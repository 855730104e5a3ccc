package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
	"unsafe"
)

// mountpoint is a tree that another process has mounted.
type mountpoint struct {
	testing.TB
	dir  string
	cmd  *exec.Cmd
	done chan struct{}
	mu   sync.Mutex
	log  strings.Builder
}

func (m *mountpoint) Write(b []byte) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.Write(b)
}

func (m *mountpoint) text() string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.log.String()
}

// mount mounts the tree at a socket on dir.
func mount(t testing.TB, socket, dir string) *mountpoint {
	t.Helper()
	if _, err := os.Stat("/dev/fuse"); errors.Is(err, os.ErrNotExist) {
		t.Skip("this kernel has no FUSE: /dev/fuse is not there")
	}
	m := &mountpoint{TB: t, dir: dir, done: make(chan struct{})}
	m.cmd = exec.Command(os.Args[0], "mount", "-socket", socket, dir)
	m.cmd.Env = append(os.Environ(), asSluice+"=1")
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	m.cmd.Stderr = m
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) }) // what is left, if anything is
	go func() {
		m.cmd.Wait()
		close(m.done)
	}()
	t.Cleanup(func() {
		m.cmd.Process.Kill()
		<-m.done
	})
	m.eventually("it is not mounted", func() bool { return strings.Contains(m.text(), "msg=mounted") })
	return m
}

func (m *mountpoint) eventually(what string, ok func() bool) {
	m.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		select {
		case <-m.done:
			m.Fatalf("%s: it ended: %s", what, m.text())
		default:
		}
		if time.Now().After(end) {
			m.Fatalf("%s: %s", what, m.text())
		}
	}
}

// ended waits for the end of the process and reports whether nothing is mounted.
func (m *mountpoint) ended() {
	m.Helper()
	select {
	case <-m.done:
	case <-time.After(patience):
		m.Fatalf("it does not end: %s", m.text())
	}
	if names, err := os.ReadDir(m.dir); err != nil || len(names) != 0 {
		m.Errorf("the directory is not empty again: %v, %v", names, err)
	}
}

// write writes a value as a shell does: one open, one write.
func (m *mountpoint) write(path, text string) error {
	f, err := os.OpenFile(filepath.Join(m.dir, path), os.O_WRONLY|os.O_TRUNC|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.WriteString(f, text)
	return err
}

func (m *mountpoint) read(path string) (string, error) {
	text, err := os.ReadFile(filepath.Join(m.dir, path))
	return string(text), err
}

func TestMount(t *testing.T) {
	p := launch(t)
	m := mount(t, p.socket, t.TempDir())
	if got, err := m.read("lifecycle/grace_ms"); got != "5000\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if err := m.write("lifecycle/grace_ms", "0700\n"); err != nil {
		t.Error(err)
	}
	if got, err := m.read("lifecycle/grace_ms"); got != "700\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if out, _, _ := p.attr("get", "lifecycle/grace_ms"); out != "700\n" {
		t.Errorf("the appliance says %q", out)
	}
	if err := os.Mkdir(filepath.Join(m.dir, "streams/line1"), 0o755); err != nil {
		t.Error(err)
	}
	if err := m.write("streams/line1/title", "The gate\n"); err != nil {
		t.Error(err)
	}
	names, err := os.ReadDir(filepath.Join(m.dir, "streams/line1"))
	if err != nil || !slices.ContainsFunc(names, func(e os.DirEntry) bool { return e.Name() == "title" && e.Type().IsRegular() }) {
		t.Errorf("%v, %v", names, err)
	}
	// What others make and remove comes and goes here too.
	p.attr("mkdir", "streams/line2")
	m.eventually("line2 does not come", func() bool { got, err := m.read("streams/line2/viewers_max"); return got == "0\n" && err == nil })
	p.attr("rmdir", "streams/line2")
	m.eventually("line2 does not go", func() bool {
		_, err := os.Stat(filepath.Join(m.dir, "streams/line2"))
		return errors.Is(err, os.ErrNotExist)
	})
	for _, c := range []struct {
		what string
		err  error
		want syscall.Errno
	}{
		{"a bad value", m.write("lifecycle/grace_ms", "soon\n"), syscall.EINVAL},
		{"out of range", m.write("lifecycle/grace_ms", "-1\n"), syscall.ERANGE},
		{"too long", m.write("streams/line1/title", strings.Repeat("x", 5000)), syscall.EINVAL},
		{"NUL", m.write("streams/line1/title", "a\x00"), syscall.EINVAL},
		{"fixed at start", m.write("media/listen", ":1\n"), syscall.EACCES},
		{"a fact", m.write("live_streams", "1\n"), syscall.EACCES},
		{"a secret", func() error { _, err := m.read("admin/token"); return err }(), syscall.EACCES},
		{"nothing there", func() error { _, err := m.read("lifecycle/grace"); return err }(), syscall.ENOENT},
		{"made a file", m.write("lifecycle/grace", "1"), syscall.EROFS},
		{"made twice", os.Mkdir(filepath.Join(m.dir, "streams/line1"), 0o755), syscall.EEXIST},
		{"made elsewhere", os.Mkdir(filepath.Join(m.dir, "lines"), 0o755), syscall.EPERM},
		{"a bad name", os.Mkdir(filepath.Join(m.dir, "streams/a b"), 0o755), syscall.EINVAL},
		{"removed what is no object", syscall.Rmdir(filepath.Join(m.dir, "lifecycle")), syscall.EPERM},
		{"removed an attribute", os.Remove(filepath.Join(m.dir, "lifecycle/grace_ms")), syscall.EPERM},
	} {
		if !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v, want %v", c.what, c.err, c.want)
		}
	}
	shell := exec.Command("sh", "-c", "echo soon > lifecycle/grace_ms; cat lifecycle/grace_ms")
	shell.Dir = m.dir
	if out, _ := shell.CombinedOutput(); !strings.Contains(string(out), "Invalid argument") && !strings.Contains(string(out), "I/O error") || !strings.HasSuffix(string(out), "700\n") {
		t.Errorf("a shell says %s", out)
	}
	if err := syscall.Rmdir(filepath.Join(m.dir, "streams/line1")); err != nil {
		t.Error(err)
	}
	if out, _, _ := p.attr("ls", "streams"); strings.Contains(out, "line1") {
		t.Errorf("the appliance still has %s", out)
	}
	m.cmd.Process.Signal(syscall.SIGTERM)
	m.ended()
}

// Neither a stopped nor a dead appliance hangs a reader, and the mount follows
// one that starts again.
func TestMountOfAStoppedAppliance(t *testing.T) {
	p := launch(t)
	m := mount(t, p.socket, t.TempDir())
	p.signal(syscall.SIGSTOP)
	m.eventually("it does not stop", func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
		return err == nil && strings.Contains(string(stat), ") T ")
	})
	const readers = 8
	done := make(chan error, 2*readers)
	for range readers {
		go func() { _, err := m.read("lifecycle/grace_ms"); done <- err }()
		go func() { done <- m.write("lifecycle/grace_ms", "1\n") }()
	}
	for range 2 * readers {
		select {
		case err := <-done:
			if !errors.Is(err, syscall.EIO) {
				t.Errorf("while it is stopped: %v", err)
			}
		case <-time.After(patience):
			t.Fatal("a stopped appliance hangs a reader")
		}
	}
	if names, err := os.ReadDir(filepath.Join(m.dir, "lifecycle")); err != nil || len(names) == 0 {
		t.Errorf("looking around: %v, %v", names, err)
	}
	p.signal(syscall.SIGCONT)
	m.eventually("it goes on and is not read", func() bool { _, err := m.read("lifecycle/grace_ms"); return err == nil })

	p.signal(syscall.SIGKILL)
	<-p.done
	if _, err := m.read("lifecycle/grace_ms"); !errors.Is(err, syscall.EIO) {
		t.Errorf("of a dead one: %v", err)
	}
	again := launch(t, "--set", "admin/socket="+p.socket, "--set", "lifecycle/grace_ms=77")
	m.eventually("it started again and is not read", func() bool { got, _ := m.read("lifecycle/grace_ms"); return got == "77\n" })
	again.signal(syscall.SIGKILL)
	<-again.done
	m.ended() // since it has gone for good
	if !strings.Contains(m.text(), "the appliance has ended: unmounted") {
		t.Errorf("it says %s", m.text())
	}
}

// What a crashed mount left behind is replaced.
func TestMountAfterACrash(t *testing.T) {
	p := launch(t)
	dir := t.TempDir()
	first := mount(t, p.socket, dir)
	first.cmd.Process.Kill()
	<-first.done
	if _, err := os.ReadDir(dir); !errors.Is(err, syscall.ENOTCONN) {
		t.Fatalf("a killed mount leaves %v, so this tests nothing", err)
	}
	second := mount(t, p.socket, dir)
	if got, err := second.read("lifecycle/grace_ms"); got != "5000\n" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	// Whoever is in there does not keep it from going.
	f, err := os.Open(filepath.Join(dir, "lifecycle/grace_ms"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	second.cmd.Process.Signal(syscall.SIGTERM)
	second.ended()
}

// The budget of one open, read and close is 300 µs at the median. The calls are raw, as
// those of cat are: Go's runtime would wake its monitor thread for each one that blocks,
// which takes another third of the time.
func BenchmarkMountRead(b *testing.B) {
	p := launch(b)
	m := mount(b, p.socket, b.TempDir())
	path, err := syscall.BytePtrFromString(filepath.Join(m.dir, "lifecycle/grace_ms"))
	if err != nil {
		b.Fatal(err)
	}
	var took []time.Duration
	for b.Loop() {
		begin := time.Now()
		if text := rawRead(b, path); text != "5000\n" {
			b.Fatalf("it reads %q", text)
		}
		took = append(took, time.Since(begin))
	}
	slices.Sort(took)
	b.ReportMetric(float64(took[0].Nanoseconds()), "min-ns")
	b.ReportMetric(float64(took[len(took)/2].Nanoseconds()), "median-ns")
}

// rawRead reads a small file to its end.
func rawRead(b *testing.B, path *byte) string {
	const atFDCWD = -0x64
	call := func(trap, a1, a2, a3 uintptr) int {
		for {
			n, _, errno := syscall.RawSyscall(trap, a1, a2, a3)
			switch errno {
			case 0:
				return int(n)
			case syscall.EINTR:
			default:
				b.Fatal(errno)
			}
		}
	}
	at := atFDCWD
	fd := call(syscall.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(path)), syscall.O_RDONLY)
	defer syscall.RawSyscall(syscall.SYS_CLOSE, uintptr(fd), 0, 0)
	var text [512]byte
	end := 0
	for {
		n := call(syscall.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(&text[end])), uintptr(len(text)-end))
		if end += n; n == 0 {
			return string(text[:end])
		}
	}
}
