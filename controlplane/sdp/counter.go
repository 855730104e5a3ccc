package sdp

import (
	"fmt"
	"strings"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
	"sluice/dataplane/wire"
)

// CounterOffer selects what a viewer gets that takes all of a stream: the
// selection of Sluice's own offer, for one whose offer did not fit
// (draft-ietf-wish-whep, "Server Sends Counter-Offer"). It is written by Offer and
// completed by Answered. There is none without tracks.
func CounterOffer(tracks []Track) (*Selection, error) {
	o, err := Parse([]byte(ideal(tracks)))
	if err != nil {
		return nil, err
	}
	s, err := o.Subscribe(tracks)
	if err != nil {
		return nil, err
	}
	s.open = true
	return s, nil
}

// Payload types of our own offers, those that browsers like to give.
const (
	audioPT = 111
	videoPT = 96
)

// ideal is the offer of a viewer that could not fit a stream better. Its
// credentials and fingerprint are nobody's.
func ideal(tracks []Track) string {
	w := &writer{}
	w.line("v=0")
	w.line("o=- 1 1 IN IP4 0.0.0.0")
	w.line("s=-")
	w.line("t=0 0")
	group := "a=group:BUNDLE"
	for mid := range tracks {
		group += fmt.Sprint(" ", mid)
	}
	w.line("%s", group)
	w.line("a=extmap-allow-mixed")
	w.line("a=ice-ufrag:%s", strings.Repeat("x", shortestUfrag))
	w.line("a=ice-pwd:%s", strings.Repeat("x", shortestPwd))
	w.line("a=fingerprint:sha-256 %s", strings.TrimSuffix(strings.Repeat("00:", 32), ":"))
	w.line("a=setup:actpass")
	for i, t := range tracks {
		w.idealSection(i, t)
	}
	return w.String()
}

func (w *writer) idealSection(mid int, t Track) {
	f := format{Format: t.Format, name: t.Format.Name(), pt: t.Format.payloadType()}
	types := fmt.Sprint(f.pt)
	if t.Kind == msg.Video {
		types = fmt.Sprint(types, " ", f.pt+1)
	}
	w.line("m=%v 9 UDP/TLS/RTP/SAVPF %s", t.Kind, types)
	w.line("c=IN IP4 0.0.0.0")
	w.line("a=mid:%d", mid)
	w.line("a=recvonly")
	w.line("a=rtcp-mux")
	w.line("a=rtcp-rsize")
	w.line("a=rtpmap:%s", f.rtpmap())
	if f.Fmtp != "" {
		w.line("a=fmtp:%d %s", f.pt, f.Fmtp)
	}
	if t.Kind == msg.Video {
		for _, feedback := range []string{"nack", "nack pli", "ccm fir"} {
			w.line("a=rtcp-fb:%d %s", f.pt, feedback)
		}
		w.line("a=rtpmap:%d rtx/%d", f.pt+1, f.ClockRate)
		w.line("a=fmtp:%d apt=%d", f.pt+1, f.pt)
	}
	id := 1
	for e := wire.ExtNone + 1; e < wire.NumExt; e++ {
		if e == wire.ExtMID || e.Forwarded() {
			w.line("a=extmap:%d %s", id, e.URI())
			id++
		}
	}
}

// payloadType is the one of our own offers: the static one where the codec has
// one (RFC 3551 section 6).
func (f Format) payloadType() uint8 {
	switch {
	case f.Codec == codec.PCMU:
		return 0
	case f.Codec == codec.PCMA:
		return 8
	case f.Codec == codec.G722:
		return 9
	case f.Channels > 0:
		return audioPT
	}
	return videoPT
}

// Offer writes a counter-offer. why is for the person who reads it: why there is one.
func (s *Selection) Offer(l Local, why string) []byte { return s.describe(l, why) }

// Answered takes the answer to a counter-offer: what of the selection the viewer
// takes, with the same SSRCs. Every error is an *Error.
func (s *Selection) Answered(body []byte) (*Selection, error) {
	o, err := Parse(body)
	if err != nil {
		return nil, err
	}
	if setup, _, _ := o.transport("setup").one("setup"); setup.value == "actpass" {
		return nil, setup.fail("an answer says active or passive (RFC 8842 section 5.3)")
	}
	if len(o.sections) != len(s.Media) {
		return nil, &Error{0, "m=", fmt.Sprintf("%d m-sections answer %d", len(o.sections), len(s.Media))}
	}
	var tracks []Track
	for i, m := range s.Media {
		if answer := o.sections[i]; answer.mid != m.MID || answer.media != m.section.media {
			return nil, answer.fail("does not answer m=%s with the mid %q, which was offered in this place", m.section.media, m.MID)
		}
		tracks = append(tracks, Track{m.Kind, m.Format})
	}
	answered, err := o.Subscribe(tracks)
	if err != nil {
		return nil, &Error{0, "m=", "the answer takes nothing of what was offered"}
	}
	for i := range answered.Media {
		m, offered := &answered.Media[i], &s.Media[i]
		m.SSRC, m.CNAME, m.MSID = offered.SSRC, offered.CNAME, offered.MSID
		if m.RTXPT != 0 {
			m.RTXSSRC = offered.RTXSSRC
		}
	}
	return answered, nil
}
