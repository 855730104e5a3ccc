package attr

import (
	"maps"
	"slices"
	"strings"
)

// Change is a change of many values and objects that is made as a whole, or not
// at all: first objects go, then attributes that are no object's are set, then
// objects are made, then their attributes are set. An object that goes and is
// made begins anew.
type Change struct {
	Rmdir []string          `json:"rmdir,omitempty"`
	Mkdir []string          `json:"mkdir,omitempty"`
	Set   map[string]string `json:"set,omitempty"`
}

// Check says everything that would be wrong with a change now; nil for nothing.
func (t *Tree) Check(c Change) []error {
	defer take(t.turn)()
	return t.check(c)
}

// Apply makes a change, or returns what is wrong with it and changes nothing.
func (t *Tree) Apply(c Change) []error {
	defer take(t.turn)()
	if errs := t.check(c); errs != nil {
		return errs
	}
	for _, path := range c.Rmdir {
		t.rmdir(path)
	}
	var errs []error
	set := func(objects bool) {
		for _, path := range slices.Sorted(maps.Keys(c.Set)) {
			if (t.byPath[path] == nil) == objects {
				errs = appendError(errs, t.Set(path, c.Set[path]))
			}
		}
	}
	set(false)
	for _, path := range c.Mkdir {
		t.mkdir(path)
	}
	set(true)
	return errs
}

func appendError(errs []error, err error) []error {
	if err != nil {
		errs = append(errs, err)
	}
	return errs
}

// check is Check in the tree's turn, in which no object comes or goes, and
// nothing freezes once it is not frozen but at start.
func (t *Tree) check(c Change) []error {
	var errs []error
	for i, path := range c.Rmdir {
		if slices.Contains(c.Rmdir[:i], path) {
			errs = append(errs, fail(ENOENT, path, "is removed before"))
		}
		errs = appendError(errs, t.checkObject(path))
	}
	made := map[*class]int{}
	for i, path := range c.Mkdir {
		errs = appendError(errs, t.checkMkdir(c, i, made))
		class, _ := t.split(path)
		made[class]++
	}
	for _, path := range slices.Sorted(maps.Keys(c.Set)) {
		errs = appendError(errs, t.checkSet(c, path))
	}
	return errs
}

// checkMkdir checks c.Mkdir[i], where the change makes as many before it as made
// says.
func (t *Tree) checkMkdir(c Change, i int, made map[*class]int) error {
	path := c.Mkdir[i]
	class, name := t.split(path)
	if err := t.checkName(class, path, name); err != nil {
		return err
	}
	there := (t.isDir(path) || t.byPath[path] != nil) && !slices.Contains(c.Rmdir, path)
	if there || slices.Contains(c.Mkdir[:i], path) {
		return fail(EEXIST, path, "is there already")
	}
	have := len(*class.objects.Load()) + made[class]
	for _, gone := range c.Rmdir {
		if strings.HasPrefix(gone, class.dir+"/") {
			have--
		}
	}
	limit := t.slot(class.decl.limit).value.Load().typed.(int64)
	if text, ok := c.Set[class.decl.limit.Path]; ok {
		if v, err := class.decl.limit.parse(text); err == nil {
			limit = v.typed.(int64)
		}
	}
	return class.checkRoom(path, have, limit)
}

func (t *Tree) checkSet(c Change, path string) error {
	dir := path[:max(strings.LastIndexByte(path, '/'), 0)]
	if slices.Contains(c.Mkdir, dir) {
		class, name := t.split(dir)
		if class == nil {
			return nil // said of the object
		}
		for _, s := range class.make(name).slots {
			if s.decl.Path == path {
				_, err := s.decl.parse(c.Set[path])
				return asError(err)
			}
		}
		return t.absent(path)
	}
	s, err := t.find(path)
	switch {
	case err != nil:
		return err
	case t.byPath[path] == nil && slices.Contains(c.Rmdir, dir):
		return fail(ENOENT, path, "is removed with its object")
	}
	defer take(s.turn)()
	if err := s.writable(); err != nil {
		return err
	}
	_, wrong := s.decl.parse(c.Set[path])
	return asError(wrong)
}

// asError keeps a nil *Error from becoming an error that is not nil.
func asError(err *Error) error {
	if err == nil {
		return nil
	}
	return err
}
