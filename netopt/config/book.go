package config

import (
	"errors"
	"maps"
	"slices"
	"strings"

	"sluice/netopt/attr"
)

// book knows what the files have said so far, and decides what a change of them
// means. It reads no file.
type book struct {
	tree  *attr.Tree
	held  map[string]string // what the command line sets, by path
	live  bool              // the tree is in use: what is refused keeps the value that it has
	said  map[string]string // what files said last with effect, by path
	made  map[string]bool   // directories that are objects
	notes map[place]note    // what is not in effect
}

// place names a file of a layer.
type place struct {
	layer int
	name  string
}

// note says why a file is not in effect.
type note struct {
	text    string // of the file
	reason  string
	pending bool // nothing is wrong with the value: it has to wait
	fell    bool // a weaker value is in effect, and not the last good one
}

// line is the note as its file says it.
func (n note) line() string { return n.reason + "\n" }

func newBook(tree *attr.Tree, held map[string]string) book {
	return book{tree: tree, held: held, said: map[string]string{}, made: map[string]bool{}, notes: map[place]note{}}
}

// update brings the tree to what the layers say, the weakest first, and returns
// the paths of what changed. The notes are new ones.
func (b *book) update(layers []layer) (done []string) {
	before := b.notes
	b.notes = map[place]note{}
	paths := map[string]bool{}
	for p := range b.said {
		paths[p] = true
	}
	for i := range layers {
		for p := range layers[i].files {
			paths[p] = true
		}
	}
	// How many objects there may be is an attribute, those of objects come after them.
	b.removeObjects(layers, &done)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		if _, err := b.tree.Lookup(p); err == nil {
			delete(paths, p)
			b.settle(p, layers, &done)
		}
	}
	absent := b.makeObjects(layers, &done)
	for _, p := range slices.Sorted(maps.Keys(paths)) {
		if !within(p, absent) {
			b.settle(p, layers, &done)
		}
	}
	for p, n := range b.notes {
		if !n.pending {
			n.fell = !b.live || before[p].fell
			b.notes[p] = n
		}
	}
	return done
}

// removeObjects removes the objects whose directories are in no layer any more.
func (b *book) removeObjects(layers []layer, done *[]string) {
	for _, dir := range slices.Sorted(maps.Keys(b.made)) {
		if slices.ContainsFunc(layers, func(l layer) bool { return l.dirs[dir] }) {
			continue
		}
		if b.tree.Rmdir(dir) == nil { // else another face has removed it already
			*done = append(*done, dir)
		}
		b.forgetObject(dir)
	}
}

// makeObjects makes the objects of new directories. It returns the directories
// that have none, since it is refused or another face has removed it: what their
// files say does not count.
func (b *book) makeObjects(layers []layer, done *[]string) (absent map[string]bool) {
	absent = map[string]bool{}
	for i := range layers {
		for _, dir := range slices.Sorted(maps.Keys(layers[i].dirs)) {
			if absent[dir] {
				continue
			}
			if b.made[dir] {
				if _, err := b.tree.List(dir); err != nil {
					absent[dir] = true
				}
				continue
			}
			switch err := b.tree.Mkdir(dir); code(err) {
			case "":
				b.made[dir] = true
				*done = append(*done, dir)
			case attr.EEXIST:
				b.made[dir] = true
			case attr.EPERM: // no object, but a directory of attributes
			default:
				absent[dir] = true
				b.notes[place{i, dir}] = note{reason: why(err)}
			}
		}
	}
	return absent
}

func (b *book) forgetObject(dir string) {
	delete(b.made, dir)
	maps.DeleteFunc(b.said, func(p, _ string) bool { return strings.HasPrefix(p, dir+"/") })
}

// within reports whether path lies below one of dirs.
func within(path string, dirs map[string]bool) bool {
	for i, c := range path {
		if c == '/' && dirs[path[:i]] {
			return true
		}
	}
	return false
}

// settle decides about one path; done gets it if its value is a new one.
func (b *book) settle(path string, layers []layer, done *[]string) {
	for i := len(layers) - 1; i >= 0; i-- {
		f, ok := layers[i].files[path]
		if !ok {
			continue
		}
		n := b.try(path, f, done)
		if n != (note{}) {
			b.notes[place{i, path}] = n
		}
		if n == (note{}) || n.pending || b.live {
			return
		}
	}
	if b.live {
		b.forget(path, done)
	}
}

// try sets a path to what a file says if that is new. The note is zero if the
// file is in effect.
func (b *book) try(path string, f file, done *[]string) note {
	if f.err != "" {
		return note{reason: f.err}
	}
	text, err := b.tree.Canonical(path, f.text)
	if err != nil {
		return note{text: f.text, reason: why(err)}
	}
	if said, ok := b.said[path]; ok && said == text {
		return note{}
	}
	if wait := b.waits(path, text); wait != "" {
		return note{text: f.text, reason: wait, pending: true}
	}
	if now, err := b.tree.Get(path); err == nil && now == text {
		b.said[path] = text
		return note{}
	}
	if err := b.tree.Set(path, text); err != nil {
		return note{text: f.text, reason: why(err)}
	}
	b.said[path] = text
	*done = append(*done, path)
	return note{}
}

// waits says why a path does not take a value now, "" if it does or has it.
func (b *book) waits(path, text string) string {
	if held, ok := b.held[path]; ok {
		if said, err := b.tree.Canonical(path, held); err == nil && said == text {
			return ""
		}
		return "is not in effect: the command line says otherwise"
	}
	d, err := b.tree.Lookup(path)
	if err != nil || !b.live || d.Mode != attr.Boot {
		return ""
	}
	if now, err := b.tree.Get(path); err == nil && now == text {
		return ""
	}
	return "takes effect at the next start"
}

// forget gives a path that no file speaks of any more its default.
func (b *book) forget(path string, done *[]string) {
	d, err := b.tree.Lookup(path)
	if _, ok := b.said[path]; !ok || err != nil || b.waits(path, d.Initial()) != "" {
		return
	}
	delete(b.said, path)
	if b.tree.Set(path, d.Initial()) == nil {
		*done = append(*done, path)
	}
}

// code is the errno of an error of the tree, "" for none.
func code(err error) attr.Code {
	var wrong *attr.Error
	if errors.As(err, &wrong) {
		return wrong.Code
	}
	return ""
}

// why is the reason in an error of the tree, without the path, which the file's
// name says.
func why(err error) string {
	var wrong *attr.Error
	if errors.As(err, &wrong) {
		return wrong.Reason
	}
	return err.Error()
}
