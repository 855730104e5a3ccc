package attr

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
)

// Tree holds the values of a set of declarations. All methods may be called
// from any goroutine. Readers never wait; sets of one attribute come one after
// another, each with its watchers.
type Tree struct {
	decls      []*Decl // sorted by path
	paths      []string
	slots      map[*Decl]*slot
	byPath     map[string]*slot
	collectors atomic.Pointer[[]func(*Sample)]
}

// slot is the place of one value.
type slot struct {
	decl  *Decl
	value atomic.Pointer[value]

	// turn holds one token while nobody changes the slot. A channel and not a
	// mutex, since this package keeps to the rules of the code it configures.
	turn     chan struct{}
	frozen   bool            // under turn
	watchers []*func(*value) // under turn, in the order they came
}

// NewTree returns a tree of all declarations of tables at their defaults. A
// declaration that is malformed, or clashes with another, is a mistake in the
// program: NewTree panics and names it.
func NewTree(tables ...*Table) *Tree {
	t := &Tree{slots: map[*Decl]*slot{}, byPath: map[string]*slot{}}
	t.collectors.Store(new([]func(*Sample)))
	t.decls = merge(tables)
	for _, d := range t.decls {
		s := &slot{decl: d, turn: make(chan struct{}, 1)}
		s.turn <- struct{}{}
		t.slots[d], t.byPath[d.Path] = s, s
		t.paths = append(t.paths, d.Path)
		if d.Kind.Metric() {
			continue
		}
		v, err := d.parse(d.Initial())
		if err != nil {
			panic("attr: default of " + err.Error())
		}
		s.value.Store(v)
	}
	return t
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
	if near := nearest(path, t.paths); near != "" {
		return nil, fail(ENOENT, path, "no such attribute; the nearest is %s", near)
	}
	return nil, fail(ENOENT, path, "no such attribute")
}

// Get returns the value at path as text without a trailing newline: a list one
// entry a line, a vector one label value and number a line. The error is an
// *Error: ENOENT, or EACCES for what is write-only.
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
	defer s.take()()
	if s.decl.Mode == RO {
		return false, fail(EACCES, path, "can be read only")
	}
	if s.frozen {
		return false, fail(EACCES, path, "is fixed while running; a value in the configuration directory takes effect at the next start")
	}
	if old != nil && s.value.Load().text != *old {
		return false, nil
	}
	return true, s.store(text)
}

// Freeze ends the time in which Boot attributes can be set.
func (t *Tree) Freeze() {
	for _, s := range t.slots {
		if s.decl.Mode == Boot {
			give := s.take()
			s.frozen = true
			give()
		}
	}
}

// List returns the sorted paths at and below prefix, all of them for "". The
// error is ENOENT.
func (t *Tree) List(prefix string) ([]string, error) {
	var paths []string
	for _, p := range t.paths {
		if under(p, prefix) {
			paths = append(paths, p)
		}
	}
	if paths == nil && prefix != "" {
		_, err := t.find(prefix)
		return nil, err
	}
	return paths, nil
}

// Walk calls f for each declaration at and below prefix, sorted by path, with
// its value as Get returns it ("" for what is write-only). All metrics are from
// one sample.
func (t *Tree) Walk(prefix string, f func(d *Decl, text string)) {
	var sample *Sample
	for _, d := range t.decls {
		switch {
		case !under(d.Path, prefix):
		case d.Kind.Metric():
			if sample == nil {
				sample = t.Sample()
			}
			f(d, sample.text(d))
		default:
			f(d, t.slots[d].shown(t.slots[d].value.Load()))
		}
	}
}

// Watch calls f after each successful set of an attribute at or below prefix,
// with its path and its value as Walk shows it. It runs in the setter's
// goroutine; f must be quick, may be called for two attributes at once, and must
// set nothing that it watches. stop ends it, and is not for f to call.
func (t *Tree) Watch(prefix string, f func(path, text string)) (stop func()) {
	var stops []func()
	for _, s := range t.slots {
		if under(s.decl.Path, prefix) && !s.decl.Kind.Metric() {
			stops = append(stops, s.watch(func(v *value) { f(s.decl.Path, s.shown(v)) }))
		}
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

// under reports whether path is prefix or lies below it.
func under(path, prefix string) bool {
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (prefix == "" || rest == "" || rest[0] == '/')
}

// take waits for the slot's turn and returns what ends it.
func (s *slot) take() (give func()) {
	<-s.turn
	return func() { s.turn <- struct{}{} }
}

// store parses, stores and tells the watchers, in this turn.
func (s *slot) store(text string) error {
	v, err := s.decl.parse(text)
	if err != nil {
		return err
	}
	s.value.Store(v)
	for _, f := range s.watchers {
		(*f)(v)
	}
	return nil
}

func (s *slot) shown(v *value) string {
	if s.decl.Mode == WO {
		return ""
	}
	return v.text
}

func (s *slot) watch(f func(*value)) (stop func()) {
	defer s.take()()
	s.watchers = append(s.watchers, &f)
	return func() {
		defer s.take()()
		s.watchers = slices.DeleteFunc(s.watchers, func(w *func(*value)) bool { return w == &f })
	}
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
		if under(decls[i].Path, decls[i-1].Path) {
			panic(fmt.Sprintf("attr: %s is an attribute and the directory of %s", decls[i-1].Path, decls[i].Path))
		}
	}
	return decls
}
