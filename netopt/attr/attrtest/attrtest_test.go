package attrtest

import (
	"os"
	"path/filepath"
	"testing"

	"sluice/netopt/attr"
)

// counting counts failures instead of failing.
type counting struct {
	testing.TB
	errors int
}

func (c *counting) Errorf(string, ...any) { c.errors++ }

func TestABINoticesEveryDifference(t *testing.T) {
	var table attr.Table
	table.Bool(attr.Decl{Path: "a/x", Since: "0.1", Doc: "X."})
	table.Bool(attr.Decl{Path: "b/x", Since: "0.1", Doc: "X.", Stability: attr.Stable})
	dir := t.TempDir()
	errors := func(update bool) int {
		c := &counting{TB: t}
		ABI(c, dir, update, &table)
		return c.errors
	}
	if n := errors(false); n != 2 {
		t.Errorf("both files are missing, %d errors", n)
	}
	if n := errors(true) + errors(false); n != 0 {
		t.Errorf("just written, %d errors", n)
	}
	change := func(name, text string) {
		t.Helper()
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	change("testing/a", "edited")
	change("obsolete/gone", "What: gone")
	change("removed/kept", "What: kept")
	if n := errors(false); n != 2 {
		t.Errorf("one file edited and one too many, %d errors", n)
	}
	if n := errors(true) + errors(false); n != 0 {
		t.Errorf("written again, %d errors", n)
	}
	if _, err := os.Stat(filepath.Join(dir, "removed/kept")); err != nil {
		t.Error("an update deleted what is kept by hand")
	}
}
