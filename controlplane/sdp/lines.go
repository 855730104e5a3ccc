package sdp

import (
	"fmt"
	"sort"
	"strings"

	grammar "github.com/pion/sdp/v3"
)

// Limits of an offer. A browser's offer with every codec it knows is 8 kB in 230
// lines; the limits keep the work for a hostile one under a few milliseconds.
const (
	maxBody       = 64 << 10
	maxLines      = 2048
	maxCandidates = 256
	// maxMedia also keeps the answer under the 8192 bytes that FFmpeg's WHIP
	// muxer reads.
	maxMedia = 8
)

// line is one non-empty line of an offer without its end.
type line struct {
	number int // from 1
	text   string
}

// fail returns an Error about the line.
func (l line) fail(reason string, args ...any) *Error {
	end := len(l.text)
	if i := strings.IndexAny(l.text, ": "); i >= 0 {
		end = i
	}
	return &Error{l.number, strings.ToValidUTF8(l.text[:min(end, 32)], "?"), fmt.Sprintf(reason, args...)}
}

// split cuts a body, which is called what, into lines and holds it to the limits,
// so that the grammar is only ever asked about input of a sane size and shape.
func split(body []byte, what string, longest int) ([]line, error) {
	if len(body) > longest {
		return nil, &Error{0, what, fmt.Sprintf("%d bytes; at most %d are read", len(body), longest)}
	}
	var lines []line
	media, candidates, number := 0, 0, 0
	for text := range strings.SplitSeq(string(body), "\n") {
		number++
		l := line{number, strings.TrimSuffix(text, "\r")}
		switch {
		case l.text == "":
			continue
		case strings.ContainsFunc(l.text, control):
			return nil, &Error{number, what, "holds a control character"}
		case len(l.text) < 2 || l.text[1] != '=':
			return nil, l.fail("is not of the form <letter>=<value>")
		case strings.HasPrefix(l.text, "m="):
			media++
		case strings.HasPrefix(l.text, "a=candidate:"):
			candidates++
		}
		lines = append(lines, l)
		switch {
		case len(lines) > maxLines:
			return nil, l.fail("is the %dth line; at most %d are read", len(lines), maxLines)
		case media > maxMedia:
			return nil, l.fail("is the %dth m-line; at most %d are read", media, maxMedia)
		case candidates > maxCandidates:
			return nil, l.fail("is the %dth candidate; at most %d are read, and Sluice needs none", candidates, maxCandidates)
		}
	}
	return lines, nil
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// describe reads lines by the grammar of RFC 8866. The parser does not say where
// it stopped, but it reads line by line and takes any beginning of a good
// description, so the line at fault ends the shortest beginning that it refuses.
func describe(lines []line) (*grammar.SessionDescription, error) {
	var text strings.Builder
	ends := make([]int, len(lines))
	for i, l := range lines {
		text.WriteString(l.text)
		text.WriteString("\r\n")
		ends[i] = text.Len()
	}
	d := new(grammar.SessionDescription)
	if d.UnmarshalString(text.String()) == nil {
		return d, nil
	}
	bad := sort.Search(len(lines)-1, func(i int) bool {
		return new(grammar.SessionDescription).UnmarshalString(text.String()[:ends[i]]) != nil
	})
	return nil, lines[bad].fail("has no valid value or stands in the wrong place; see the grammar of RFC 8866 section 9")
}

// attr is one a= line.
type attr struct {
	line
	name, value string
}

// attrs are the a= lines of one section, in order.
type attrs []attr

// locate joins attributes with the lines they came from.
func locate(read []grammar.Attribute, lines []line) attrs {
	all := make(attrs, len(read))
	for i, a := range read {
		all[i] = attr{lines[i], a.Key, a.Value}
	}
	return all
}

// all returns the attributes of that name.
func (as attrs) all(name string) attrs {
	var found attrs
	for _, a := range as {
		if a.name == name {
			found = append(found, a)
		}
	}
	return found
}

// has reports whether there is an attribute of that name.
func (as attrs) has(name string) bool { return len(as.all(name)) > 0 }

// one returns the attribute that may be there once; ok is false when it is not there.
func (as attrs) one(name string) (a attr, ok bool, err error) {
	found := as.all(name)
	if len(found) > 1 {
		return attr{}, false, found[1].fail("is given twice in one section")
	}
	if len(found) == 0 {
		return attr{}, false, nil
	}
	return found[0], true, nil
}

// isToken reports whether s is a token of RFC 8866 section 9 of at most limit bytes.
func isToken(s string, limit int) bool {
	return s != "" && len(s) <= limit && !strings.ContainsFunc(s, func(r rune) bool { return !tokenChar(r) })
}

func tokenChar(r rune) bool {
	return r > ' ' && r < 0x7f && !strings.ContainsRune("\"(),/:;<=>?@[\\]", r)
}
