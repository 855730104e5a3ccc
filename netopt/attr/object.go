package attr

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
)

// placeholder is the segment of a declared path that stands for the name of an
// object.
const placeholder = "<name>"

// maxName is the length of the longest name of an object.
const maxName = 64

// pattern reports whether the declaration is of each object of a class.
func (d *Decl) pattern() bool { return strings.Contains(d.Path, "/"+placeholder+"/") }

// Class is a declared directory of objects, which an operator makes and removes
// as in configfs: mkdir makes an object with all its attributes at their
// defaults, rmdir removes it with them.
//
// The attributes of each object are declared with the placeholder in their
// path, in any table:
//
//	Streams = Attrs.Class(attr.Decl{Path: "streams/<name>", …}, limit, refused)
//	Title   = Attrs.Text(attr.Decl{Path: "streams/<name>/title", …})
//
//	Title.Of(tree, "line1")
type Class struct{ decl *Decl }

// Class declares that the directory of d.Path, which ends in "/<name>", holds
// objects. A name has 1 to 64 letters, digits, dots, dashes and underscores and
// begins with no dot. There are at most limit objects; one more is ENOSPC and
// counted in refused, which the tree fills by itself.
func (t *Table) Class(d Decl, limit Attr[int64], refused Counter) Class {
	d.limit, d.refused = limit.decl, refused.decl
	return Class{t.add(d, KindObject)}
}

// Objects returns the names of the objects there are, sorted.
func (c Class) Objects(t *Tree) []string {
	return slices.Sorted(maps.Keys(*t.class(c.decl).objects.Load()))
}

// Has reports whether there is an object of that name.
func (c Class) Has(t *Tree, name string) bool {
	return (*t.class(c.decl).objects.Load())[name] != nil
}

// Watch calls f with the name of each object that is made from now on, and of
// each that is removed, as Tree.WatchObjects does.
func (c Class) Watch(t *Tree, f func(name string, made bool)) (stop func()) {
	own := t.class(c.decl)
	return t.WatchObjects(func(path string, made bool) {
		if class, name := t.split(path); class == own {
			f(name, made)
		}
	})
}

// Of returns the value that an object has, and the default where there is no
// such object. It panics if the declaration is not part of t, or not of a class.
func (a Attr[T]) Of(t *Tree, name string) T {
	c := t.class(a.decl)
	if o := (*c.objects.Load())[name]; o != nil {
		for _, s := range o.slots {
			if s.declared == a.decl {
				return s.value.Load().typed.(T)
			}
		}
	}
	return c.initial[a.decl].typed.(T)
}

// WatchEach calls f as Watch does, with the name of the object, for all objects
// of the class, whenever they are made. An object begins with the defaults; no
// call tells of that, Class.Watch does.
func (a Attr[T]) WatchEach(t *Tree, f func(name string, v T)) (stop func()) {
	c := t.class(a.decl)
	return t.watch(func(s *slot) bool { return s.declared == a.decl }, func(s *slot, v *value) {
		_, rest, _ := strings.Cut(s.decl.Path, c.dir+"/")
		name, _, _ := strings.Cut(rest, "/")
		f(name, v.typed.(T))
	})
}

// class is a Class in a tree.
type class struct {
	decl    *Decl
	dir     string  // without a slash at its end
	attrs   []*Decl // of each object, sorted by path
	initial map[*Decl]*value
	objects atomic.Pointer[map[string]*object] // by name; a map never changes once it is here
	refused atomic.Uint64
}

// object is one object of a class.
type object struct {
	slots []*slot // sorted by path
}

// newClass returns the class of a declaration, without attributes and objects.
func newClass(d *Decl) *class {
	c := &class{decl: d, dir: strings.TrimSuffix(d.Path, "/"+placeholder), initial: map[*Decl]*value{}}
	c.objects.Store(&map[string]*object{})
	return c
}

// make returns a new object of that name.
func (c *class) make(name string) *object {
	o := &object{}
	for _, d := range c.attrs {
		own := *d
		own.Path = strings.Replace(d.Path, placeholder, name, 1)
		s := newSlot(&own, d)
		s.value.Store(c.initial[d])
		o.slots = append(o.slots, s)
	}
	return o
}

// isObjectName reports whether an object may have that name.
func isObjectName(name string) bool {
	const others = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-"
	return name != "" && len(name) <= maxName && name[0] != '.' && strings.Trim(name, others) == ""
}

// class returns the class of a declaration: its own, or the one whose objects
// have it.
func (t *Tree) class(d *Decl) *class {
	c := t.classOf[d]
	if c == nil {
		panic("attr: " + d.Path + " is of no class in this tree")
	}
	return c
}

// split returns the class in whose directory path lies directly, and the last
// segment of path.
func (t *Tree) split(path string) (*class, string) {
	i := max(strings.LastIndexByte(path, '/'), 0)
	return t.classes[path[:i]], strings.TrimPrefix(path[i:], "/")
}

// Mkdir makes the object at path with its attributes at their defaults, and
// calls who watches for objects. The error is an *Error: EPERM where no objects
// are made, EEXIST, EINVAL for what is no name, ENOSPC beyond the limit of the
// class.
func (t *Tree) Mkdir(path string) error {
	defer take(t.turn)()
	c, name := t.split(path)
	if err := t.checkName(c, path, name); err != nil {
		return err
	}
	if t.isDir(path) || t.byPath[path] != nil {
		return fail(EEXIST, path, "is there already")
	}
	limit := t.slot(c.decl.limit).value.Load().typed.(int64)
	if err := c.checkRoom(path, len(*c.objects.Load()), limit); err != nil {
		return err
	}
	t.mkdir(path)
	return nil
}

// checkName says what is wrong with a path for an object of c, which may be nil.
func (t *Tree) checkName(c *class, path, name string) error {
	if c == nil {
		return fail(EPERM, path, "objects are made in %s only", strings.Join(t.ClassDirs(), ", "))
	}
	if !isObjectName(name) {
		return fail(EINVAL, path, "%s is not a name: 1 to %d letters, digits, dots, dashes or underscores, the first no dot", quote(name), maxName)
	}
	return nil
}

// checkRoom counts a refusal if there is no room for one more object.
func (c *class) checkRoom(path string, have int, limit int64) error {
	if int64(have) < limit {
		return nil
	}
	c.refused.Add(1)
	return fail(ENOSPC, path, "there are %d objects, and %s is %d", have, c.decl.limit.Path, limit)
}

// mkdir makes an object, in the tree's turn, where that is possible.
func (t *Tree) mkdir(path string) {
	c, name := t.split(path)
	objects := *c.objects.Load()
	o := c.make(name)
	for _, s := range o.slots {
		for _, w := range t.watchers {
			if w.match(s) {
				s.watchers = append(s.watchers, w)
			}
		}
	}
	grown := maps.Clone(objects)
	grown[name] = o
	c.objects.Store(&grown)
	t.tellObject(path, true)
}

// Rmdir removes the object at path with its attributes, and calls who watches
// for objects. What went by its attributes goes by their defaults from then on.
// The error is an *Error: ENOENT, or EPERM for what is no object.
func (t *Tree) Rmdir(path string) error {
	defer take(t.turn)()
	if err := t.checkObject(path); err != nil {
		return err
	}
	t.rmdir(path)
	return nil
}

// ClassDirs returns the directories in which objects are made, sorted.
func (t *Tree) ClassDirs() []string { return slices.Sorted(maps.Keys(t.classes)) }

// Objects returns the names of the objects in one of ClassDirs, sorted.
func (t *Tree) Objects(dir string) []string {
	return slices.Sorted(maps.Keys(*t.classes[dir].objects.Load()))
}

// IsObject reports whether there is an object at path.
func (t *Tree) IsObject(path string) bool {
	c, name := t.split(path)
	return c != nil && (*c.objects.Load())[name] != nil
}

// checkObject says why path is no object that could be removed.
func (t *Tree) checkObject(path string) error {
	if t.IsObject(path) {
		return nil
	}
	if _, err := t.find(path); err != nil && !t.isDir(path) {
		return err
	}
	return fail(EPERM, path, "is no object, but a part of the tree")
}

// rmdir removes an object, in the tree's turn.
func (t *Tree) rmdir(path string) {
	c, name := t.split(path)
	shrunk := maps.Clone(*c.objects.Load())
	gone := shrunk[name]
	delete(shrunk, name)
	c.objects.Store(&shrunk)
	for _, s := range gone.slots {
		give := take(s.turn)
		s.gone = true
		give()
	}
	t.tellObject(path, false)
}

// WatchObjects calls f with the path of each object that is made from now on,
// and of each that is removed, in the goroutine of whoever does it, one call at
// a time. f must be quick, and must make, remove and watch nothing. stop ends
// it, and is not for f to call.
func (t *Tree) WatchObjects(f func(path string, made bool)) (stop func()) {
	defer take(t.turn)()
	t.objectWatchers = append(t.objectWatchers, &f)
	return func() {
		defer take(t.turn)()
		t.objectWatchers = slices.DeleteFunc(t.objectWatchers, func(w *func(string, bool)) bool { return w == &f })
	}
}

func (t *Tree) tellObject(path string, made bool) {
	for _, f := range t.objectWatchers {
		(*f)(path, made)
	}
}

// objectAt returns the object at path or above it, nil for none.
func (t *Tree) objectAt(path string) *object {
	for dir, c := range t.classes {
		if rest, ok := strings.CutPrefix(path, dir+"/"); ok {
			name, _, _ := strings.Cut(rest, "/")
			return (*c.objects.Load())[name]
		}
	}
	return nil
}

// isDir reports whether there is a directory at path.
func (t *Tree) isDir(path string) bool {
	if path == "" || t.IsObject(path) {
		return true
	}
	for dir := range t.classes {
		if under(dir, path) {
			return true
		}
	}
	return slices.ContainsFunc(t.paths, func(p string) bool { return p != path && under(p, path) })
}
