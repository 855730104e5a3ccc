package attr

import (
	"fmt"
	"strconv"
	"strings"
)

// Code is the errno that a file in sysfs would give.
type Code string

// The codes.
const (
	EINVAL Code = "EINVAL" // not a value of this kind
	ERANGE Code = "ERANGE" // of this kind, but out of bounds
	EACCES Code = "EACCES" // cannot be read or written (now)
	ENOENT Code = "ENOENT" // no such attribute
	EISDIR Code = "EISDIR" // a directory where an attribute is wanted
	EEXIST Code = "EEXIST" // there is one already
	EPERM  Code = "EPERM"  // objects are neither made nor removed here
	ENOSPC Code = "ENOSPC" // more objects than there may be
)

// errnos are those of Linux, the same on all its architectures.
var errnos = map[Code]int{EPERM: 1, ENOENT: 2, EACCES: 13, EEXIST: 17, EISDIR: 21, EINVAL: 22, ENOSPC: 28, ERANGE: 34}

// Errno returns the code's number, 0 for what is no code.
func (c Code) Errno() int { return errnos[c] }

// Error says why an attribute was not read or written. Nothing has changed.
type Error struct {
	Code   Code
	Path   string
	Reason string
}

func (e *Error) Error() string { return clip(e.Path) + ": " + e.Reason }

func fail(c Code, path, format string, args ...any) *Error {
	return &Error{c, path, fmt.Sprintf(format, args...)}
}

// clip makes what came from outside fit into a line of plain ASCII.
func clip(s string) string {
	q := quote(s)
	return q[1 : len(q)-1]
}

// quote is clip between quotation marks.
func quote(s string) string {
	const most = 64
	if len(s) > most {
		s = s[:most] + "..."
	}
	return strconv.QuoteToASCII(s)
}

// nearest returns the path that was probably meant, or "".
func nearest(path string, paths []string) string {
	if len(path) > 128 {
		return "" // the distance takes len(path) steps a byte
	}
	best, least := "", len(path)/3+1
	for _, p := range paths {
		if path != "" && (strings.HasSuffix(p, "/"+path) || strings.HasPrefix(p, path+"_")) {
			return p // only the directory, or the unit, is missing
		}
		if d := distance(path, p); d < least {
			best, least = p, d
		}
	}
	return best
}

// distance is the edit distance of Levenshtein.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
