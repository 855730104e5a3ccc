package main

import (
	"debug/buildinfo"
	"debug/elf"
	"flag"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write deps.txt and docs/abi instead of comparing")

// depsFile lists the modules in the binary, so that a new one, or a new version
// of one, shows in the change that brings it (docs/dependencies.md says why each
// is there).
const depsFile = "deps.txt"

// The binary runs on any Linux of its architecture: it is static, and holds the
// modules that deps.txt lists and no others.
func TestBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary twice; the run without -short does")
	}
	for _, target := range []struct {
		arch    string
		machine elf.Machine
	}{
		{"amd64", elf.EM_X86_64},
		{"arm64", elf.EM_AARCH64},
	} {
		t.Run(target.arch, func(t *testing.T) {
			binary := buildFor(t, target.arch)
			checkStatic(t, binary, target.machine)
			checkDeps(t, binary)
		})
	}
}

func buildFor(t *testing.T, arch string) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "sluice")
	cmd := exec.Command("go", "build", "-o", binary, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return binary
}

func checkStatic(t *testing.T, binary string, machine elf.Machine) {
	t.Helper()
	f, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if f.Machine != machine {
		t.Errorf("built for %v, not %v", f.Machine, machine)
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
			t.Errorf("%v: the binary needs a dynamic linker", p.Type)
		}
	}
}

func checkDeps(t *testing.T, binary string) {
	t.Helper()
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		t.Fatal(err)
	}
	var list strings.Builder
	for _, m := range info.Deps {
		list.WriteString(m.Path + " " + m.Version + "\n")
	}
	if *update {
		if err := os.WriteFile(depsFile, []byte(list.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(depsFile)
	if err != nil {
		t.Fatal(err)
	}
	if list.String() != string(want) {
		t.Errorf("%s is not what the binary holds; if that is meant, say why in docs/dependencies.md and run this test with -update\nholds:\n%s", depsFile, &list)
	}
}
