// Package attrtest holds the test that keeps docs/abi and the declarations the
// same.
package attrtest

import (
	"os"
	"path/filepath"
	"testing"

	"sluice/netopt/attr"
)

var generated = []attr.Stability{attr.Testing, attr.Stable, attr.Obsolete}

// ABI compares the files below dir with what tables declare, both ways. With
// update it writes them instead, and deletes those that nothing declares.
// dir/removed is kept by hand: what is there is declared no more.
func ABI(t testing.TB, dir string, update bool, tables ...*attr.Table) {
	t.Helper()
	want := attr.ABI(tables...)
	if update {
		write(t, dir, want)
	}
	have := read(t, dir)
	for name := range want {
		if have[name] != want[name] {
			t.Errorf("%s does not say what is declared; run this test with -update", filepath.Join(dir, name))
		}
	}
	for name := range have {
		if _, ok := want[name]; !ok {
			t.Errorf("%s describes what nothing declares; run this test with -update", filepath.Join(dir, name))
		}
	}
}

func write(t testing.TB, dir string, files map[string]string) {
	for _, s := range generated {
		if err := os.RemoveAll(filepath.Join(dir, s.String())); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func read(t testing.TB, dir string) map[string]string {
	files := map[string]string{}
	for _, s := range generated {
		paths, err := filepath.Glob(filepath.Join(dir, s.String(), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range paths {
			text, err := os.ReadFile(p)
			if err != nil {
				t.Fatal(err)
			}
			files[s.String()+"/"+filepath.Base(p)] = string(text)
		}
	}
	return files
}
