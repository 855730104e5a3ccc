package config

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/netopt/attr"
)

var table attr.Table

var (
	shards   = table.Int(attr.Decl{Path: "plane/shards", Mode: attr.Boot, Max: 64, Since: "0.1", Doc: "Shards."})
	mtu      = table.Int(attr.Decl{Path: "plane/mtu_bytes", Unit: "bytes", Min: 576, Max: 9000, Default: "1200", Since: "0.1", Doc: "MTU."})
	title    = table.Text(attr.Decl{Path: "title", Default: "Sluice", Since: "0.1", Doc: "Title."})
	announce = table.List(attr.Decl{Path: "ice/announce", Since: "0.1", Doc: "Addresses."})
	_        = table.Text(attr.Decl{Path: "version", Mode: attr.RO, Since: "0.1", Doc: "Version."})
	limit    = table.Int(attr.Decl{Path: "limits/lines", Max: 8, Default: "2", Since: "0.1", Doc: "Limit."})
	lines    = table.Class(attr.Decl{Path: "lines/<name>", Since: "0.1", Doc: "Line."}, limit, table.Counter(attr.Decl{Path: "refused", Since: "0.1", Doc: "Refused."}))
	line     = table.Text(attr.Decl{Path: "lines/<name>/title", Since: "0.1", Doc: "Title."})
)

// write makes the files below a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		file := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// messages returns the errors below dir, sorted.
func messages(dir string, errs []error) []string {
	var m []string
	for _, err := range errs {
		m = append(m, strings.TrimPrefix(err.Error(), dir+"/"))
	}
	slices.Sort(m)
	return m
}

// A directory makes an object, with files in it or without; a second layer adds
// to it.
func TestLoadObjects(t *testing.T) {
	tree := attr.NewTree(&table)
	vendor := write(t, map[string]string{"lines/cam.bak/title": "One\n", "lines/.git/title": "hidden"})
	if err := os.Mkdir(filepath.Join(vendor, "lines", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	if errs := Load(vendor, tree); errs != nil {
		t.Fatal(errs)
	}
	own := write(t, map[string]string{"lines/cam.bak/title": "Two", "lines/too many/title": "x", "lines/third/title": "x", "lines/third/nope": "x"})
	got := messages(own, Load(own, tree))
	if want := []string{
		"lines/third: there are 2 objects, and limits/lines is 2",
		`lines/too many: "too many" is not a name: 1 to 64 letters, digits, dots, dashes or underscores, the first no dot`,
	}; !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if names := lines.Objects(tree); !slices.Equal(names, []string{"cam.bak", "empty"}) || line.Of(tree, "cam.bak") != "Two" {
		t.Errorf("%v, %q", names, line.Of(tree, "cam.bak"))
	}
}

func TestLoad(t *testing.T) {
	tree := attr.NewTree(&table)
	dir := write(t, map[string]string{
		"plane/shards": "4\n",
		"title":        "Studio 1",
		"ice/announce": "192.0.2.1\n2001:db8::1\n",
	})
	if errs := Load(dir, tree); errs != nil {
		t.Fatal(errs)
	}
	if shards.Get(tree) != 4 || title.Get(tree) != "Studio 1" || len(announce.Get(tree)) != 2 || mtu.Get(tree) != 1200 {
		t.Errorf("%d %q %v %d", shards.Get(tree), title.Get(tree), announce.Get(tree), mtu.Get(tree))
	}
}

func TestLayers(t *testing.T) {
	tree := attr.NewTree(&table)
	for _, files := range []map[string]string{
		{"plane/shards": "4", "title": "vendor"},
		{"title": "admin"},
	} {
		if errs := Load(write(t, files), tree); errs != nil {
			t.Fatal(errs)
		}
	}
	if shards.Get(tree) != 4 || title.Get(tree) != "admin" {
		t.Errorf("%d %q", shards.Get(tree), title.Get(tree))
	}
}

func TestMissingDirectoryIsFine(t *testing.T) {
	if errs := Load(filepath.Join(t.TempDir(), "absent"), attr.NewTree(&table)); errs != nil {
		t.Error(errs)
	}
}

func TestDirectoryThatIsAFile(t *testing.T) {
	file := filepath.Join(write(t, map[string]string{"x": ""}), "x")
	if errs := Load(file, attr.NewTree(&table)); len(errs) != 1 || !strings.Contains(errs[0].Error(), file) {
		t.Error(errs)
	}
}

// Every file is broken in another way: each is named with its reason, and the
// values stay.
func TestBrokenFiles(t *testing.T) {
	dir := write(t, map[string]string{
		"plane/shards": "99\n",
		"plane/mtu":    "1200\n",
		"title":        "a\x00b",
		"ice/announce": strings.Repeat("x", 5000),
		"version":      "2",
		"README":       "hello",
	})
	if err := syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644); err != nil {
		t.Fatal(err)
	}
	outside := write(t, map[string]string{"value": "1300"})
	if err := os.Symlink(filepath.Join(outside, "value"), filepath.Join(dir, "plane/mtu_bytes")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere", filepath.Join(dir, "dangling")); err != nil {
		t.Fatal(err)
	}
	tree := attr.NewTree(&table)
	got := messages(dir, Load(dir, tree))
	want := []string{
		"README: no such attribute",
		"dangling: no such file or directory",
		"fifo: is not a regular file",
		"ice/announce: is longer than 4096 bytes",
		"plane/mtu: no such attribute; the nearest is plane/mtu_bytes",
		"plane/mtu_bytes: path escapes from parent",
		"plane/shards: 99 is out of range 0..64",
		"title: byte 1 (0x00) is not printable ASCII",
		"version: can be read only",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if shards.Get(tree) != 0 || mtu.Get(tree) != 1200 || title.Get(tree) != "Sluice" || len(announce.Get(tree)) != 0 {
		t.Error("a broken file changed a value")
	}
}

func TestLeftoversAreIgnored(t *testing.T) {
	files := map[string]string{".git/config": "x"}
	for _, name := range []string{".hidden", ".#shards", "#shards#", "shards~", ".shards.swp", "shards.swp", "shards.err", "shards.bak", "shards.dpkg-new"} {
		files["plane/"+name] = "not a value"
	}
	if errs := Load(write(t, files), attr.NewTree(&table)); errs != nil {
		t.Error(errs)
	}
}

// A directory that some orchestrators write: files are links into a hidden
// directory beside them.
func TestLinksWithin(t *testing.T) {
	dir := write(t, map[string]string{"..data/shards": "4\n"})
	if err := os.Mkdir(filepath.Join(dir, "plane"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("../..data/shards", filepath.Join(dir, "plane/shards")); err != nil {
		t.Fatal(err)
	}
	tree := attr.NewTree(&table)
	if errs := Load(dir, tree); errs != nil || shards.Get(tree) != 4 {
		t.Errorf("%v, %d", errs, shards.Get(tree))
	}
}
