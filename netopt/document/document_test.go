package document

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"sluice/netopt/attr"
)

var table attr.Table

var (
	limit = table.Int(attr.Decl{Path: "limits/lines", Max: 9, Default: "2", Since: "0.1", Doc: "Limit."})
	_     = table.Class(attr.Decl{Path: "lines/<name>", Since: "0.1", Doc: "Line."}, limit, table.Counter(attr.Decl{Path: "refused", Since: "0.1", Doc: "Refused."}))
	_     = table.Text(attr.Decl{Path: "lines/<name>/title", Max: 8, Default: "none", Since: "0.1", Doc: "Title."})
	_     = table.Bool(attr.Decl{Path: "lines/<name>/on", Since: "0.1", Doc: "On."})
	_     = table.Text(attr.Decl{Path: "lines/<name>/token", Mode: attr.WO, Since: "0.1", Doc: "Token."})
	_     = table.Int(attr.Decl{Path: "lines/takeover_ms", Unit: "ms", Max: 9, Since: "0.1", Doc: "Takeover."})
	_     = table.List(attr.Decl{Path: "announce", Default: "::1", Since: "0.1", Doc: "Addresses."})
	_     = table.Text(attr.Decl{Path: "listen", Mode: attr.Boot, Default: ":80", Since: "0.1", Doc: "Where."})
	_     = table.Text(attr.Decl{Path: "version", Mode: attr.RO, Default: "1", Since: "0.1", Doc: "Version."})
)

// newTree returns a tree with two lines, of which one has a title.
func newTree(t *testing.T) *attr.Tree {
	tree := attr.NewTree(&table)
	for _, err := range []error{tree.Mkdir("lines/a"), tree.Mkdir("lines/b"), tree.Set("lines/a/title", "A"), tree.Set("lines/a/on", "1")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return tree
}

func show(c attr.Change) string {
	var all []string
	for _, path := range c.Rmdir {
		all = append(all, "rmdir "+path)
	}
	for _, path := range c.Mkdir {
		all = append(all, "mkdir "+path)
	}
	for _, path := range slices.Sorted(maps.Keys(c.Set)) {
		all = append(all, fmt.Sprintf("%s=%q", path, c.Set[path]))
	}
	return strings.Join(all, " ")
}

func TestChange(t *testing.T) {
	for _, c := range []struct{ name, document, want string }{
		{"nothing", "{}", ""},
		{"a value that it has", "announce: ['::1']", ""},
		{"a value that it has, in another form", "limits: {lines: 002}", ""},
		{"a value", "limits: {lines: 3}", `limits/lines="3"`},
		{"a list", "announce:\n- 192.0.2.1\n- ::2\n", `announce="192.0.2.1\n::2"`},
		{"an empty list", "announce: []", `announce=""`},
		{"what looks like another type", "listen: 2026-11-25\nannounce: 0x10", `announce="0x10" listen="2026-11-25"`},
		{"objects as they are", "lines: {a: {title: A, on: true}, b: }", ""},
		{"no objects", "lines: {}", "rmdir lines/a rmdir lines/b"},
		{"an object less, defaults again", "lines: {a: {title: A}}", `rmdir lines/b lines/a/on="0"`},
		{"others in their place", "lines: {c: {on: true}, d: {}}", `rmdir lines/a rmdir lines/b mkdir lines/c mkdir lines/d lines/c/on="1"`},
		{"more than there might be before", "limits: {lines: 3}\nlines: {a: {title: A, on: 1}, b: {}, c: {}}", `mkdir lines/c limits/lines="3"`},
		{"an attribute beside the objects", "lines: {takeover_ms: 5, a: {title: A, on: 1}, b: {}}", `lines/takeover_ms="5"`},
		{"a secret", "lines: {a: {title: A, on: 1, token: x}, b: {}}", `lines/a/token="x"`},
		{"JSON", `{"limits": {"lines": 3}, "lines": {"a": {"title": "A", "on": true}, "b": {"title": "x y"}}}`, `limits/lines="3" lines/b/title="x y"`},
	} {
		d, err := Parse([]byte(c.document))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		tree, live := newTree(t), newTree(t)
		change, errs := d.Change(tree)
		if got := show(change); errs != nil || got != c.want {
			t.Errorf("%s: got %s, %v\nwant %s", c.name, got, errs, c.want)
			continue
		}
		if errs := live.Apply(change); errs != nil {
			t.Errorf("%s: the change cannot be made: %v", c.name, errs)
		}
		delete(change.Set, "lines/a/token")
		again, errs := d.Change(live)
		delete(again.Set, "lines/a/token")
		if got := show(again); got != "" || errs != nil {
			t.Errorf("%s: a second time it changes %s, %v", c.name, got, errs)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, document, want string }{
		{"empty", "", "the document is empty"},
		{"no mapping", "- a", "line 1: the document is no mapping"},
		{"two documents", "a: 1\n---\nb: 1", "more than one document"},
		{"twice", "limits: {lines: 1}\nlimits: {lines: 2}", "line 2: limits is there twice"},
		{"alias", "limits: &l {lines: 1}\nlines: *l", "line 2: lines is an alias"},
		{"path as a key", "limits/lines: 1", "line 1: a key is a name"},
		{"list of mappings", "announce: [{a: 1}]", "line 1: an entry of announce is no plain value"},
		{"broken", "a: [", "did not find expected node content"},
		{"long", strings.Repeat(" ", MaxBytes+1), "longer than"},
		{"deep", strings.Repeat("{a: ", 20000), "exceeded max depth"},
		{"no such attribute", "limits: {line: 1}", "limits/line: no such attribute; the nearest is limits/lines"},
		{"no such directory", "limit: {}", "limit: no such attribute"},
		{"no value", "announce: ", "announce: has no value"},
		{"a bad value", "limits: {lines: many}", `limits/lines: "many" is not a whole number (0..9)`},
		{"out of range", "limits: {lines: 10}", "limits/lines: 10 is out of range 0..9"},
		{"a fact", "version: 2", "version: can be read only"},
		{"a bad name", "lines: {a b: {}}", `lines/a b: "a b" is not a name`},
		{"too many", "lines: {a: {}, b: {}, c: {}}", "lines/c: there are 2 objects, and limits/lines is 2"},
		{"several", "limits: {lines: x}\nannounce: a\nnope: 1", "nope: no such attribute"},
	} {
		var all []string
		d, err := Parse([]byte(c.document))
		if err != nil {
			all = []string{err.Error()}
		} else {
			_, errs := d.Change(newTree(t))
			for _, err := range errs {
				all = append(all, err.Error())
			}
		}
		if got := strings.Join(all, "\n"); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
}

// Whatever a document says, it is refused or means the same twice.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"", "{}", "lines: {a: {title: A}}", "a: &x [*x]", "? {a: b}\n: c", "<<: {a: 1}", "announce: !!binary aGk=", "lines: {a: , a: }", "\x00", "a: |\n  b\n  c"} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		d, err := Parse(data)
		if err != nil {
			return
		}
		tree := attr.NewTree(&table)
		if _, errs := d.Change(tree); errs != nil {
			return
		}
		again, errs := d.Change(tree)
		for path := range again.Set {
			if decl, err := tree.Lookup(path); err == nil && decl.Mode == attr.WO {
				delete(again.Set, path)
			}
		}
		if got := show(again); got != "" || errs != nil {
			t.Fatalf("a second time it changes %s, %v", got, errs)
		}
	})
}
