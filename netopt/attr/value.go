package attr

import (
	"slices"
	"strconv"
	"strings"
)

// MaxBytes is the length that a value cannot exceed, a trailing newline not
// counted: a page, as in sysfs.
const MaxBytes = 4096

// value is a parsed value and its canonical text; never changed once stored.
type value struct {
	text  string
	typed any // int64, bool, string or []string
}

// parse reads what was written to d.
func (d *Decl) parse(text string) (*value, *Error) {
	text = strings.TrimSuffix(text, "\n")
	if len(text) > MaxBytes {
		return nil, fail(EINVAL, d.Path, "is longer than %d bytes", MaxBytes)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return !d.takes(r) }); i >= 0 {
		return nil, fail(EINVAL, d.Path, "byte %d (%#02x) is not printable ASCII", i, text[i])
	}
	switch d.Kind {
	case KindInt:
		return d.parseInt(text)
	case KindBool:
		if text != "0" && text != "1" {
			return nil, fail(EINVAL, d.Path, "%s is neither 0 nor 1", quote(text))
		}
		return &value{text, text == "1"}, nil
	case KindEnum:
		if !slices.Contains(d.Values, text) {
			return nil, fail(EINVAL, d.Path, "%s is not one of %s", quote(text), strings.Join(d.Values, ", "))
		}
		return &value{text, text}, nil
	case KindList:
		return d.parseList(text)
	default:
		return d.parseText(text)
	}
}

// takes reports whether a value may hold r. Only a list has lines.
func (d *Decl) takes(r rune) bool {
	return ' ' <= r && r <= '~' || r == '\n' && d.Kind == KindList
}

func (d *Decl) parseInt(text string) (*value, *Error) {
	digits := strings.TrimPrefix(text, "-")
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return nil, fail(EINVAL, d.Path, "%s is not a whole number (%d..%d)", quote(text), d.Min, d.Max)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < d.Min || n > d.Max {
		return nil, fail(ERANGE, d.Path, "%s is out of range %d..%d", clip(text), d.Min, d.Max)
	}
	return &value{format(n), n}, nil
}

func (d *Decl) parseText(text string) (*value, *Error) {
	if err := d.bound(len(text), "bytes"); err != nil {
		return nil, err
	}
	if err := d.check(text); err != nil {
		return nil, err
	}
	return &value{text, text}, nil
}

func (d *Decl) parseList(text string) (*value, *Error) {
	entries := strings.Fields(text)
	if err := d.bound(len(entries), "entries"); err != nil {
		return nil, err
	}
	for _, e := range entries {
		if err := d.check(e); err != nil {
			return nil, err
		}
	}
	return &value{format(entries), entries}, nil
}

func (d *Decl) bound(n int, what string) *Error {
	if int64(n) >= d.Min && (d.Max == 0 || int64(n) <= d.Max) {
		return nil
	}
	if d.Max == 0 {
		return fail(ERANGE, d.Path, "%d %s are fewer than %d", n, what, d.Min)
	}
	return fail(ERANGE, d.Path, "%d %s are out of range %d..%d", n, what, d.Min, d.Max)
}

func (d *Decl) check(s string) *Error {
	if d.Check == nil {
		return nil
	}
	err := d.Check(s)
	switch {
	case err == nil:
		return nil
	case d.Mode == WO: // a secret; errors go to logs
		return fail(EINVAL, d.Path, "what was written %v", err)
	}
	return fail(EINVAL, d.Path, "%s %v", quote(s), err)
}

// Initial returns the default as text.
func (d *Decl) Initial() string {
	switch {
	case d.Default != "":
		return d.Default
	case d.Kind == KindInt || d.Kind == KindBool:
		return "0"
	case d.Kind == KindEnum:
		return d.Values[0]
	}
	return ""
}

// format is the canonical text of a value.
func format(v any) string {
	switch v := v.(type) {
	case int64:
		return strconv.FormatInt(v, 10)
	case bool:
		if v {
			return "1"
		}
		return "0"
	case []string:
		return strings.Join(v, "\n")
	default:
		return v.(string)
	}
}
