package steer

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestObjects: the committed objects are what the sources compile to.
func TestObjects(t *testing.T) {
	include := "-I/usr/include/" + map[string]string{"amd64": "x86_64", "arm64": "aarch64"}[runtime.GOARCH] + "-linux-gnu"
	for _, name := range []string{"steer.bpf", "testdata/decide.bpf"} {
		out := filepath.Join(t.TempDir(), "object")
		for _, args := range [][]string{
			{"clang-14", "-target", "bpf", "-O2", "-g", "-Wall", "-Werror", "-fdebug-compilation-dir=.", include, "-c", name + ".c", "-o", out},
			{"llvm-strip-14", "-g", out},
		} {
			if text, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
				t.Fatalf("%v: %v\n%s", args, err, text)
			}
		}
		made, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		committed, err := os.ReadFile(name + ".o")
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(made, committed) {
			t.Errorf("%s.o is not what %s.c compiles to: run `make bpf`", name, name)
		}
	}
}
