package main

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// attr runs "sluice attr" against the process.
func (p *process) attr(args ...string) (out, errs string, status int) {
	p.Helper()
	cmd := command(p.TB, append([]string{"attr", "-socket", p.socket}, args...)...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		p.Fatal(err)
	}
	return stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()
}

// The messages and the exit status say what a file in sysfs would.
func TestAttr(t *testing.T) {
	p := launch(t)
	for _, c := range []struct {
		args   string
		status syscall.Errno
		out    string // what stdout is, or what stderr holds
	}{
		{"get lifecycle/grace_ms", 0, "5000\n"},
		{"set lifecycle/grace_ms 0700", 0, ""},
		{"get lifecycle/grace_ms", 0, "700\n"},
		{"set lifecycle/grace_ms -5", syscall.ERANGE, "lifecycle/grace_ms: -5 is out of range 0..3600000"},
		{"set lifecycle/grace_ms soon", syscall.EINVAL, `lifecycle/grace_ms: "soon" is not a whole number (0..3600000)`},
		{"get lifecycle/grace", syscall.ENOENT, "the nearest is lifecycle/grace_ms"},
		{"set media/listen :1", syscall.EACCES, "media/listen: is fixed while running"},
		{"set live_streams 1", syscall.EACCES, "live_streams: can be read only"},
		{"get admin/token", syscall.EACCES, "admin/token: can be written only"},
		{"get streams", syscall.EISDIR, "streams: is a directory"},
		{"mkdir streams/line1", 0, ""},
		{"mkdir streams/line1", syscall.EEXIST, "streams/line1: is there already"},
		{"mkdir lines/line1", syscall.EPERM, "objects are made in streams only"},
		{"set streams/line1/title Gate", 0, ""},
		{"ls streams/line1/title", 0, "streams/line1/title\n"},
		{"ls -l streams/line1/title", 0, "0644 streams/line1/title Gate\n"},
		{"ls -l admin/token", 0, "0200 admin/token -\n"},
		{"set limits/fixed_streams 1", 0, ""},
		{"mkdir streams/line2", syscall.ENOSPC, "there are 1 objects, and limits/fixed_streams is 1"},
		{"rmdir streams/line1", 0, ""},
		{"rmdir streams/line1", syscall.ENOENT, "streams/line1: no such attribute"},
		{"put x", syscall.EINVAL, `"put" is no command`},
		{"", syscall.EINVAL, `"" is no command`},
		{"get", syscall.EINVAL, "get does not take 0 arguments"},
		{"-x get y", syscall.EINVAL, "flag provided but not defined: -x"},
	} {
		out, errs, status := p.attr(strings.Fields(c.args)...)
		if status != int(c.status) || c.status == 0 && (out != c.out || errs != "") || c.status != 0 && (!strings.Contains(errs, c.out) || out != "") {
			t.Errorf("%s: status %d, %q, %q; want %d, %q", c.args, status, out, errs, c.status, c.out)
		}
	}
	p.signal(syscall.SIGKILL)
	<-p.done
	if _, errs, status := p.attr("get", "lifecycle/grace_ms"); status != int(syscall.ECONNREFUSED) || !strings.Contains(errs, "no appliance answers") {
		t.Errorf("nobody there: status %d, %q", status, errs)
	}
}

// What is saved is what a new start has, and then nothing differs.
func TestAttrSave(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "sluice")
	for name, text := range map[string]string{"streams/old/title": "Old", "streams/line1/title": "Before"} {
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	do := func(p *process, args ...string) string {
		t.Helper()
		out, errs, status := p.attr(append([]string{"-config", dir}, args...)...)
		if status != 0 {
			t.Fatalf("%s: status %d, %s", args, status, errs)
		}
		return out
	}
	p := launch(t, "--config", dir)
	if out := do(p, "diff"); out != "" {
		t.Errorf("just started, it differs: %s", out)
	}
	do(p, "rmdir", "streams/old")
	do(p, "mkdir", "streams/line2")
	do(p, "set", "streams/line1/title", "After")
	do(p, "set", "lifecycle/grace_ms", "0")
	const want = "rmdir streams/old\nmkdir streams/line2\n" + `lifecycle/grace_ms "5000" -> "0"` + "\n" + `streams/line1/title "Before" -> "After"` + "\n"
	if out := do(p, "diff"); out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if out := do(p, "save"); out != want {
		t.Errorf("got\n%swant\n%s", out, want)
	}
	if out := do(p, "diff"); out != "" {
		t.Errorf("just saved, it differs: %s", out)
	}
	_, errs, _ := p.attr("-config", dir, "save")
	for _, line := range []string{
		`left out: http/listen is "127.0.0.1:0" since the start, and will be ":8080" with the next: to keep it, write it to the configuration directory` + "\n",
		"left out: admin/token, auth/jwt_secret, ", "streams/line1/watch_tokens, streams/line2/publish_tokens, ", " can be written only: ",
	} {
		if !strings.Contains(errs, line) {
			t.Errorf("save does not say %q but\n%s", line, errs)
		}
	}
	if strings.Contains(errs, "limits/sessions") {
		t.Errorf("what will be the same is told:\n%s", errs)
	}
	p.signal(syscall.SIGTERM)
	p.exits()
	again := launch(t, "--config", dir)
	if out := do(again, "ls", "streams/line2/title") + do(again, "get", "streams/line1/title"); out != "streams/line2/title\nAfter\n" {
		t.Errorf("started again it has %s", out)
	}
	if out := do(again, "diff"); out != "" {
		t.Errorf("started again, it differs: %s", out)
	}
}

// A watch prints changes as they happen, and ends when the appliance does.
func TestAttrWatch(t *testing.T) {
	p := launch(t)
	cmd := command(t, "attr", "-socket", p.socket, "watch")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(stdout)
	for watching := ""; watching != "1\n"; { // until the request is there
		watching, _, _ = p.attr("get", "admin/watches")
	}
	p.attr("mkdir", "streams/line1")
	p.attr("set", "streams/line1/title", "The gate")
	for _, want := range []string{"mkdir streams/line1\n", "streams/line1/title The gate\n"} {
		if got, err := lines.ReadString('\n'); got != want {
			t.Errorf("got %q, %v; want %q", got, err, want)
		}
	}
	p.signal(syscall.SIGTERM)
	p.exits()
	if rest, err := io.ReadAll(lines); err != nil || len(rest) != 0 {
		t.Errorf("%q, %v", rest, err)
	}
	if cmd.Wait() == nil {
		t.Error("a watch that the appliance ended says all is well")
	}
}

// Two appliances on one machine: the second one has no socket by itself, and runs.
func TestSocketInUse(t *testing.T) {
	p := launch(t)
	cmd := command(t, "run", "--config", "/nonexistent", "--admin", "127.0.0.1:0", "--http", "127.0.0.1:0", "--https", "off", "--media", "127.0.0.1:0",
		"--set", "admin/socket="+p.socket)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "admin/socket: lock "+p.socket+".lock: another process serves it") {
		t.Errorf("%v: %s", err, out)
	}
	if out, _, _ := p.attr("get", "lifecycle/grace_ms"); out != "5000\n" {
		t.Errorf("the first one says %q", out)
	}
}

// Every flag is a shorthand of an attribute that its help names, but for the two
// that must be known before there is a tree; the environment has no say.
func TestEveryKnobIsInTheTree(t *testing.T) {
	flags, _ := runFlags()
	tables := tableDecls()
	flags.VisitAll(func(f *flag.Flag) {
		if f.Name == "config" || f.Name == "set" {
			return
		}
		_, named, _ := strings.Cut(f.Usage, "(attribute ")
		if path := strings.TrimSuffix(named, ")"); !tables[path] {
			t.Errorf("--%s is short for %q, which is no attribute", f.Name, path)
		}
	})
	for _, f := range goFiles(t) {
		if f.test || strings.HasSuffix(f.pkg, "test") || below("perf", f.pkg) {
			continue
		}
		text, err := os.ReadFile(filepath.Join("../..", f.name))
		if err != nil {
			t.Fatal(err)
		}
		for _, call := range []string{"os.Getenv(", "os.LookupEnv(", "os.Environ(", "os.ExpandEnv("} {
			// systemd says where a service may keep its state.
			rest := strings.ReplaceAll(string(text), `os.Getenv("STATE_DIRECTORY")`, "")
			if strings.Contains(rest, call) {
				t.Errorf("%s asks the environment by %s...): make it an attribute", f.name, call)
			}
		}
	}
}

func tableDecls() map[string]bool {
	paths := map[string]bool{}
	for _, table := range tables() {
		for _, d := range table.Decls() {
			paths[d.Path] = true
		}
	}
	return paths
}
