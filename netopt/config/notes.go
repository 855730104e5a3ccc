package config

import (
	"os"
	"path"
	"strings"

	"sluice/netopt/attr"
)

// noteSuffix ends the name of a file that says why the one beside it is not in
// effect.
const noteSuffix = ".err"

// isNote reports whether name is that of such a file.
func isNote(name string) bool {
	base := path.Base(name)
	return base[0] != '.' && strings.HasSuffix(base, noteSuffix)
}

// readNote returns what a note says; what cannot be read says something else
// than any note would.
func readNote(root *os.Root, name string) string {
	if text, err := readRegular(root, name); err == nil && len(text) <= attr.MaxBytes {
		return text
	}
	return ""
}

// writeNote writes the note beside a file below dir, or removes it if line is "".
// The note is renamed to its name: it is there whole or not at all, and what was
// there in its place, such as a link, is not written through.
func writeNote(dir, name, line string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	to := name + noteSuffix
	if line == "" {
		return root.Remove(to)
	}
	temp := path.Join(path.Dir(name), "."+path.Base(to))
	root.Remove(temp) // of a process that ended here
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = f.WriteString(line)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = root.Rename(temp, to)
	}
	if err != nil {
		root.Remove(temp)
	}
	return err
}
