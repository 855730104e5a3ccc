package sdp

import (
	"strconv"
	"strings"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// Publish selects what is taken of a publisher's offer: at most one audio and
// one video, each in the first format offered that Sluice forwards. It is all
// or nothing (RFC 9725): a publisher never finds half of its media missing.
// Simulcast is not taken up, so one encoding comes. Every error is an *Error.
func (o *Offer) Publish() (*Selection, error) {
	s := o.selection(false)
	var taken [2]bool
	for i := range s.Media {
		m := &s.Media[i]
		if !m.section.live() {
			continue
		}
		switch {
		case taken[m.Kind]:
			return nil, m.section.fail("is a second one; a stream has at most one audio and one video")
		case m.section.dir != "sendonly" && m.section.dir != "sendrecv":
			return nil, m.section.fail("is %s; a publisher offers sendonly or sendrecv", m.section.dir)
		}
		f := m.section.preferred()
		if f == nil {
			return nil, m.section.fail("offers no format that Sluice forwards; offer %s", forwardable(m.Kind))
		}
		m.accept(f, false)
		taken[m.Kind] = true
	}
	if taken == [2]bool{} {
		return nil, &Error{0, "m=", "no audio or video is offered"}
	}
	return s, s.distinct()
}

// Subscribe selects what a viewer gets of a stream with the given tracks, of
// which there is at most one of a kind. A kind the viewer does not ask for is
// not sent. Where it asks for a kind but decodes no such format, or where nothing
// would be sent at all, the error is a *Mismatch; any other is an *Error.
//
// An m-section that gets nothing is answered inactive, not rejected. If the first
// of the BUNDLE group were rejected, the transport would have to move to another
// with a port of its own (RFC 9143 section 7.3.1), and there may be none: GStreamer,
// and browsers with the policy max-bundle, offer the others bundle-only with port 0.
func (o *Offer) Subscribe(tracks []Track) (*Selection, error) {
	s := o.selection(true)
	var served [2]bool
	var refused [2]*Mismatch
	for i := range s.Media {
		m := &s.Media[i]
		if !m.section.live() {
			continue
		}
		m.park()
		track := find(tracks, m.Kind)
		if track == nil || served[m.Kind] || m.section.dir != "recvonly" && m.section.dir != "sendrecv" {
			continue
		}
		f := m.section.playing(track.Format)
		if f == nil {
			refused[m.Kind] = &Mismatch{m.Kind, track.Format, m.section.decodable()}
			continue
		}
		m.accept(f, true)
		served[m.Kind] = true
	}
	for kind, mismatch := range refused {
		if mismatch != nil && !served[kind] {
			return nil, mismatch
		}
	}
	if served == [2]bool{} {
		mismatch := new(Mismatch)
		if len(tracks) > 0 {
			mismatch = &Mismatch{Kind: tracks[0].Kind, Published: tracks[0].Format}
		}
		return nil, mismatch
	}
	return s, s.distinct()
}

// selection returns a selection that accepts nothing yet.
func (o *Offer) selection(send bool) *Selection {
	s := &Selection{Ufrag: o.ufrag, Pwd: o.pwd, Fingerprints: o.fingerprints, Active: o.passive, Media: make([]Media, len(o.sections)), offer: o, send: send}
	for i, section := range o.sections {
		s.Media[i] = Media{Kind: section.kind, MID: section.mid, section: section}
	}
	return s
}

// accept says that media flows in the format f.
func (m *Media) accept(f *format, send bool) {
	s := m.section
	m.Accepted, m.inactive = true, false
	m.format, m.Format, m.PT = *f, f.Format, f.pt
	m.RTXPT = s.rtx(f)
	m.ExtMixed = s.has("extmap-allow-mixed") || s.common.has("extmap-allow-mixed")
	m.Feedback = msg.Feedback{NACK: f.nack, PLI: f.pli, FIR: f.fir, ReducedSize: s.has("rtcp-rsize")}
	if !send {
		m.SSRC = s.ssrc
		if m.RTXPT != 0 {
			m.RTXSSRC = s.rtxSSRC
		}
		m.Feedback.TransportCC = f.transport && s.ext(wire.ExtTransportCC, false).id != 0
	}
	for e := wire.ExtNone + 1; e < wire.NumExt; e++ {
		if m.wants(e, send) {
			offered := s.ext(e, send)
			m.ExtIDs[e], m.directed[e] = offered.id, offered.dir != ""
		}
	}
}

// wants reports whether Sluice has a use for the extension. A publisher's
// clock for congestion control is transport-cc, or failing that the send time.
// A viewer gets what travels with the media, and the mid to tell streams apart.
func (m *Media) wants(e wire.Ext, send bool) bool {
	switch e {
	case wire.ExtMID:
		return true
	case wire.ExtTransportCC:
		return !send && m.Feedback.TransportCC
	case wire.ExtAbsSendTime:
		return !send && !m.Feedback.TransportCC
	}
	return e.Forwarded()
}

// park keeps the section in the BUNDLE group with nothing in it. Its m-line
// still needs a format.
func (m *Media) park() {
	m.inactive = true
	m.format = m.section.formats[0]
	if f := m.section.preferred(); f != nil {
		m.format = *f
	}
}

// preferred returns the first format that Sluice forwards, nil if there is none.
// H.264 in packetization mode 0 yields to mode 1, which more decoders take.
func (s *section) preferred() *format {
	var first *format
	for i := range s.formats {
		f := &s.formats[i]
		if f.Codec == codec.Unknown {
			continue
		}
		if first == nil {
			first = f
		}
		if first.Codec != codec.H264 || f.Codec == codec.H264 && f.param("packetization-mode", "0") == "1" {
			return f
		}
	}
	return first
}

// playing returns the format that plays what is published best, nil if none does.
func (s *section) playing(published Format) *format {
	var best *format
	for i := range s.formats {
		f := &s.formats[i]
		fit := published.playedBy(f.Format)
		if fit >= 0 && (best == nil || fit < published.playedBy(best.Format)) {
			best = f
		}
	}
	return best
}

// decodable lists the formats offered that Sluice could send.
func (s *section) decodable() []string {
	names := []string{}
	for i := range s.formats {
		if f := &s.formats[i]; f.Codec != codec.Unknown {
			names = append(names, f.String())
		}
	}
	return names
}

// rtx returns the payload type of the retransmissions of f, 0 if there is none
// (RFC 4588 section 8).
func (s *section) rtx(f *format) uint8 {
	for i := range s.formats {
		r := &s.formats[i]
		if strings.EqualFold(r.name, "rtx") && r.ClockRate == f.ClockRate &&
			lookup(r.params, "apt") == strconv.Itoa(int(f.pt)) && !ambiguous(r.pt) {
			return r.pt
		}
	}
	return 0
}

// distinct sees that packets can be told apart: the m-sections share a
// transport, so they may not share numbers (RFC 9143 section 9.1.1).
func (s *Selection) distinct() error {
	types, sources := map[uint8]bool{}, map[uint32]bool{}
	for i := range s.Media {
		m := &s.Media[i]
		if !m.Accepted {
			continue
		}
		if !add(types, m.PT) || m.RTXPT != 0 && !add(types, m.RTXPT) {
			return m.section.fail("has a payload type of another m-section, %d or %d", m.PT, m.RTXPT)
		}
		if m.SSRC != 0 && !add(sources, m.SSRC) || m.RTXSSRC != 0 && !add(sources, m.RTXSSRC) {
			return m.section.fail("has an SSRC that is taken, %d or %d", m.SSRC, m.RTXSSRC)
		}
	}
	return nil
}

// add reports whether the number is new.
func add[T comparable](seen map[T]bool, number T) bool {
	known := seen[number]
	seen[number] = true
	return !known
}

func find(tracks []Track, kind msg.Kind) *Track {
	for i := range tracks {
		if tracks[i].Kind == kind {
			return &tracks[i]
		}
	}
	return nil
}

// forwardable names the codecs of a kind for an error text.
func forwardable(kind msg.Kind) string {
	var names []string
	for _, c := range codecs {
		if c.name != "" && c.kind == kind {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ", ")
}
