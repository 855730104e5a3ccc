package attr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestApply(t *testing.T) {
	tree := NewTree(&lines, &others)
	mustAll(t, tree.Mkdir("lines/old"), tree.Mkdir("lines/again"), tree.Set("lines/again/title", "before"), tree.Mkdir("lines/kept"))
	var told []string
	tree.WatchObjects(func(path string, made bool) { told = append(told, fmt.Sprint(path, " ", made)) })
	tree.Watch("", func(path, text string) { told = append(told, path+"="+text) })
	mustAll(t, tree.Apply(Change{
		Rmdir: []string{"lines/old", "lines/again"},
		Mkdir: []string{"lines/again", "lines/new", "lines/other"},
		Set:   map[string]string{"lines/new/title": "new\n", "limits/lines": "4", "lines/kept/store_bytes": "8", "lines/again/token": "s"},
	})...)
	want := []string{
		"lines/old false", "lines/again false", "limits/lines=4", "lines/again true", "lines/new true", "lines/other true",
		"lines/again/token=", "lines/kept/store_bytes=8", "lines/new/title=new",
	}
	if !slices.Equal(told, want) {
		t.Errorf("told\n%s\nwant\n%s", strings.Join(told, "\n"), strings.Join(want, "\n"))
	}
	if got := lineClass.Objects(tree); !slices.Equal(got, []string{"again", "kept", "new", "other"}) || lineTitle.Of(tree, "again") != "none" {
		t.Errorf("%v, %q", got, lineTitle.Of(tree, "again"))
	}
}

// Whatever is wrong with a change, all of it is said and none of it is made.
func TestApplyAllOrNothing(t *testing.T) {
	for _, c := range []struct {
		name   string
		change Change
		want   []string
	}{
		{"value", Change{Set: map[string]string{"lines/a/store_bytes": "101"}}, []string{"ERANGE lines/a/store_bytes: 101"}},
		{"value of a new object", Change{Mkdir: []string{"lines/b"}, Set: map[string]string{"lines/b/store_bytes": "x"}}, []string{"EINVAL lines/b/store_bytes"}},
		{"no such attribute of a new object", Change{Mkdir: []string{"lines/b"}, Set: map[string]string{"lines/b/nope": "x"}}, []string{"ENOENT lines/b/nope"}},
		{"attribute of an object that goes", Change{Rmdir: []string{"lines/a"}, Set: map[string]string{"lines/a/title": "x"}}, []string{"ENOENT lines/a/title"}},
		{"twice gone", Change{Rmdir: []string{"lines/a", "lines/a"}}, []string{"ENOENT lines/a"}},
		{"gone already", Change{Rmdir: []string{"lines/b"}}, []string{"ENOENT lines/b"}},
		{"twice made", Change{Mkdir: []string{"lines/b", "lines/b"}}, []string{"EEXIST lines/b"}},
		{"there", Change{Mkdir: []string{"lines/a"}}, []string{"EEXIST lines/a"}},
		{"elsewhere", Change{Mkdir: []string{"limits/b"}, Set: map[string]string{"limits/b/title": "x"}}, []string{"EPERM limits/b"}},
		{"too many", Change{Rmdir: []string{"lines/a"}, Mkdir: []string{"lines/b", "lines/c", "lines/d", "lines/e"}}, []string{"ENOSPC lines/e: there are 3"}},
		{"too many for its own limit", Change{Mkdir: []string{"lines/b"}, Set: map[string]string{"limits/lines": "1"}}, []string{"ENOSPC lines/b: there are 1"}},
		{"several", Change{Rmdir: []string{"limits"}, Mkdir: []string{"lines/."}, Set: map[string]string{"limits/lines": "9", "nope": "1"}},
			[]string{"EPERM limits", "EINVAL lines/.", "ERANGE limits/lines", "ENOENT nope"}},
	} {
		tree := NewTree(&lines, &others)
		mustAll(t, tree.Mkdir("lines/a"))
		c.change.Set = withGood(c.change.Set)
		for _, try := range []func(Change) []error{tree.Check, tree.Apply} {
			errs := try(c.change)
			if len(errs) != len(c.want) {
				t.Errorf("%s: %v", c.name, errs)
				continue
			}
			for i, err := range errs {
				var e *Error
				if !errors.As(err, &e) || !strings.HasPrefix(string(e.Code)+" "+e.Error(), c.want[i]) {
					t.Errorf("%s: %v, want %s", c.name, err, c.want[i])
				}
			}
		}
		if got, err := tree.Get("lines/takeover_ms"); got != "0" || err != nil {
			t.Errorf("%s: a part was made: %q, %v", c.name, got, err)
		}
		if got := lineClass.Objects(tree); !slices.Equal(got, []string{"a"}) {
			t.Errorf("%s: a part was made: %v", c.name, got)
		}
	}
}

// withGood adds a change with which nothing is wrong.
func withGood(set map[string]string) map[string]string {
	all := map[string]string{"lines/takeover_ms": "5"}
	for path, text := range set {
		all[path] = text
	}
	return all
}

func TestApplyFrozen(t *testing.T) {
	tree := NewTree(&house)
	tree.Freeze()
	if errs := tree.Apply(Change{Set: map[string]string{"plane/shards": "2", "title": "x"}}); len(errs) != 1 || title.Get(tree) != "Sluice" {
		t.Errorf("%v, %q", errs, title.Get(tree))
	}
}
