package attr

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// valid says what is wrong with the declaration itself.
func (d *Decl) valid() error {
	for _, rule := range []func() error{d.validPath, d.validUnit, d.validRange, d.validWords, d.validBounds, d.validDoc} {
		if err := rule(); err != nil {
			return err
		}
	}
	return nil
}

func (d *Decl) validPath() error {
	segments := strings.Split(d.Path, "/")
	if i := slices.Index(segments, placeholder); i > 0 {
		segments = slices.Delete(segments, i, i+1)
	}
	for _, segment := range segments {
		if !isName(segment) {
			return fmt.Errorf("segment %q is not [a-z][a-z0-9_]*", segment)
		}
	}
	if strings.HasSuffix(d.Path, "_total") {
		return errors.New("the name ends in _total: metrics are given that")
	}
	return nil
}

// validClass says what is wrong with the declaration of a class or of an
// object's attribute, among all others.
func (d *Decl) validClass(decls []*Decl) error {
	dir, _, inObject := strings.Cut(d.Path, "/"+placeholder+"/")
	has := func(match func(*Decl) bool) bool { return slices.ContainsFunc(decls, match) }
	switch {
	case (d.Kind == KindObject) != strings.HasSuffix(d.Path, "/"+placeholder):
		return errors.New("the path of a class, and of nothing else, ends in /" + placeholder)
	case d.Kind == KindObject && !has(func(o *Decl) bool { return under(o.Path, d.Path) && o != d }):
		return errors.New("the objects have no attributes")
	case d.Kind == KindObject && !(slices.Contains(decls, d.limit) && slices.Contains(decls, d.refused)):
		return errors.New("its limit and its counter are not declared")
	case !inObject:
		return nil
	case d.Kind.Metric() || d.Mode == RO || d.Mode == Boot:
		return errors.New("an attribute of objects is RW or WO: objects are made while running, and make no series")
	case !has(func(c *Decl) bool { return c.Kind == KindObject && c.Path == dir+"/"+placeholder }):
		return errors.New("no class is declared for it")
	}
	return nil
}

func isName(s string) bool {
	return s != "" && 'a' <= s[0] && s[0] <= 'z' && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
}

func (d *Decl) validUnit() error {
	last := d.Path[strings.LastIndexByte(d.Path, '/')+1:]
	switch {
	case d.Unit == "":
		return nil
	case !isName(d.Unit):
		return fmt.Errorf("unit %q is not [a-z][a-z0-9_]*", d.Unit)
	case d.Kind != KindInt && !d.Kind.Metric():
		return fmt.Errorf("a %v has no unit", d.Kind)
	case last != d.Unit && !strings.HasSuffix(last, "_"+d.Unit):
		return fmt.Errorf("the name does not end in the unit %q", d.Unit)
	}
	return nil
}

func (d *Decl) validRange() error {
	sized := d.Kind == KindText || d.Kind == KindList
	switch {
	case d.Kind == KindInt && d.Min >= d.Max:
		return fmt.Errorf("range %d..%d is empty", d.Min, d.Max)
	case sized && (d.Min < 0 || d.Max < 0 || d.Max > 0 && d.Min > d.Max || d.Max > MaxBytes):
		return fmt.Errorf("length %d..%d is impossible", d.Min, d.Max)
	case d.Kind != KindInt && !sized && (d.Min != 0 || d.Max != 0):
		return fmt.Errorf("a %v has no range", d.Kind)
	case (d.Kind.Metric() || d.Kind == KindObject) && d.Default != "":
		return fmt.Errorf("a %v has no default", d.Kind)
	case d.Check != nil && !sized:
		return fmt.Errorf("a %v has no check", d.Kind)
	}
	return nil
}

func (d *Decl) validWords() error {
	wanted := d.Kind == KindEnum || d.Label != ""
	switch {
	case d.Label != "" && (!d.Kind.Metric() || !isName(d.Label)):
		return fmt.Errorf("label %q", d.Label)
	case wanted != (len(d.Values) > 0):
		return errors.New("Values go with an Enum, or with a Label")
	}
	for i, v := range d.Values {
		if v == "" || strings.ContainsFunc(v, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return fmt.Errorf("Values[%d] = %q is not a word", i, v)
		}
		if slices.Contains(d.Values[:i], v) {
			return fmt.Errorf("%q is in Values twice", v)
		}
	}
	return nil
}

func (d *Decl) validDoc() error {
	switch doc := strings.TrimSpace(d.Doc); {
	case d.Since == "":
		return errors.New("Since is empty")
	case !strings.HasSuffix(doc, "."):
		return errors.New("Doc is not a sentence")
	}
	return nil
}

// Paragraphs returns the Doc cut at empty lines, each paragraph one line.
func (d *Decl) Paragraphs() []string {
	var paragraphs []string
	var words []string
	for line := range strings.Lines(d.Doc + "\n\n") {
		fields := strings.Fields(line)
		words = append(words, fields...)
		if len(fields) == 0 && words != nil {
			paragraphs = append(paragraphs, strings.Join(words, " "))
			words = nil
		}
	}
	return paragraphs
}
