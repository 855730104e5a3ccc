// Package config reads the persistent tree: a plain directory with the paths of
// the attribute tree, one value a file.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"sluice/netopt/attr"
)

// Load makes each object of tree that has a directory below dir, and sets each
// attribute that has a file. A dir that does not exist holds none. What cannot be read or set keeps its value, and is in
// the returned errors, each naming a file and a reason. Layers are several Loads,
// the weakest first.
//
// Hidden files and what editors and package managers leave beside a file are
// passed over. Symbolic links are followed within dir only.
func Load(dir string, tree *attr.Tree) []error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return []error{err}
	}
	defer root.Close()
	var errs []error
	fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
		case entry.IsDir():
			err = loadDir(name, tree)
		case !leftover(path.Base(name)):
			err = loadFile(root, name, tree)
		}
		if err != nil && err != fs.SkipDir {
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(dir, name), reason(err)))
		}
		if err != nil && entry != nil && entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	})
	return errs
}

// loadDir makes the object that a directory stands for. Other directories are
// what their files say.
func loadDir(name string, tree *attr.Tree) error {
	if name != "." && path.Base(name)[0] == '.' {
		return fs.SkipDir
	}
	err := tree.Mkdir(name)
	var wrong *attr.Error
	if errors.As(err, &wrong) && (wrong.Code == attr.EEXIST || wrong.Code == attr.EPERM) {
		return nil
	}
	return err
}

func loadFile(root *os.Root, name string, tree *attr.Tree) error {
	// Without O_NONBLOCK, opening a FIFO would wait for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil {
		return err
	} else if !info.Mode().IsRegular() {
		return errors.New("is not a regular file")
	}
	text, err := io.ReadAll(io.LimitReader(f, attr.MaxBytes+2)) // one for the newline, one too many
	if err != nil {
		return err
	}
	return tree.Set(name, string(text))
}

// reason strips the path from err, since the file's name says it already.
func reason(err error) error {
	var wrong *attr.Error
	if errors.As(err, &wrong) {
		return errors.New(wrong.Reason)
	}
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// leftover reports whether a file is none that an operator means to be read. No
// attribute has such a name.
func leftover(name string) bool {
	if name[0] == '.' || name[0] == '#' || strings.HasSuffix(name, "~") {
		return true
	}
	switch path.Ext(name) {
	case ".swp", ".swx", ".tmp", ".bak", ".orig", ".err", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".rpmnew", ".rpmsave":
		return true
	}
	return false
}
