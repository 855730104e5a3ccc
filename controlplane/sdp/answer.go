package sdp

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"sluice/dataplane/wire"
)

// Local is our side of a session, for the answer.
type Local struct {
	Ufrag, Pwd string // RFC 8839 section 5.4: at least 4 and 22 letters, digits, + or /
	// Fingerprint is the SHA-256 of our certificate, "AB:CD:…".
	Fingerprint string
	// Candidates are where we are reached, best first; 16 are told.
	Candidates []Candidate
	// SessionID is any number that no other session has (RFC 9429 section 5.2.1).
	SessionID uint64
}

// Candidate is one of our addresses.
type Candidate struct {
	Addr     netip.AddrPort
	Priority uint32 // RFC 8445 section 5.1.2.1
	TCP      bool   // connections are taken there (RFC 6544), instead of UDP
}

const maxAnswered = 16

// Type preferences: UDP before what a peer might find out itself, TCP below all
// of UDP (RFC 8445 section 5.1.2.2, RFC 6544 section 4.2).
const (
	preferHost    = 126
	preferHostTCP = 90
)

// HostCandidates gives addresses their order and priorities: IPv4 first, since
// some clients (FFmpeg) try the first candidate only, otherwise as given. All
// are of type host and of component 1. With tcp each address is a passive TCP
// candidate too, behind all UDP ones; then 8 addresses count.
func HostCandidates(addrs []netip.AddrPort, tcp bool) []Candidate {
	sorted := slices.Clone(addrs)
	for i, a := range sorted {
		sorted[i] = netip.AddrPortFrom(a.Addr().Unmap().WithZone(""), a.Port())
	}
	slices.SortStableFunc(sorted, func(a, b netip.AddrPort) int { return a.Addr().BitLen() - b.Addr().BitLen() })
	var candidates []Candidate
	for i, a := range sorted {
		candidates = append(candidates, Candidate{Addr: a, Priority: priority(preferHost, 65535-uint32(min(i, 65535)))})
	}
	if !tcp {
		return candidates
	}
	candidates = candidates[:min(len(candidates), maxAnswered/2)]
	for i, c := range candidates {
		// Passive host candidates have direction preference 4 (RFC 6544 section 4.2).
		local := 4<<13 + 8191 - uint32(i)
		candidates = append(candidates, Candidate{Addr: c.Addr, Priority: priority(preferHostTCP, local), TCP: true})
	}
	return candidates
}

// priority is that of a candidate of component 1 (RFC 8445 section 5.1.2.1).
func priority(typ, local uint32) uint32 { return typ<<24 + local<<8 + 255 }

// Answer writes the answer, under 8192 bytes in lines that end in CRLF.
//
// All candidates are in it (RFC 9725 section 4.3.2).
func (s *Selection) Answer(l Local) []byte { return s.describe(l, "") }

func (s *Selection) describe(l Local, why string) []byte {
	w := &writer{}
	w.line("v=0")
	w.line("o=- %d 1 IN IP4 0.0.0.0", l.SessionID>>1) // 63 bits, RFC 9429 section 5.2.1
	w.line("s=-")
	if why != "" {
		w.line("i=%s", why)
	}
	w.line("t=0 0")
	w.transport()
	if mids := s.bundled(); len(mids) > 0 {
		w.line("a=group:BUNDLE %s", strings.Join(mids, " "))
	}
	if s.offer.session.has("extmap-allow-mixed") {
		w.line("a=extmap-allow-mixed")
	}
	tagged := s.tagged()
	for i := range s.Media {
		m := &s.Media[i]
		if !m.Accepted && !m.inactive {
			w.reject(m)
			continue
		}
		w.media(m, l, s)
		if m == tagged {
			w.candidates(l.Candidates)
		}
	}
	return w.Bytes()
}

// bundled returns the mids that stay in the BUNDLE group, in its order.
func (s *Selection) bundled() []string {
	var mids []string
	for _, section := range s.offer.group {
		if m := s.of(section); m.Accepted || m.inactive {
			mids = append(mids, section.mid)
		}
	}
	return mids
}

// tagged returns the m-section that describes the transport: the first of the
// BUNDLE group, or the only one (RFC 9143 section 7.3.1).
func (s *Selection) tagged() *Media {
	for _, section := range slices.Concat(s.offer.group, s.offer.sections) {
		if m := s.of(section); m.Accepted || m.inactive {
			return m
		}
	}
	return nil
}

func (s *Selection) of(section *section) *Media {
	return &s.Media[slices.Index(s.offer.sections, section)]
}

// writer writes lines.
type writer struct{ bytes.Buffer }

func (w *writer) line(format string, args ...any) {
	fmt.Fprintf(w, format, args...)
	w.WriteString("\r\n")
}

// reject writes a section with port 0, which is out of the BUNDLE group
// (RFC 9143 section 7.3.3).
func (w *writer) reject(m *Media) {
	w.line("m=%s 0 %s %s", m.section.media, m.section.proto, m.section.fmts[0])
	w.line("c=IN IP4 0.0.0.0")
	if m.MID != "" {
		w.line("a=mid:%s", m.MID)
	}
	w.line("a=inactive")
}

// transport writes what kind of agent we are: lite, and of RFC 8445 (section 10).
// Candidates of the peer may come later (RFC 8840 section 4.1.3).
func (w *writer) transport() {
	w.line("a=ice-lite")
	w.line("a=ice-options:trickle ice2")
}

func (w *writer) ice(l Local) {
	w.line("a=ice-ufrag:%s", l.Ufrag)
	w.line("a=ice-pwd:%s", l.Pwd)
}

// media writes a section that is accepted or inactive.
//
// What describes the transport is repeated in each section. RFC 9143 section 7.1.3
// wants it in the tagged one alone, but clients from before it look for it
// everywhere, and all others pass over it.
func (w *writer) media(m *Media, l Local, s *Selection) {
	w.line("%s", m.line())
	w.line("c=IN IP4 0.0.0.0")
	w.line("a=mid:%s", m.MID)
	w.line("a=%s", m.direction(s.send))
	w.ice(l)
	w.line("a=fingerprint:sha-256 %s", l.Fingerprint)
	w.line("a=setup:%s", s.setup())
	w.line("a=rtcp-mux")
	w.line("a=rtcp-mux-only")
	if m.section.has("rtcp-rsize") {
		w.line("a=rtcp-rsize")
	}
	if m.section.has("extmap-allow-mixed") {
		w.line("a=extmap-allow-mixed")
	}
	w.formats(m)
	w.exts(m, s.send)
	if m.Accepted && s.send {
		w.sources(m)
	}
}

func (s *Selection) setup() string {
	switch {
	case s.open:
		return "actpass"
	case s.Active:
		return "active"
	}
	return "passive"
}

func (m *Media) direction(send bool) string {
	switch {
	case m.inactive:
		return "inactive"
	case send:
		return "sendonly"
	}
	return "recvonly"
}

func (w *writer) formats(m *Media) {
	if m.format.mapped {
		w.line("a=rtpmap:%s", m.format.rtpmap())
	}
	if m.format.Fmtp != "" {
		w.line("a=fmtp:%d %s", m.format.pt, m.format.Fmtp)
	}
	for _, fb := range []struct {
		name   string
		agreed bool
	}{
		{"nack", m.Feedback.NACK},
		{"nack pli", m.Feedback.PLI},
		{"ccm fir", m.Feedback.FIR},
		{"transport-cc", m.Feedback.TransportCC},
	} {
		if fb.agreed {
			w.line("a=rtcp-fb:%d %s", m.PT, fb.name)
		}
	}
	if m.RTXPT != 0 {
		w.line("a=rtpmap:%d rtx/%d", m.RTXPT, m.Format.ClockRate)
		w.line("a=fmtp:%d apt=%d", m.RTXPT, m.PT)
	}
}

func (w *writer) exts(m *Media, send bool) {
	way := "recvonly"
	if send {
		way = "sendonly"
	}
	for e, id := range m.ExtIDs {
		switch {
		case id == 0:
		case m.directed[e]:
			w.line("a=extmap:%d/%s %s", id, way, wire.Ext(e).URI())
		default:
			w.line("a=extmap:%d %s", id, wire.Ext(e).URI())
		}
	}
}

// sources names what we send. Browsers go by mid and msid, others still want
// the SSRCs (GStreamer, werift, libdatachannel).
func (w *writer) sources(m *Media) {
	cname := token(m.CNAME)
	w.line("a=msid:%s %v", token(m.MSID), m.Kind)
	if m.RTXPT != 0 {
		w.line("a=ssrc-group:FID %d %d", m.SSRC, m.RTXSSRC)
	}
	w.line("a=ssrc:%d cname:%s", m.SSRC, cname)
	if m.RTXPT != 0 {
		w.line("a=ssrc:%d cname:%s", m.RTXSSRC, cname)
	}
}

// token makes a name safe to stand in a line: 64 characters of a token at most
// (RFC 8830 section 2), "-" for each other character and for no name.
func token(name string) string {
	if name == "" {
		return "-"
	}
	safe := strings.Map(func(r rune) rune {
		if tokenChar(r) {
			return r
		}
		return '-'
	}, name)
	return safe[:min(len(safe), 64)]
}

func (w *writer) candidates(candidates []Candidate) {
	for i, c := range candidates[:min(len(candidates), maxAnswered)] {
		transport, suffix := "udp", ""
		if c.TCP {
			transport, suffix = "tcp", " tcptype passive"
		}
		w.line("a=candidate:%d 1 %s %d %s %d typ host%s", i+1, transport, c.Priority, c.Addr.Addr(), c.Addr.Port(), suffix)
	}
	w.line("a=end-of-candidates")
}
