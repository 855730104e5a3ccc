package config

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"sluice/netopt/attr"
	"sluice/netopt/host/hosttest"
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
	_        = table.Text(attr.Decl{Path: "token", Mode: attr.WO, Since: "0.1", Doc: "Secret."})
)

// write makes the files below a new directory and returns it.
func write(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		put(t, filepath.Join(dir, name), text)
	}
	return dir
}

// put writes one file as a shell's redirection does, and makes its directory.
func put(t *testing.T, file, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// tested is a persistent tree with what it logged.
type tested struct {
	*testing.T
	*Config
	tree *attr.Tree
	log  bytes.Buffer
}

func open(t *testing.T, layers ...string) *tested {
	t.Helper()
	c := &tested{T: t, tree: attr.NewTree(&table, &Attrs)}
	c.Config = Open(Options{Tree: c.tree, Log: slog.New(slog.NewTextHandler(&c.log, nil)), Layers: layers})
	c.tree.Freeze()
	return c
}

// has checks values of the tree.
func (c *tested) has(values ...string) {
	c.Helper()
	for i := 0; i < len(values); i += 2 {
		if got, err := c.tree.Get(values[i]); err != nil || got != values[i+1] {
			c.Errorf("%s is %q (%v), want %q", values[i], got, err, values[i+1])
		}
	}
}

// counts checks metrics.
func (c *tested) counts(values ...string) {
	c.Helper()
	for i := 0; i < len(values); i += 2 {
		values[i] = "config/" + values[i]
	}
	c.has(values...)
}

// err checks what the note beside a file says, "" for no note.
func (c *tested) err(file, want string) {
	c.Helper()
	text, err := os.ReadFile(file + ".err")
	if err != nil && !os.IsNotExist(err) || string(text) != want && string(text) != want+"\n" || want == "" && err == nil {
		c.Errorf("%s.err says %q (%v), want %q", file, text, err, want)
	}
}

func TestOpen(t *testing.T) {
	dir := write(t, map[string]string{
		"plane/shards": "4\n",
		"title":        "Studio 1",
		"ice/announce": "192.0.2.1\n2001:db8::1\n",
		"token":        "secret",
	})
	c := open(t, dir)
	c.has("plane/shards", "4", "title", "Studio 1", "ice/announce", "192.0.2.1\n2001:db8::1", "plane/mtu_bytes", "1200")
	if d := c.Degraded(); d != nil {
		t.Error(d)
	}
	if strings.Contains(c.log.String(), "secret") {
		t.Error("the log tells a secret")
	}
}

func TestLayers(t *testing.T) {
	vendor := write(t, map[string]string{"plane/shards": "4", "title": "vendor", "plane/mtu_bytes": "1300"})
	admin := write(t, map[string]string{"title": "admin", "plane/mtu_bytes": "many"})
	c := open(t, vendor, admin)
	c.has("plane/shards", "4", "title", "admin", "plane/mtu_bytes", "1300")
	c.err(admin+"/plane/mtu_bytes", `"many" is not a whole number (576..9000)`)
}

// A directory makes an object, with files in it or without; a second layer adds
// to it. How many there may be comes first.
func TestObjects(t *testing.T) {
	vendor := write(t, map[string]string{"lines/cam.bak/title": "One\n", "lines/.git/title": "hidden"})
	if err := os.Mkdir(filepath.Join(vendor, "lines", "empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	admin := write(t, map[string]string{
		"lines/cam.bak/title": "Two", "lines/too many/title": "x", "limits/lines": "3", "lines/third/title": "y", "lines/third/nope": "x",
		"lines/zz/title": "z",
	})
	c := open(t, vendor, admin)
	got := c.Degraded()
	want := []string{
		admin + "/lines/third/nope: no such attribute; the nearest is lines/third/title",
		admin + `/lines/too many: "too many" is not a name: 1 to 64 letters, digits, dots, dashes or underscores, the first no dot`,
		admin + "/lines/zz: there are 3 objects, and limits/lines is 3",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q\nwant %q", got, want)
	}
	if names := lines.Objects(c.tree); !slices.Equal(names, []string{"cam.bak", "empty", "third"}) {
		t.Errorf("%v", names)
	}
	c.has("lines/cam.bak/title", "Two", "lines/third/title", "y")
	c.err(admin+"/lines/zz", "there are 3 objects, and limits/lines is 3")
}

func TestMissingDirectoryIsFine(t *testing.T) {
	c := open(t, filepath.Join(t.TempDir(), "absent"))
	if d := c.Degraded(); d != nil || c.log.Len() > 0 {
		t.Error(d, c.log.String())
	}
}

func TestDirectoryThatIsAFile(t *testing.T) {
	file := filepath.Join(write(t, map[string]string{"x": ""}), "x")
	if d := open(t, file).Degraded(); len(d) != 1 || d[0] != file+": not a directory" {
		t.Errorf("%q", d)
	}
}

// What the command line has set stays, whatever files say.
func TestCommandLineIsStronger(t *testing.T) {
	dir := write(t, map[string]string{"title": "file", "plane/mtu_bytes": "1300"})
	tree := attr.NewTree(&table)
	Open(Options{Tree: tree, Log: slog.New(slog.DiscardHandler), Layers: []string{dir}, Held: map[string]string{"title": "flag", "plane/mtu_bytes": "01300\n"}})
	c := &tested{T: t, tree: tree}
	c.has("title", "Sluice", "plane/mtu_bytes", "1300")
	c.err(dir+"/title", "is not in effect: the command line says otherwise")
	c.err(dir+"/plane/mtu_bytes", "")
}

// Every file is broken in another way: each is named with its reason, in the log
// and beside it, and the values stay.
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
	for name, to := range map[string]string{"dangling": "nowhere", "loop": "loop", "above": "../../../../../../../../etc/passwd"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	c := open(t, dir)
	got := c.Degraded()
	want := map[string]string{
		"README":          "no such attribute",
		"above":           "path escapes from parent",
		"dangling":        "no such file or directory",
		"fifo":            "is not a regular file",
		"ice/announce":    "is longer than 4096 bytes",
		"loop":            "too many levels of symbolic links",
		"plane/mtu":       "no such attribute; the nearest is plane/mtu_bytes",
		"plane/mtu_bytes": "path escapes from parent",
		"plane/shards":    "99 is out of range 0..64",
		"title":           "byte 1 (0x00) is not printable ASCII",
		"version":         "can be read only",
	}
	for name, reason := range want {
		if !slices.Contains(got, dir+"/"+name+": "+reason) || !strings.Contains(c.log.String(), name+": ") {
			t.Errorf("%s is not named: %q", name, got)
		}
		c.err(filepath.Join(dir, name), reason)
	}
	if len(got) != len(want) {
		t.Errorf("%d are named: %q", len(got), got)
	}
	c.counts("broken_files", "11", "pending_files", "0", "unwritten_notes", "0", "changes", "applied 0\npending 0\nrefused 11")
	if shards.Get(c.tree) != 0 || mtu.Get(c.tree) != 1200 || title.Get(c.tree) != "Sluice" || len(announce.Get(c.tree)) != 0 {
		t.Error("a broken file changed a value")
	}
	if files, _ := os.ReadDir(outside); len(files) != 1 {
		t.Error("a note was written outside")
	}
}

// A file's name may hold anything; what is said of it is one line.
func TestNamesInNotes(t *testing.T) {
	dir := write(t, map[string]string{"a\nb\x1b[2J\"": "1"})
	if got, want := open(t, dir).Degraded(), []string{dir + `/a\nb\x1b[2J\": no such attribute`}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestLeftoversAreIgnored(t *testing.T) {
	files := map[string]string{".git/config": "x"}
	for _, name := range []string{".hidden", ".#shards", "#shards#", "shards~", ".shards.swp", "shards.swp", "shards.bak", "shards.dpkg-new", "4913"} {
		files["plane/"+name] = "not a value"
	}
	if d := open(t, write(t, files)).Degraded(); d != nil {
		t.Error(d)
	}
}

// Notes of an earlier start go when there is nothing to say, whatever is in
// their place.
func TestOldNotesGo(t *testing.T) {
	dir := write(t, map[string]string{"title": "good", "title.err": "was bad\n", "plane/gone.err": "", "plane/mtu_bytes": "1", "other": "o"})
	if err := os.Symlink("other", filepath.Join(dir, "plane/mtu_bytes.err")); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	c.err(dir+"/title", "")
	c.err(dir+"/plane/gone", "")
	c.err(dir+"/plane/mtu_bytes", "1 is out of range 576..9000")
	if text, _ := os.ReadFile(dir + "/other"); string(text) != "o" {
		t.Errorf("a note was written through a link: %q", text)
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
	c := open(t, dir)
	c.has("plane/shards", "4")
	if d := c.Degraded(); d != nil {
		t.Error(d)
	}
}

// A read-only /etc is no reason not to start: what the notes would say is in the
// log, and counted. The test runs itself again where it may mount.
func TestReadOnlyDirectory(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNS) {
		return
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(dir, syscall.MNT_DETACH)
	put(t, dir+"/title", "fine")
	put(t, dir+"/plane/mtu_bytes", "1")
	put(t, dir+"/plane/shards.err", "old")
	if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
		t.Fatal(err)
	}
	c := open(t, dir)
	c.has("title", "fine", "plane/mtu_bytes", "1200")
	c.counts("broken_files", "1", "unwritten_notes", "2")
	c.rescan(watching(t))
	c.counts("unwritten_notes", "2")
	if d := c.Degraded(); len(d) != 1 || !strings.Contains(c.log.String(), "1 is out of range") {
		t.Error(d, c.log.String())
	}
}
