// Package deploy holds what installs Sluice; here are only its tests.
package deploy

import (
	"debug/elf"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
)

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func run(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%v; on Debian: apt-get install systemd", err)
	}
	if err != nil {
		t.Fatalf("%s: %v\n%s", cmd, err, out)
	}
	return string(out)
}

// systemd finds nothing wrong with the units, and little exposed; the one that
// tunes the host has to be able to.
func TestUnits(t *testing.T) {
	const binary = "/usr/local/bin/sluice"
	for name, unit := range map[string]struct{ start, threshold string }{
		"sluice.service":        {"run", "25"},
		"sluice-doctor.service": {"doctor --apply", "55"},
	} {
		text := read(t, name)
		if !strings.Contains(text, "ExecStart="+binary+" "+unit.start+"\n") {
			t.Fatalf("%s does not start %s %s", name, binary, unit.start)
		}
		// verify wants a program that is there.
		copied := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(copied, []byte(strings.ReplaceAll(text, binary, "/bin/true")), 0o644); err != nil {
			t.Fatal(err)
		}
		if complaints := run(t, exec.Command("systemd-analyze", "verify", copied)); complaints != "" {
			t.Error(complaints)
		}
		run(t, exec.Command("systemd-analyze", "security", "--offline=true", "--threshold="+unit.threshold, copied))
	}
}

// systemd takes each drop-in that the README shows, and one of them grants what
// steer/mode needs beyond what the unit has.
func TestDropIns(t *testing.T) {
	const binary = "/usr/local/bin/sluice"
	shown := regexp.MustCompile(`(?m)^    \[Service\]\n(?:    .+\n)+`).FindAllString(read(t, "README.md"), -1)
	steers := 0
	for _, text := range shown {
		unit := filepath.Join(t.TempDir(), "sluice.service")
		if err := os.Mkdir(unit+".d", 0o755); err != nil {
			t.Fatal(err)
		}
		for name, text := range map[string]string{unit: read(t, "sluice.service"), unit + ".d/override.conf": strings.ReplaceAll(text, "    ", "")} {
			if err := os.WriteFile(name, []byte(strings.ReplaceAll(text, binary, "/bin/true")), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if complaints := run(t, exec.Command("systemd-analyze", "verify", unit)); complaints != "" {
			t.Errorf("%s%s", text, complaints)
		}
		granted := func(setting string) bool { return strings.Contains(text, setting+"=CAP_BPF CAP_NET_ADMIN\n") }
		if granted("AmbientCapabilities") && granted("CapabilityBoundingSet") && strings.Contains(text, "SystemCallFilter=bpf\n") {
			steers++
		}
	}
	if steers != 1 {
		t.Errorf("%d of %d drop-ins grant what steer/mode needs", steers, len(shown))
	}
}

// What is written below /etc/sluice, where the service makes no directories, is
// written where there is one.
func TestDirectoriesAreMadeFirst(t *testing.T) {
	text := read(t, "README.md")
	writes := regexp.MustCompile(`tee (/etc/sluice/\S+)`).FindAllStringSubmatchIndex(text, -1)
	if len(writes) == 0 {
		t.Fatal("the README writes no attribute")
	}
	for _, at := range writes {
		file := text[at[2]:at[3]]
		if !strings.Contains(text[:at[0]], "sudo mkdir -p "+filepath.Dir(file)+"\n") {
			t.Errorf("nothing makes %s before %s is written", filepath.Dir(file), file)
		}
	}
}

// The image's own build command, in a tree of what .dockerignore lets through,
// makes a binary that runs where there is nothing else.
func TestImage(t *testing.T) {
	build := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*)$`).FindStringSubmatch(read(t, "Dockerfile"))
	if build == nil {
		t.Fatal("the Dockerfile builds no static binary")
	}
	tree, root := t.TempDir(), t.TempDir()
	for line := range strings.Lines(read(t, "Dockerfile.dockerignore")) {
		name, sent := strings.CutPrefix(strings.TrimSpace(line), "!")
		from := filepath.Join("..", name)
		if info, err := os.Stat(from); !sent || err != nil {
			continue
		} else if info.IsDir() {
			err = os.CopyFS(filepath.Join(tree, name), os.DirFS(from))
			if err != nil {
				t.Fatal(err)
			}
		} else if err := os.WriteFile(filepath.Join(tree, name), []byte(read(t, from)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("sh", "-c", strings.ReplaceAll(build[1], "/out/", root+"/"))
	cmd.Dir = tree
	run(t, cmd)

	file, err := elf.Open(filepath.Join(root, "sluice"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Fatal("the binary needs a dynamic linker, which the image lacks")
		}
	}
	cmd = exec.Command("/sluice", "version")
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: root}
	if uid := os.Getuid(); uid != 0 {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWUSER
		cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{{HostID: uid, Size: 1}}
		cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}}
	}
	if out := run(t, cmd); !strings.HasPrefix(out, "sluice ") {
		t.Errorf("sluice version says %q", out)
	}
}
