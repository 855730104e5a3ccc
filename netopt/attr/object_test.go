package attr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// lines is a table of a class; its objects have an attribute from another one.
var (
	lines     Table
	lineLimit = lines.Int(Decl{Path: "limits/lines", Unit: "lines", Min: 0, Max: 8, Default: "3", Since: "0.1", Doc: "Lines."})
	refused   = lines.Counter(Decl{Path: "refused_lines", Unit: "lines", Since: "0.1", Doc: "Refused."})
	lineClass = lines.Class(Decl{Path: "lines/<name>", Since: "0.1", Doc: "A line."}, lineLimit, refused)
	lineTitle = lines.Text(Decl{Path: "lines/<name>/title", Max: 8, Default: "none", Since: "0.1", Doc: "Title."})
	_         = lines.Text(Decl{Path: "lines/<name>/token", Mode: WO, Since: "0.1", Doc: "Secret."})
	_         = lines.Int(Decl{Path: "lines/takeover_ms", Unit: "ms", Max: 9, Since: "0.1", Doc: "Of all lines."})

	others    Table
	lineBytes = others.Int(Decl{Path: "lines/<name>/store_bytes", Unit: "bytes", Max: 100, Default: "7", Since: "0.1", Doc: "Store."})
)

func mustAll(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

func TestObjects(t *testing.T) {
	tree := NewTree(&lines, &others)
	mustAll(t, tree.Mkdir("lines/b-1"), tree.Mkdir("lines/a"), tree.Set("lines/a/title", "first\n"), tree.Set("lines/a/store_bytes", "9"))
	if got := lineClass.Objects(tree); !slices.Equal(got, []string{"a", "b-1"}) || !lineClass.Has(tree, "a") || lineClass.Has(tree, "c") {
		t.Errorf("objects %v", got)
	}
	if lineTitle.Of(tree, "a") != "first" || lineTitle.Of(tree, "b-1") != "none" || lineTitle.Of(tree, "absent") != "none" || lineBytes.Of(tree, "a") != 9 {
		t.Error("typed values are not what was set")
	}
	all, err := tree.List("lines")
	if want := []string{
		"lines/a/store_bytes", "lines/a/title", "lines/a/token", "lines/b-1/store_bytes", "lines/b-1/title", "lines/b-1/token", "lines/takeover_ms",
	}; err != nil || !slices.Equal(all, want) {
		t.Errorf("%v, %v", all, err)
	}
	if one, err := tree.List("lines/a"); err != nil || len(one) != 3 {
		t.Errorf("%v, %v", one, err)
	}
	shown := map[string]string{}
	tree.Walk("lines/a", func(d *Decl, text string) { shown[d.Path] = text })
	if len(shown) != 3 || shown["lines/a/title"] != "first" || shown["lines/a/token"] != "" {
		t.Errorf("%v", shown)
	}
	if d, err := tree.Lookup("lines/a/title"); err != nil || d.Path != "lines/a/title" || d.Max != 8 {
		t.Errorf("%v, %v", d, err)
	}
	if all, _ := tree.List(""); slices.ContainsFunc(all, func(p string) bool { return strings.Contains(p, "<") }) {
		t.Errorf("the pattern is listed: %v", all)
	}

	mustAll(t, tree.Rmdir("lines/a"))
	if lineTitle.Of(tree, "a") != "none" || lineClass.Has(tree, "a") {
		t.Error("a removed object still has values")
	}
	mustAll(t, tree.Mkdir("lines/a"))
	if got, err := tree.Get("lines/a/title"); err != nil || got != "none" {
		t.Errorf("made again it begins with %q, %v", got, err)
	}
}

func TestObjectErrors(t *testing.T) {
	long := strings.Repeat("x", 65)
	for _, c := range []struct {
		name string
		do   func(*Tree) error
		want string
	}{
		{"elsewhere", func(t *Tree) error { return t.Mkdir("plane") }, "EPERM plane: objects are made in lines only"},
		{"too deep", func(t *Tree) error { return t.Mkdir("lines/a/b") }, "EPERM lines/a/b: objects are made in lines only"},
		{"twice", func(t *Tree) error { return t.Mkdir("lines/a") }, "EEXIST lines/a: is there already"},
		{"an attribute", func(t *Tree) error { return t.Mkdir("lines/takeover_ms") }, "EEXIST lines/takeover_ms: is there already"},
		{"no name", func(t *Tree) error { return t.Mkdir("lines/") }, `EINVAL lines/: "" is not a name`},
		{"dots", func(t *Tree) error { return t.Mkdir("lines/..") }, `EINVAL lines/..: ".." is not a name`},
		{"hidden", func(t *Tree) error { return t.Mkdir("lines/.x") }, `EINVAL lines/.x: ".x" is not a name`},
		{"space", func(t *Tree) error { return t.Mkdir("lines/x y") }, `EINVAL lines/x y: "x y" is not a name`},
		{"NUL", func(t *Tree) error { return t.Mkdir("lines/x\x00") }, `EINVAL lines/x\x00: "x\x00" is not a name`},
		{"pattern", func(t *Tree) error { return t.Mkdir("lines/<name>") }, `EINVAL lines/<name>: "<name>" is not a name`},
		{"long", func(t *Tree) error { return t.Mkdir("lines/" + long) }, "EINVAL"},
		{"one too many", func(t *Tree) error { return errors.Join(t.Mkdir("lines/b"), t.Mkdir("lines/c"), t.Mkdir("lines/d")) },
			"ENOSPC lines/d: there are 3 objects, and limits/lines is 3"},
		{"remove nothing", func(t *Tree) error { return t.Rmdir("lines/b") }, "ENOENT lines/b: no such attribute; the nearest is lines/a"},
		{"remove the class", func(t *Tree) error { return t.Rmdir("lines") }, "EPERM lines: is no object"},
		{"remove an attribute", func(t *Tree) error { return t.Rmdir("lines/a/title") }, "EPERM lines/a/title: is no object"},
		{"remove a fixed attribute", func(t *Tree) error { return t.Rmdir("lines/takeover_ms") }, "EPERM lines/takeover_ms: is no object"},
		{"remove everything", func(t *Tree) error { return t.Rmdir("") }, "EPERM : is no object"},
		{"no such object", func(t *Tree) error { return t.Set("lines/zz/title", "x") }, "ENOENT lines/zz/title: no such attribute"},
		{"near attribute", func(t *Tree) error { return t.Set("lines/a/titel", "x") }, "ENOENT lines/a/titel: no such attribute; the nearest is lines/a/title"},
		{"near object", func(t *Tree) error { return t.Rmdir("lines/aa") }, "ENOENT lines/aa: no such attribute; the nearest is lines/a"},
		{"the pattern itself", func(t *Tree) error { return t.Set("lines/<name>/title", "x") }, "ENOENT lines/<name>/title"},
		{"a directory", func(t *Tree) error { return t.Set("lines/a", "x") }, "EISDIR lines/a: is a directory"},
		{"its range", func(t *Tree) error { return t.Set("lines/a/store_bytes", "101") }, "ERANGE lines/a/store_bytes: 101 is out of range 0..100"},
		{"its secret", func(t *Tree) error { _, err := t.Get("lines/a/token"); return err }, "EACCES lines/a/token: can be written only"},
	} {
		tree := NewTree(&lines, &others)
		mustAll(t, tree.Mkdir("lines/a"))
		err := c.do(tree)
		var e *Error
		if !errors.As(err, &e) {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := string(e.Code) + " " + e.Error(); !strings.HasPrefix(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// An empty directory of a class is there, and other paths are not.
func TestEmptyClass(t *testing.T) {
	var table Table
	limit := table.Int(Decl{Path: "limit", Max: 9, Default: "9", Since: "0.1", Doc: "L."})
	table.Class(Decl{Path: "a/b/<name>", Since: "0.1", Doc: "C."}, limit, table.Counter(Decl{Path: "refused", Since: "0.1", Doc: "R."}))
	table.Bool(Decl{Path: "a/b/<name>/on", Since: "0.1", Doc: "On."})
	tree := NewTree(&table)
	for _, dir := range []string{"a", "a/b"} {
		if got, err := tree.List(dir); err != nil || got != nil {
			t.Errorf("%s: %v, %v", dir, got, err)
		}
	}
	for _, none := range []string{"a/b/c", "b", "a/b/"} {
		if got, err := tree.List(none); err == nil {
			t.Errorf("%s: %v", none, got)
		}
	}
}

func TestRefusedObjectsAreCounted(t *testing.T) {
	tree := NewTree(&lines, &others)
	mustAll(t, tree.Set("limits/lines", "1"), tree.Mkdir("lines/a"))
	for range 2 {
		if tree.Mkdir("lines/b") == nil {
			t.Fatal("made beyond the limit")
		}
	}
	if got, err := tree.Get("refused_lines"); got != "2" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// Watchers that were there first are told of objects that come later, and no
// more once they have stopped.
func TestWatchObjects(t *testing.T) {
	tree := NewTree(&lines, &others)
	var got []string
	note := func(format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) }
	stops := []func(){
		lineClass.Watch(tree, func(name string, made bool) { note("object %s %v", name, made) }),
		tree.WatchObjects(func(path string, made bool) { note("path %s %v", path, made) }),
		lineTitle.WatchEach(tree, func(name, title string) { note("each %s %s", name, title) }),
		tree.Watch("lines/a", func(path, text string) { note("below %s=%s", path, text) }),
	}
	mustAll(t,
		tree.Mkdir("lines/a"), tree.Set("lines/a/title", "x"), tree.Set("lines/a/token", "hidden"),
		tree.Mkdir("lines/b"), tree.Set("lines/b/title", "y"), tree.Rmdir("lines/b"))
	if tree.Set("lines/b/title", "z") == nil {
		t.Error("an attribute of a removed object was set")
	}
	for _, stop := range stops {
		stop()
	}
	mustAll(t, tree.Set("lines/a/title", "w"), tree.Mkdir("lines/b"), tree.Set("lines/b/title", "w"))
	want := []string{
		"object a true", "path lines/a true", "each a x", "below lines/a/title=x", "below lines/a/token=",
		"object b true", "path lines/b true", "each b y", "object b false", "path lines/b false",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// Objects come and go while others set, read, list and watch them.
func TestConcurrentObjects(t *testing.T) {
	tree := NewTree(&lines, &others)
	done := make(chan error)
	for w := range 8 {
		path := fmt.Sprintf("lines/l%d", w%3)
		go func() {
			for range 200 {
				tree.Mkdir(path)
				tree.Set(path+"/title", "x")
				if title := lineTitle.Of(tree, path[len("lines/"):]); title != "x" && title != "none" {
					done <- fmt.Errorf("title %q", title)
					return
				}
				tree.Walk("", func(*Decl, string) {})
				tree.Watch(path, func(string, string) {})()
				tree.Rmdir(path)
			}
			done <- nil
		}()
	}
	for range 8 {
		mustAll(t, <-done)
	}
	for _, name := range lineClass.Objects(tree) {
		mustAll(t, tree.Rmdir("lines/"+name))
	}
}

func TestMalformedClassesPanic(t *testing.T) {
	limit := func(t *Table) Attr[int64] { return t.Int(Decl{Path: "limit", Max: 9, Since: "0.1", Doc: "L."}) }
	counter := func(t *Table) Counter { return t.Counter(Decl{Path: "refused", Since: "0.1", Doc: "R."}) }
	class := func(t *Table, path string) { t.Class(Decl{Path: path, Since: "0.1", Doc: "C."}, limit(t), counter(t)) }
	on := func(t *Table, path string, mode Mode) { t.Bool(Decl{Path: path, Mode: mode, Since: "0.1", Doc: "On."}) }
	for _, c := range []struct {
		name, want string
		declare    func(*Table)
	}{
		{"good", "<nil>", func(t *Table) { class(t, "a/<name>"); on(t, "a/<name>/on", RW) }},
		{"no attributes", "no attributes", func(t *Table) { class(t, "a/<name>") }},
		{"no placeholder", "ends in /<name>", func(t *Table) { class(t, "a/b") }},
		{"placeholder of nothing", "segment", func(t *Table) { class(t, "<name>"); on(t, "<name>/on", RW) }},
		{"two placeholders", "segment", func(t *Table) { class(t, "a/<name>"); on(t, "a/<name>/b/<name>/on", RW) }},
		{"other placeholder", "segment", func(t *Table) { class(t, "a/<name>"); on(t, "a/<line>/on", RW) }},
		{"attribute as object", "ends in /<name>", func(t *Table) { on(t, "a/<name>", RW) }},
		{"no class", "no class", func(t *Table) { on(t, "a/<name>/on", RW) }},
		{"fixed at start", "RW or WO", func(t *Table) { class(t, "a/<name>"); on(t, "a/<name>/on", Boot) }},
		{"a fact", "RW or WO", func(t *Table) { class(t, "a/<name>"); on(t, "a/<name>/on", RO) }},
		{"series", "RW or WO", func(t *Table) {
			class(t, "a/<name>")
			t.Counter(Decl{Path: "a/<name>/packets", Since: "0.1", Doc: "P."})
		}},
		{"limit of another tree", "not declared", func(t *Table) {
			on(t, "a/<name>/on", RW)
			t.Class(Decl{Path: "a/<name>", Since: "0.1", Doc: "C."}, limit(&Table{}), counter(t))
		}},
		{"bad default", "0 nor 1", func(t *Table) {
			class(t, "a/<name>")
			t.Bool(Decl{Path: "a/<name>/on", Default: "2", Since: "0.1", Doc: "On."})
		}},
	} {
		var table Table
		c.declare(&table)
		if got := panicOf(func() { NewTree(&table) }); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	tree := NewTree(&lines, &others)
	if got := panicOf(func() { lineTitle.Get(tree) }); !strings.Contains(got, "lines/<name>/title is not in this tree") {
		t.Error(got)
	}
	if got := panicOf(func() { lineLimit.Of(tree, "a") }); !strings.Contains(got, "limits/lines is of no class") {
		t.Error(got)
	}
}
