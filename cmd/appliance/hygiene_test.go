package main

import (
	"bytes"
	"go/format"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Every package says what it is for.
func TestPackageComments(t *testing.T) {
	files := goFiles(t)
	documented := map[string]bool{}
	for _, f := range files {
		if f.syntax.Doc != nil {
			documented[f.pkg] = true
		}
	}
	for _, p := range packagesOf(files) {
		if !documented[p] {
			t.Errorf("%s has no package comment", p)
		}
	}
}

func TestFormat(t *testing.T) {
	for _, f := range goFiles(t) {
		formatted, err := format.Source(f.source)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(formatted, f.source) {
			t.Errorf("%s is not formatted: run gofmt -w on it", f.name)
		}
	}
}

// leftovers are what no text of the repository holds, each with the reason.
// The patterns are written so that they do not match themselves.
var leftovers = []struct {
	pattern *regexp.Regexp
	tests   bool // look in tests too
	why     string
}{
	{regexp.MustCompile(`\b(TO[D]O|FI[X]ME|X{3})\b`), true, "work to be done is an issue, not a comment"},
	{regexp.MustCompile(`(^|[\s"'=(:` + "`" + `])/(work|tmp|home|root|Users)/`), false, "a path of one machine is wrong on all others"},
	{regexp.MustCompile(`(?m)^(<{7}|>{7})( |$)`), true, "a merge was not finished"},
}

// skip passes over an entry and what is below it.
func skip(d fs.DirEntry) error {
	if d.IsDir() {
		return fs.SkipDir
	}
	return nil
}

func TestNoLeftovers(t *testing.T) {
	seen := 0
	err := filepath.WalkDir(moduleRoot, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.Name() == ".git" { // a file in a linked worktree
			return skip(d)
		}
		if d.IsDir() {
			if base := d.Name(); base == "bin" || base == "testdata" {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil || bytes.IndexByte(text, 0) >= 0 {
			return err
		}
		seen++
		for _, l := range leftovers {
			if at := l.pattern.FindIndex(text); at != nil && (l.tests || !strings.HasSuffix(name, "_test.go")) {
				line := 1 + bytes.Count(text[:at[1]], []byte("\n"))
				t.Errorf("%s:%d: %q: %s", name, line, bytes.TrimSpace(text[at[0]:at[1]]), l.why)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if seen < 100 {
		t.Errorf("%d files were read: is this still the root of the module?", seen)
	}
}

// go.mod and go.sum say what the packages need, no more. Whether they do takes
// the go.mod of modules that only tests of dependencies use, which may not be
// on this machine: without a network the question stays open.
func TestModuleIsTidy(t *testing.T) {
	out, err := exec.Command("go", "mod", "tidy", "-diff").CombinedOutput()
	if err != nil && unreachable.Match(out) {
		t.Skipf("the module proxy cannot be reached:\n%s", out)
	}
	if err != nil {
		t.Errorf("run go mod tidy:\n%s", out)
	}
}

// What go.mod requires for our own code's sake has an entry that says why.
func TestDependenciesAreExplained(t *testing.T) {
	explained, err := os.ReadFile(moduleRoot + "/docs/dependencies.md")
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(moduleRoot + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	direct := regexp.MustCompile(`(?m)^\t(\S+) v\S+$`).FindAllSubmatch(gomod, -1)
	if len(direct) == 0 {
		t.Fatal("go.mod requires nothing directly")
	}
	for _, m := range direct {
		if !bytes.Contains(explained, m[1]) {
			t.Errorf("docs/dependencies.md says nothing of %s", m[1])
		}
	}
}

var unreachable = regexp.MustCompile(`dial tcp|no such host|i/o timeout|TLS handshake timeout|connection re(fused|set)|GOPROXY=off`)
