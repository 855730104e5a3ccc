package attr

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Tree holds the values of a set of declarations. All methods may be called
// from any goroutine. Readers never wait; sets of one attribute come one after
// another, each with its watchers, and so do the makings and removals of
// objects.
type Tree struct {
	// What is declared, objects aside. None of it changes.
	decls   []*Decl // sorted by path
	paths   []string
	slots   map[*Decl]*slot
	byPath  map[string]*slot
	classes map[string]*class // by the directory of their objects
	classOf map[*Decl]*class  // of the class itself, and of each attribute of its objects

	collectors atomic.Pointer[[]func(*Sample)]

	turn           chan struct{} // as a slot's, for objects and the watchers of all slots
	watchers       []*watcher
	objectWatchers []*func(path string, made bool)
}

// slot is the place of one value.
type slot struct {
	decl     *Decl
	declared *Decl // decl, or the pattern from which that of an object was made
	value    atomic.Pointer[value]

	// turn holds one token while nobody changes the slot. A channel and not a
	// mutex, since this package keeps to the rules of the code it configures.
	turn     chan struct{}
	frozen   bool       // under turn
	gone     bool       // under turn: with its object
	watchers []*watcher // under turn, in the order they came
}

// watcher is told of sets of all slots that match.
type watcher struct {
	match func(*slot) bool
	tell  func(*slot, *value)
}

func newSlot(d, declared *Decl) *slot {
	return &slot{decl: d, declared: declared, turn: newTurn()}
}

func newTurn() chan struct{} {
	turn := make(chan struct{}, 1)
	turn <- struct{}{}
	return turn
}

// take waits for a turn and returns what ends it.
func take(turn chan struct{}) (give func()) {
	<-turn
	return func() { turn <- struct{}{} }
}

// NewTree returns a tree of all declarations of tables at their defaults. A
// declaration that is malformed, or clashes with another, is a mistake in the
// program: NewTree panics and names it.
func NewTree(tables ...*Table) *Tree {
	t := &Tree{
		slots: map[*Decl]*slot{}, byPath: map[string]*slot{},
		classes: map[string]*class{}, classOf: map[*Decl]*class{},
		turn: newTurn(),
	}
	t.collectors.Store(new([]func(*Sample)))
	decls := merge(tables)
	for _, d := range decls {
		if d.Kind == KindObject {
			c := newClass(d)
			t.classes[c.dir], t.classOf[d] = c, c
		}
	}
	for _, d := range decls {
		switch {
		case d.pattern():
			c := t.classes[d.Path[:strings.Index(d.Path, "/"+placeholder)]]
			c.attrs, c.initial[d], t.classOf[d] = append(c.attrs, d), d.initial(), c
		case d.Kind != KindObject:
			s := newSlot(d, d)
			t.slots[d], t.byPath[d.Path] = s, s
			t.decls, t.paths = append(t.decls, d), append(t.paths, d.Path)
			if !d.Kind.Metric() {
				s.value.Store(d.initial())
			}
		}
	}
	return t
}

// initial is the default as a value.
func (d *Decl) initial() *value {
	v, err := d.parse(d.Initial())
	if err != nil {
		panic("attr: default of " + err.Error())
	}
	return v
}

func (t *Tree) slot(d *Decl) *slot {
	s := t.slots[d]
	if s == nil {
		panic(fmt.Sprintf("attr: %s is not in this tree: its table was not given to NewTree", d.Path))
	}
	return s
}

// Lookup returns the declaration at path. The error is ENOENT and names the
// nearest path.
func (t *Tree) Lookup(path string) (*Decl, error) {
	s, err := t.find(path)
	if err != nil {
		return nil, err
	}
	return s.decl, nil
}

func (t *Tree) find(path string) (*slot, error) {
	if s := t.byPath[path]; s != nil {
		return s, nil
	}
	if o := t.objectAt(path); o != nil {
		for _, s := range o.slots {
			if s.decl.Path == path {
				return s, nil
			}
		}
	}
	return nil, t.absent(path)
}

// absent is the error for a path where no attribute is.
func (t *Tree) absent(path string) *Error {
	if t.isDir(path) {
		return fail(EISDIR, path, "is a directory")
	}
	candidates := t.paths
	if o := t.objectAt(path); o != nil {
		for _, s := range o.slots {
			candidates = append(candidates[:len(candidates):len(candidates)], s.decl.Path)
		}
	} else if c, _ := t.split(path); c != nil {
		for name := range *c.objects.Load() {
			candidates = append(candidates[:len(candidates):len(candidates)], c.dir+"/"+name)
		}
	}
	if near := nearest(path, candidates); near != "" {
		return fail(ENOENT, path, "no such attribute; the nearest is %s", near)
	}
	return fail(ENOENT, path, "no such attribute")
}

// Get returns the value at path as text without a trailing newline: a list one
// entry a line, a vector one label value and number a line. The error is an
// *Error: ENOENT, EISDIR, or EACCES for what is write-only.
func (t *Tree) Get(path string) (string, error) {
	s, err := t.find(path)
	switch {
	case err != nil:
		return "", err
	case s.decl.Mode == WO:
		return "", fail(EACCES, path, "can be written only")
	case s.decl.Kind.Metric():
		return t.Sample().text(s.decl), nil
	}
	return s.value.Load().text, nil
}

// Set writes text to the attribute at path, and then calls its watchers. The
// error is an *Error of any code, and leaves the old value.
func (t *Tree) Set(path, text string) error {
	_, err := t.set(path, text, nil)
	return err
}

// CompareAndSet does as Set does if the value is old, as Get returns it, and
// reports whether it was.
func (t *Tree) CompareAndSet(path, old, text string) (bool, error) {
	return t.set(path, text, &old)
}

func (t *Tree) set(path, text string, old *string) (bool, error) {
	s, err := t.find(path)
	if err != nil {
		return false, err
	}
	defer take(s.turn)()
	if s.gone {
		return false, t.absent(path)
	}
	if err := s.writable(); err != nil {
		return false, err
	}
	if old != nil && s.value.Load().text != *old {
		return false, nil
	}
	return true, s.store(text)
}

// writable says, in the slot's turn, why nothing can be written to it.
func (s *slot) writable() error {
	if s.decl.Mode == RO {
		return fail(EACCES, s.decl.Path, "can be read only")
	}
	if s.frozen {
		return fail(EACCES, s.decl.Path, "is fixed while running; a value in the configuration directory takes effect at the next start")
	}
	return nil
}

// Freeze ends the time in which Boot attributes can be set.
func (t *Tree) Freeze() {
	for _, s := range t.slots {
		if s.decl.Mode == Boot {
			give := take(s.turn)
			s.frozen = true
			give()
		}
	}
}

// List returns the sorted paths at and below prefix, all of them for "". The
// error is ENOENT.
func (t *Tree) List(prefix string) ([]string, error) {
	var paths []string
	for _, s := range t.below(prefix) {
		paths = append(paths, s.decl.Path)
	}
	if paths == nil && !t.isDir(prefix) {
		return nil, t.absent(prefix)
	}
	return paths, nil
}

// Walk calls f for each attribute and metric at and below prefix, sorted by
// path, with its declaration and its value as Get returns it ("" for what is
// write-only). All metrics are from one sample. The declaration of an object's
// attribute has the path of that attribute.
func (t *Tree) Walk(prefix string, f func(d *Decl, text string)) {
	var sample *Sample
	for _, s := range t.below(prefix) {
		if !s.decl.Kind.Metric() {
			f(s.decl, s.shown(s.value.Load()))
			continue
		}
		if sample == nil {
			sample = t.Sample()
		}
		f(s.decl, sample.text(s.decl))
	}
}

// below returns the slots at and below prefix, sorted by path.
func (t *Tree) below(prefix string) []*slot {
	var slots []*slot
	for _, d := range t.decls {
		if under(d.Path, prefix) {
			slots = append(slots, t.slots[d])
		}
	}
	fixed := len(slots)
	for dir, c := range t.classes {
		if !under(dir, prefix) && !under(prefix, dir) {
			continue
		}
		for _, o := range *c.objects.Load() {
			for _, s := range o.slots {
				if under(s.decl.Path, prefix) {
					slots = append(slots, s)
				}
			}
		}
	}
	if len(slots) > fixed {
		slices.SortFunc(slots, func(a, b *slot) int { return strings.Compare(a.decl.Path, b.decl.Path) })
	}
	return slots
}

// Watch calls f after each successful set of an attribute at or below prefix,
// with its path and its value as Walk shows it; also of objects that are made
// later. It runs in the setter's goroutine; f must be quick, may be called for
// two attributes at once, and must set nothing that it watches, nor watch, nor
// make or remove objects. stop ends it, and is not for f to call.
func (t *Tree) Watch(prefix string, f func(path, text string)) (stop func()) {
	return t.watch(func(s *slot) bool { return under(s.decl.Path, prefix) }, func(s *slot, v *value) {
		f(s.decl.Path, s.shown(v))
	})
}

func (t *Tree) watch(match func(*slot) bool, tell func(*slot, *value)) (stop func()) {
	w := &watcher{match, tell}
	defer take(t.turn)()
	t.watchers = append(t.watchers, w)
	t.eachMatch(w, func(s *slot) { s.watchers = append(s.watchers, w) })
	return func() {
		defer take(t.turn)()
		isW := func(other *watcher) bool { return other == w }
		t.watchers = slices.DeleteFunc(t.watchers, isW)
		t.eachMatch(w, func(s *slot) { s.watchers = slices.DeleteFunc(s.watchers, isW) })
	}
}

// eachMatch calls f in the turn of each slot that w matches.
func (t *Tree) eachMatch(w *watcher, f func(*slot)) {
	for _, s := range t.below("") {
		if !s.decl.Kind.Metric() && w.match(s) {
			give := take(s.turn)
			f(s)
			give()
		}
	}
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// store parses, stores and tells the watchers, in this turn.
func (s *slot) store(text string) error {
	v, err := s.decl.parse(text)
	if err != nil {
		return err
	}
	s.value.Store(v)
	for _, w := range s.watchers {
		w.tell(s, v)
	}
	return nil
}

func (s *slot) shown(v *value) string {
	if s.decl.Mode == WO {
		return ""
	}
	return v.text
}

// merge returns the declarations of tables sorted by path. It panics on a
// malformed one and on paths that cannot stand together.
func merge(tables []*Table) []*Decl {
	var decls []*Decl
	for _, table := range tables {
		decls = append(decls, table.decls...)
	}
	slices.SortFunc(decls, func(a, b *Decl) int { return strings.Compare(a.Path, b.Path) })
	names := map[string]string{}
	for _, d := range decls {
		if err := d.valid(); err != nil {
			panic(fmt.Sprintf("attr: declaration of %q: %v", d.Path, err))
		}
		name := strings.ReplaceAll(d.Path, "/", "_")
		if other, ok := names[name]; ok {
			panic(fmt.Sprintf("attr: %s and %s have one name", other, d.Path))
		}
		names[name] = d.Path
	}
	// '/' sorts before whatever else a path holds, so what lies below a
	// directory follows its name directly.
	for i := 1; i < len(decls); i++ {
		if under(decls[i].Path, decls[i-1].Path) && decls[i-1].Kind != KindObject {
			panic(fmt.Sprintf("attr: %s is an attribute and the directory of %s", decls[i-1].Path, decls[i].Path))
		}
	}
	for _, d := range decls {
		if err := d.validClass(decls); err != nil {
			panic(fmt.Sprintf("attr: declaration of %q: %v", d.Path, err))
		}
	}
	return decls
}
