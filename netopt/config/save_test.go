package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/netopt/attr"
)

func TestSave(t *testing.T) {
	dir := write(t, map[string]string{"title": "Old", "lines/gone/title": "x", "lines/gone/.git/x": "x"})
	first := attr.Change{
		Rmdir: []string{"lines/gone"},
		Mkdir: []string{"lines/a", "lines/empty"},
		Set:   map[string]string{"title": "New", "ice/announce": "::1\n::2", "lines/a/title": "A", "plane/mtu_bytes": "1400"},
	}
	if err := Save(dir, first); err != nil {
		t.Fatal(err)
	}
	tree := attr.NewTree(&table)
	Load(tree, dir)
	if title.Get(tree) != "New" || len(announce.Get(tree)) != 2 || mtu.Get(tree) != 1400 || line.Of(tree, "a") != "A" {
		t.Error("what was saved is not what is loaded")
	}
	if got := lines.Objects(tree); !slices.Equal(got, []string{"a", "empty"}) {
		t.Errorf("objects %v", got)
	}
	left, err := filepath.Glob(filepath.Join(dir, ".*"))
	if err != nil || left != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSaveErrors(t *testing.T) {
	dir := t.TempDir()
	if err := Save(dir, attr.Change{Rmdir: []string{"lines/a"}}); err == nil || !strings.Contains(err.Error(), "another layer") {
		t.Errorf("an object of another layer: %v", err)
	}
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.Mkdir(outside, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(dir, "plane")); err != nil {
		t.Fatal(err)
	}
	if err := Save(dir, attr.Change{Set: map[string]string{"plane/mtu_bytes": "1400"}}); err == nil || !strings.Contains(err.Error(), "plane/mtu_bytes") {
		t.Errorf("through a link out of the directory: %v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 0 {
		t.Errorf("wrote outside: %v, %v", entries, err)
	}
}
