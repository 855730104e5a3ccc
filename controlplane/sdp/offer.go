package sdp

import (
	"encoding/hex"
	"slices"
	"strings"

	grammar "github.com/pion/sdp/v3"

	"sluice/dataplane/msg"
)

// Offer is a valid offer of one BUNDLEd transport.
type Offer struct {
	session      attrs
	sections     []*section
	group        []*section // of the BUNDLE group in its order, empty when there is none
	passive      bool       // the peer waits for our ClientHello
	fingerprints []Fingerprint
	ufrag, pwd   string
}

// section is one m-section.
type section struct {
	line
	attrs
	media  string // "audio", "video", "application", …
	kind   msg.Kind
	port   int
	proto  string
	fmts   []string
	mid    string
	dir    string // "sendrecv", "sendonly", "recvonly" or "inactive"
	common attrs  // attributes of the session, which hold for every section

	// Only of a live section:
	formats []format
	exts    []ext
	ssrc    uint32
	rtxSSRC uint32
}

// Parse reads an offer. Every error is an *Error.
//
// Candidates are counted and otherwise ignored: an ICE-lite agent answers
// checks from wherever they come (RFC 8445 section 7.3).
func Parse(body []byte) (*Offer, error) {
	lines, err := split(body, "offer", maxBody)
	if err != nil {
		return nil, err
	}
	d, err := describe(lines)
	if err != nil {
		return nil, err
	}
	o, err := arrange(d, lines)
	if err != nil {
		return nil, err
	}
	for _, s := range o.sections {
		if err := s.read(); err != nil {
			return nil, err
		}
	}
	if err := o.readGroup(); err != nil {
		return nil, err
	}
	return o, o.readTransport()
}

// arrange gives every part of a description its line.
func arrange(d *grammar.SessionDescription, lines []line) (*Offer, error) {
	var media []line
	attributes := make([][]line, 1) // of the session, then of each m-section
	for _, l := range lines {
		switch l.text[0] {
		case 'm':
			media = append(media, l)
			attributes = append(attributes, nil)
		case 'a':
			attributes[len(media)] = append(attributes[len(media)], l)
		}
	}
	if len(media) == 0 {
		return nil, &Error{0, "m=", "is missing; offer at least one audio or video m-section"}
	}
	// The grammar takes a second field on a line as if it began a line.
	hidden := len(d.MediaDescriptions) != len(media) || len(d.Attributes) != len(attributes[0])
	for i := 0; i < len(media) && !hidden; i++ {
		hidden = len(d.MediaDescriptions[i].Attributes) != len(attributes[i+1])
	}
	if hidden {
		return nil, &Error{0, "offer", "holds two fields on one line"}
	}

	o := &Offer{session: locate(d.Attributes, attributes[0])}
	for i, m := range d.MediaDescriptions {
		o.sections = append(o.sections, &section{
			line:   media[i],
			attrs:  locate(m.Attributes, attributes[i+1]),
			media:  m.MediaName.Media,
			port:   m.MediaName.Port.Value,
			proto:  strings.Join(m.MediaName.Protos, "/"),
			fmts:   m.MediaName.Formats,
			common: o.session,
		})
	}
	return o, nil
}

// live reports whether the section asks for audio or video. Port 0 alone says
// that it does not (RFC 3264 section 6); with bundle-only it says nothing
// (RFC 9143 section 6).
func (s *section) live() bool {
	return (s.media == "audio" || s.media == "video") && s.asks()
}

func (s *section) asks() bool { return s.port != 0 || s.has("bundle-only") }

// read reads what concerns one section alone.
func (s *section) read() error {
	// Even a section that will be rejected is echoed in the answer.
	if len(s.proto) > 32 {
		return s.fail("has the profile %.40q, of more than 32 characters", s.proto)
	}
	if len(s.fmts) == 0 || !isToken(s.fmts[0], 32) {
		return s.fail("names no format, or one that is not a token of 1 to 32 characters")
	}
	if err := s.readMID(); err != nil || !s.live() {
		return err
	}
	if s.media == "video" {
		s.kind = msg.Video
	}
	switch s.proto {
	case "UDP/TLS/RTP/SAVPF", "TCP/DTLS/RTP/SAVPF", "RTP/SAVPF":
	default: // RFC 9429 section 5.1.2
		return s.fail("has the profile %q; Sluice speaks UDP/TLS/RTP/SAVPF", s.proto)
	}
	if !s.has("rtcp-mux") && !s.has("bundle-only") {
		return s.fail("lacks a=rtcp-mux; Sluice has one port for RTP and RTCP (RFC 8858)")
	}
	if s.mid == "" {
		return s.fail("lacks a=mid")
	}
	for _, read := range []func() error{s.readDirection, s.readFormats, s.readExts, s.readSSRCs} {
		if err := read(); err != nil {
			return err
		}
	}
	return nil
}

// readMID reads the section's name. 16 bytes are what the header extension that
// carries it can hold in its one-byte form (RFC 8285 section 4.2).
func (s *section) readMID() error {
	a, ok, err := s.one("mid")
	if err != nil || !ok {
		return err
	}
	if !isToken(a.value, 16) {
		return a.fail("%.32q is not a token of 1 to 16 characters", a.value)
	}
	s.mid = a.value
	return nil
}

func (s *section) readDirection() error {
	s.dir = "sendrecv" // RFC 8866 section 6.7
	for _, level := range []attrs{s.common, s.attrs} {
		found := false
		for _, a := range level {
			switch a.name {
			case "sendrecv", "sendonly", "recvonly", "inactive":
				if found {
					return a.fail("is the second direction in one section")
				}
				s.dir, found = a.name, true
			}
		}
	}
	return nil
}

// readGroup reads the BUNDLE group (RFC 9143) and sees that one transport
// carries everything.
func (o *Offer) readGroup() error {
	named := map[string]*section{}
	live := 0
	for _, s := range o.sections {
		if s.live() {
			live++
		}
		if s.mid == "" {
			continue
		}
		if named[s.mid] != nil {
			return s.fail("has the mid %q of another m-section", s.mid)
		}
		named[s.mid] = s
	}

	var group attr
	for _, a := range o.session.all("group") {
		if a.value != "BUNDLE" && !strings.HasPrefix(a.value, "BUNDLE ") {
			continue
		}
		if group.name != "" {
			return a.fail("is a second BUNDLE group; Sluice has one transport for all m-sections")
		}
		group = a
	}
	if group.name == "" {
		if live > 1 {
			return &Error{0, "a=group", "no BUNDLE group; Sluice has one transport for all m-sections (RFC 9143)"}
		}
		return nil
	}

	for _, mid := range strings.Fields(group.value)[1:] {
		s := named[mid]
		if s == nil {
			return group.fail("names the mid %.32q, which no m-section has", mid)
		}
		if slices.Contains(o.group, s) {
			return group.fail("names the mid %q twice", mid)
		}
		o.group = append(o.group, s)
	}
	for _, s := range o.sections {
		if s.live() && !slices.Contains(o.group, s) {
			return group.fail("leaves out the mid %q; Sluice has one transport for all m-sections", s.mid)
		}
	}
	return nil
}

// transport returns the attributes of that name which hold for the transport:
// those of the first section of the BUNDLE group that has any (RFC 9143 section
// 7.1.3 lets the others leave them out), else those of the session.
func (o *Offer) transport(name string) attrs {
	sections := o.group
	if len(sections) == 0 {
		sections = o.sections
	}
	for _, s := range sections {
		if found := s.all(name); s.asks() && len(found) > 0 {
			return found
		}
	}
	return o.session.all(name)
}

func (o *Offer) readTransport() error {
	if o.session.has("ice-lite") {
		return o.session.all("ice-lite")[0].fail("Sluice is ICE-lite too, so nobody would send checks; offer full ICE")
	}
	if err := o.readICE("ice-ufrag", shortestUfrag, &o.ufrag); err != nil {
		return err
	}
	if err := o.readICE("ice-pwd", shortestPwd, &o.pwd); err != nil {
		return err
	}
	if err := o.readSetup(); err != nil {
		return err
	}
	return o.readFingerprints()
}

// Lengths of the halves of ICE credentials, in characters (RFC 8839 section 5.4).
const (
	shortestUfrag = 4
	shortestPwd   = 22
)

// readICE reads one half of the ICE credentials.
func (o *Offer) readICE(name string, shortest int, value *string) error {
	a, ok, err := o.transport(name).ice(name, shortest)
	if err == nil && !ok {
		return &Error{0, "a=" + name, "is missing"}
	}
	*value = a.value
	return err
}

// ice returns the attribute that holds one half of the ICE credentials; ok is
// false when it is not there (RFC 8839 section 5.4).
func (as attrs) ice(name string, shortest int) (a attr, ok bool, err error) {
	a, ok, err = as.one(name)
	switch {
	case err != nil || !ok:
	case len(a.value) < shortest || len(a.value) > 256:
		err = a.fail("has %d characters; %d to 256 are allowed", len(a.value), shortest)
	case strings.ContainsFunc(a.value, func(r rune) bool { return !iceChar(r) }):
		err = a.fail("may hold only letters, digits, + and /")
	}
	return a, ok, err
}

func iceChar(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '+' || r == '/'
}

// readSetup reads the DTLS role (RFC 8842 section 5.2). Who leaves it to us is
// answered passive: its ClientHello then comes as soon as it is ready.
func (o *Offer) readSetup() error {
	a, ok, err := o.transport("setup").one("setup")
	if err != nil {
		return err
	}
	if !ok {
		return &Error{0, "a=setup", "is missing; offer actpass, active or passive"}
	}
	switch a.value {
	case "actpass", "active":
		return nil
	case "passive":
		o.passive = true
		return nil
	case "holdconn":
		return a.fail("holdconn puts the connection off, and nothing would take it up again; offer actpass, active or passive")
	}
	return a.fail("%.32q is not known; offer actpass, active or passive", a.value)
}

// hashes are those Sluice verifies, with the length of their values in bytes.
// SHA-1 and older can be forged (RFC 8122 section 5).
var hashes = map[string]int{"sha-256": 32, "sha-384": 48, "sha-512": 64}

func (o *Offer) readFingerprints() error {
	found := o.transport("fingerprint")
	if len(found) == 0 {
		return &Error{0, "a=fingerprint", "is missing; offer one of sha-256, sha-384 or sha-512"}
	}
	for _, a := range found {
		name, value, _ := strings.Cut(a.value, " ")
		name = strings.ToLower(name)
		length, known := hashes[name]
		if !known {
			continue
		}
		raw, err := hex.DecodeString(strings.ReplaceAll(value, ":", ""))
		if err != nil || len(raw) != length || len(value) != 3*length-1 {
			return a.fail("a %s value is %d pairs of hexadecimal digits with colons between them", name, length)
		}
		o.fingerprints = append(o.fingerprints, Fingerprint{name, raw})
	}
	if len(o.fingerprints) == 0 {
		return found[0].fail("has only hashes that Sluice does not trust; offer one of sha-256, sha-384 or sha-512")
	}
	return nil
}
