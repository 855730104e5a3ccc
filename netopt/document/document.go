// Package document reads what the attribute tree is wished to be from one JSON
// or YAML document, and says what has to change for that.
//
//	limits:
//	  fixed_streams: 16
//	streams:            # names a class: these objects, and no others
//	  line1:
//	    title: The gate
//	  line2:
//
// What the document does not name stays as it is, with one exception: of a class
// that it names, objects that it does not name go, and attributes of an object
// that it names go back to their defaults. So the same document makes the same
// streams of any box, and a second time changes nothing.
package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"sluice/netopt/attr"
)

// MaxBytes is the size of the largest document.
const MaxBytes = 1 << 20

// Document is a document that was read.
type Document struct {
	values map[string]string // by path
	dirs   map[string]bool   // what is a mapping, or has nothing after its colon
}

// Parse reads a document. JSON is YAML. An error names the line.
func Parse(data []byte) (*Document, error) {
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("the document is longer than %d bytes", MaxBytes)
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	var root yaml.Node
	if err := decoder.Decode(&root); err != nil {
		if err == io.EOF {
			err = errors.New("the document is empty")
		}
		return nil, err
	}
	if err := decoder.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("there is more than one document in the file")
	}
	d := &Document{map[string]string{}, map[string]bool{}}
	top := root.Content[0]
	if top.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: the document is no mapping of names to values", top.Line)
	}
	return d, d.read("", top)
}

// read takes what is at and below a path.
func (d *Document) read(path string, n *yaml.Node) error {
	switch n.Kind {
	case yaml.MappingNode:
		return d.readMapping(path, n)
	case yaml.SequenceNode:
		return d.readList(path, n)
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			d.dirs[path] = true
			return nil
		}
		d.values[path] = scalar(n)
		return nil
	}
	return fmt.Errorf("line %d: %s is an alias: write the value itself", n.Line, path)
}

func (d *Document) readMapping(path string, n *yaml.Node) error {
	d.dirs[path] = true
	for i := 0; i < len(n.Content); i += 2 {
		key := n.Content[i]
		if key.Kind != yaml.ScalarNode || key.Value == "" || strings.Contains(key.Value, "/") {
			return fmt.Errorf("line %d: a key is a name", key.Line)
		}
		below := strings.TrimPrefix(path+"/"+key.Value, "/")
		if _, twice := d.values[below]; twice || d.dirs[below] {
			return fmt.Errorf("line %d: %s is there twice", key.Line, below)
		}
		if err := d.read(below, n.Content[i+1]); err != nil {
			return err
		}
	}
	return nil
}

func (d *Document) readList(path string, n *yaml.Node) error {
	var entries []string
	for _, entry := range n.Content {
		if entry.Kind != yaml.ScalarNode {
			return fmt.Errorf("line %d: an entry of %s is no plain value", entry.Line, path)
		}
		entries = append(entries, scalar(entry))
	}
	d.values[path] = strings.Join(entries, "\n")
	return nil
}

// scalar is the text as it stands: the tree, and not YAML, says what is a
// number. Only a boolean is written in another way there.
func scalar(n *yaml.Node) string {
	if n.Tag == "!!bool" {
		return map[bool]string{true: "1", false: "0"}[strings.EqualFold(n.Value, "true")]
	}
	return n.Value
}

// Change returns what makes tree what the document says, and does it to tree,
// which is a copy of the one that is meant. What is write-only is in it each
// time. The errors are all there are.
func (d *Document) Change(tree *attr.Tree) (attr.Change, []error) {
	change := attr.Change{Set: map[string]string{}}
	wanted := maps.Clone(d.values)
	d.removeObjects(tree, &change)
	// How many objects there may be is a value too.
	first := maps.Clone(wanted)
	maps.DeleteFunc(first, func(path, _ string) bool { _, err := tree.Lookup(path); return err != nil })
	errs := settle(tree, first, &change)
	for path := range first {
		delete(wanted, path)
	}
	for _, dir := range slices.Sorted(maps.Keys(d.dirs)) {
		if err := d.makeObject(tree, dir, wanted, &change); err != nil {
			errs = append(errs, err)
		}
	}
	return change, append(errs, settle(tree, wanted, &change)...)
}

// settle sets what differs.
func settle(tree *attr.Tree, wanted map[string]string, change *attr.Change) (errs []error) {
	for _, path := range slices.Sorted(maps.Keys(wanted)) {
		text, err := tree.Canonical(path, wanted[path])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if now, err := tree.Get(path); err == nil && now == text {
			continue
		}
		if err := tree.Set(path, text); err != nil {
			errs = append(errs, err)
			continue
		}
		change.Set[path] = text
	}
	return errs
}

// removeObjects removes the objects of named classes that are not named.
func (d *Document) removeObjects(tree *attr.Tree, change *attr.Change) {
	for _, class := range tree.ClassDirs() {
		if !d.dirs[class] {
			continue
		}
		for _, name := range tree.Objects(class) {
			object := class + "/" + name
			if !d.dirs[object] && tree.Rmdir(object) == nil {
				change.Rmdir = append(change.Rmdir, object)
			}
		}
	}
}

// makeObject makes the object that a mapping stands for if it is not there yet,
// and wants the defaults of those attributes that the document does not name.
func (d *Document) makeObject(tree *attr.Tree, dir string, wanted map[string]string, change *attr.Change) error {
	i := max(strings.LastIndexByte(dir, '/'), 0)
	if !slices.Contains(tree.ClassDirs(), dir[:i]) {
		_, err := tree.List(dir)
		if _, notDir := tree.Lookup(dir); err == nil && notDir == nil {
			return fmt.Errorf("%s: has no value", dir)
		}
		return err
	}
	if !tree.IsObject(dir) {
		if err := tree.Mkdir(dir); err != nil {
			return err
		}
		change.Mkdir = append(change.Mkdir, dir)
	}
	tree.Walk(dir, func(decl *attr.Decl, _ string) {
		if _, named := d.values[decl.Path]; !named && decl.Mode == attr.RW {
			wanted[decl.Path] = decl.Initial()
		}
	})
	return nil
}
