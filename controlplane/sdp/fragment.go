package sdp

import (
	"fmt"
	"strconv"
	"strings"
)

// Fragment is what a peer says about ICE after its offer: further candidates or,
// with credentials other than before, an ICE restart (RFC 8840 section 9, RFC 9725
// section 4.3).
//
// The candidates themselves are checked and left out: a lite agent answers checks
// from wherever they come (RFC 8445 section 7.3). So a name in one, of mDNS or not,
// is never looked up.
type Fragment struct {
	Ufrag, Pwd string // the peer's; both are empty where the fragment has none
}

// maxFragment bounds a fragment, in bytes. 256 candidates fit.
const maxFragment = 32 << 10

// ParseFragment reads a fragment. Every error is an *Error.
func ParseFragment(body []byte) (*Fragment, error) {
	lines, err := split(body, "fragment", maxFragment)
	if err != nil {
		return nil, err
	}
	if len(lines) == 0 {
		return nil, &Error{0, "fragment", "is empty; send a=ice-ufrag, a=ice-pwd and candidates"}
	}
	sections := make([]attrs, 1)
	for _, l := range lines {
		switch l.text[0] {
		case 'm':
			if err := l.checkMedia(); err != nil {
				return nil, err
			}
			sections = append(sections, nil)
		case 'a':
			name, value, _ := strings.Cut(l.text[len("a="):], ":")
			last := &sections[len(sections)-1]
			*last = append(*last, attr{l, name, value})
		default:
			return nil, l.fail("does not belong into a fragment, which has only a= and m= lines")
		}
	}
	f := &Fragment{}
	for _, s := range sections {
		if err := f.read(s); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// checkMedia checks an m-line as far as a fragment makes use of it.
func (l line) checkMedia() error {
	fields := strings.Fields(l.text[len("m="):])
	if len(fields) < 4 || !isToken(fields[0], 32) {
		return l.fail("is not m=<media> <port> <profile> <format>")
	}
	port, _, _ := strings.Cut(fields[1], "/")
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return l.fail("has the port %.16q; 0 to 65535 are allowed", port)
	}
	return nil
}

// read reads one section.
func (f *Fragment) read(s attrs) error {
	if mid, ok, err := s.one("mid"); err != nil {
		return err
	} else if ok && !isToken(mid.value, 16) {
		return mid.fail("%.32q is not a token of 1 to 16 characters", mid.value)
	}
	for _, c := range s.all("candidate") {
		if err := c.checkCandidate(); err != nil {
			return err
		}
	}
	return f.readICE(s)
}

// readICE reads a section's credentials, which are the same in all that have any:
// there is one transport.
func (f *Fragment) readICE(s attrs) error {
	ufrag, named, err := s.ice("ice-ufrag", shortestUfrag)
	if err != nil {
		return err
	}
	pwd, kept, err := s.ice("ice-pwd", shortestPwd)
	switch {
	case err != nil:
		return err
	case named && !kept:
		return ufrag.fail("comes without a=ice-pwd; send both, or none")
	case kept && !named:
		return pwd.fail("comes without a=ice-ufrag; send both, or none")
	case !named:
		return nil
	case f.Ufrag != "" && (f.Ufrag != ufrag.value || f.Pwd != pwd.value):
		return ufrag.fail("differs from that of another section; Sluice has one transport for all m-sections")
	}
	f.Ufrag, f.Pwd = ufrag.value, pwd.value
	return nil
}

// checkCandidate checks the syntax of a candidate (RFC 8839 section 5.1).
func (a attr) checkCandidate() error {
	fields := strings.Fields(a.value)
	switch {
	case len(fields) < 8 || fields[6] != "typ":
		return a.fail("is not <foundation> <component> <transport> <priority> <address> <port> typ <type>")
	case len(fields)%2 != 0:
		return a.fail("ends in the middle of an extension, which is a name and a value")
	case len(fields[0]) > 32 || strings.ContainsFunc(fields[0], func(r rune) bool { return !iceChar(r) }):
		return a.fail("has the foundation %.40q; 1 to 32 letters, digits, + or / are allowed", fields[0])
	case !isToken(fields[2], 32) || !isToken(fields[7], 32):
		return a.fail("has a transport or type that is not a token of 1 to 32 characters")
	case len(fields[4]) > 255:
		return a.fail("has an address of %d characters; 1 to 255 are allowed", len(fields[4]))
	}
	for _, number := range []struct {
		name, text string
		low, high  uint64
	}{
		{"component", fields[1], 1, 256}, {"priority", fields[3], 1, 1<<31 - 1}, {"port", fields[5], 0, 65535},
	} {
		if n, err := strconv.ParseUint(number.text, 10, 64); err != nil || n < number.low || n > number.high {
			return a.fail("has the %s %.32q; %d to %d are allowed", number.name, number.text, number.low, number.high)
		}
	}
	return nil
}

// Tagged is what a fragment of ours repeats of the answer: the BUNDLE group and
// the m-section that describes the transport.
type Tagged struct{ group, media, mid string }

// Tagged returns the selection's.
func (s *Selection) Tagged() Tagged {
	t := Tagged{group: strings.Join(s.bundled(), " ")}
	if m := s.tagged(); m != nil {
		t.media, t.mid = m.line(), m.MID
	}
	return t
}

// Fragment writes the answer to an ICE restart: our new credentials and all our
// candidates (RFC 9725 section 4.3.3).
func (t Tagged) Fragment(l Local) []byte {
	w := &writer{}
	w.transport()
	if t.group != "" {
		w.line("a=group:BUNDLE %s", t.group)
	}
	w.line("%s", t.media)
	w.line("a=mid:%s", t.mid)
	w.ice(l)
	w.candidates(l.Candidates)
	return w.Bytes()
}

// line is the m-line of a section that is accepted or inactive. Port 9 stands for
// "see the candidates" (RFC 9429 section 5.2.1), also where the offer said 0 and
// bundle-only: 0 would reject it.
func (m *Media) line() string {
	types := fmt.Sprint(m.format.pt)
	if m.RTXPT != 0 {
		types = fmt.Sprint(types, " ", m.RTXPT)
	}
	return fmt.Sprintf("m=%s 9 %s %s", m.section.media, m.section.proto, types)
}
