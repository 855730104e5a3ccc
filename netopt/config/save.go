package config

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"

	"sluice/netopt/attr"
)

// Load makes a tree that nobody uses yet what a start would make it: what is
// wrong in the layers, the weakest first, is passed over.
func Load(tree *attr.Tree, layers ...string) {
	b := newBook(tree, nil)
	var all []layer
	for _, dir := range layers {
		all = append(all, readLayer(dir, func(string) {}))
	}
	b.update(all)
}

// Save makes the files and directories below dir say what a change does: the
// next Load makes it. Each file is replaced at once, so that whoever reads it
// meanwhile, or after a power cut, finds the old value or the new one.
func Save(dir string, change attr.Change) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, object := range change.Rmdir {
		if err := removeObject(root, object); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, object), err)
		}
	}
	for _, object := range change.Mkdir {
		if err := root.MkdirAll(object, 0o755); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, object), err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(change.Set)) {
		if err := saveFile(root, name, change.Set[name]+"\n"); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(dir, name), err)
		}
	}
	return nil
}

func removeObject(root *os.Root, object string) error {
	if _, err := root.Lstat(object); errors.Is(err, os.ErrNotExist) {
		return errors.New("is not here: the object comes from another layer of the configuration, and would come back")
	}
	return root.RemoveAll(object)
}

func saveFile(root *os.Root, name, text string) error {
	dir := path.Dir(name)
	if err := root.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	fresh := path.Join(dir, "."+path.Base(name)+".tmp") // which Load passes over
	f, err := root.OpenFile(fresh, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := root.Rename(fresh, name); err != nil {
		return err
	}
	d, err := root.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
