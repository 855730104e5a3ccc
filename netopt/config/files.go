package config

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"sluice/netopt/attr"
)

// layer is what one directory says.
type layer struct {
	files map[string]file   // by path below the directory, which is an attribute's path if it is one
	dirs  map[string]bool   // directories below it
	notes map[string]string // what the .err files beside files say, by the file's name
}

// file is what one file says.
type file struct {
	text string
	err  string // why it cannot be read, "" if it can
}

// readLayer reads all below dir. Symbolic links to files are followed within dir
// only, those to directories not. A dir that does not exist is empty.
func readLayer(dir string, visit func(dir string)) layer {
	l := layer{map[string]file{}, map[string]bool{}, map[string]string{}}
	visit(dir)
	root, err := os.OpenRoot(dir)
	if err != nil {
		if !gone(err) {
			l.files["."] = file{err: reason(err)}
		}
		return l
	}
	defer root.Close()
	fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			if !gone(err) {
				l.files[name] = file{err: reason(err)}
			}
		case entry.IsDir() && leftover(name, true):
			return fs.SkipDir
		case entry.IsDir():
			l.dirs[name] = true
			visit(path.Join(dir, name))
		case isNote(name):
			l.notes[strings.TrimSuffix(name, noteSuffix)] = readNote(root, name)
		case !leftover(name, false):
			l.readFile(root, name)
		}
		return nil
	})
	delete(l.dirs, ".")
	return l
}

func (l *layer) readFile(root *os.Root, name string) {
	text, err := readRegular(root, name)
	switch {
	case gone(err) && !isLink(root, name): // between listing and reading
	case err != nil:
		l.files[name] = file{err: reason(err)}
	default:
		l.files[name] = file{text: text}
	}
}

func readRegular(root *os.Root, name string) (string, error) {
	// Opening a device can do something; asking what it is does not.
	if info, err := root.Stat(name); err != nil {
		return "", err
	} else if !info.Mode().IsRegular() {
		return "", errors.New("is not a regular file")
	}
	// Without O_NONBLOCK, opening a FIFO that came meanwhile would wait for a writer.
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, attr.MaxBytes+2)) // one for the newline, one too many
	return string(text), err
}

func isLink(root *os.Root, name string) bool {
	info, err := root.Lstat(name)
	return err == nil && info.Mode().Type() == fs.ModeSymlink
}

func gone(err error) bool { return errors.Is(err, fs.ErrNotExist) }

// reason strips the path from err, since whoever tells it names the file.
func reason(err error) string {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err.Error()
	}
	return err.Error()
}

// leftover reports whether an entry is none that an operator means to be read:
// hidden, or what editors and package managers leave beside a file. No attribute
// has such a name.
func leftover(name string, dir bool) bool {
	base := path.Base(name)
	if base == "." {
		return false
	}
	if base[0] == '.' || base[0] == '#' || strings.HasSuffix(base, "~") {
		return true
	}
	if dir {
		return false
	}
	if strings.Trim(base, "0123456789") == "" {
		return true // vi tries with 4913, or a number after it, whether it may write
	}
	switch path.Ext(base) {
	case ".swp", ".swo", ".swx", ".tmp", ".bak", ".orig", ".err", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".dpkg-tmp", ".rpmnew", ".rpmsave", ".rpmorig":
		return true
	}
	return false
}
