package janus

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pion/sdp/v3"
)

// reverse takes two offers of one session, Janus' to send and a viewer's to receive, and returns the answer to each of them that the
// other one amounts to: what each side says of its transport, with the formats of both. Janus begins the DTLS handshake.
func reverse(janusOffer, viewerOffer string) (toJanus, toViewer string, err error) {
	var janus, viewer sdp.SessionDescription
	if err := janus.Unmarshal([]byte(janusOffer)); err != nil {
		return "", "", fmt.Errorf("offer of Janus: %w", err)
	}
	if err := viewer.Unmarshal([]byte(viewerOffer)); err != nil {
		return "", "", fmt.Errorf("offer of the viewer: %w", err)
	}
	if toJanus, err = answer(&janus, &viewer, "recvonly", "passive"); err != nil {
		return "", "", err
	}
	toViewer, err = answer(&viewer, &janus, "sendonly", "active")
	return toJanus, toViewer, err
}

// answer answers an offer with another: its transport, and of the offered formats those that it has too.
func answer(offer, with *sdp.SessionDescription, direction, setup string) (string, error) {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0")
	line("o=- 1 1 IN IP4 127.0.0.1")
	line("s=-")
	line("t=0 0")
	var mids []string
	for _, m := range offer.MediaDescriptions {
		mid, _ := m.Attribute("mid")
		mids = append(mids, mid)
	}
	line("a=group:BUNDLE %s", strings.Join(mids, " "))
	if _, lite := with.Attribute("ice-lite"); lite {
		line("a=ice-lite")
	}
	for i, m := range offer.MediaDescriptions {
		other := ofKind(with, m.MediaName.Media)
		if other == nil {
			return "", fmt.Errorf("one side has no m=%s", m.MediaName.Media)
		}
		formats := common(m, other)
		if len(formats) == 0 {
			return "", fmt.Errorf("m=%s: no format in common, or not with the same payload type", m.MediaName.Media)
		}
		line("m=%s 9 UDP/TLS/RTP/SAVPF %s", m.MediaName.Media, strings.Join(formats, " "))
		line("c=IN IP4 0.0.0.0")
		line("a=mid:%s", mids[i])
		line("a=%s", direction)
		line("a=setup:%s", setup)
		line("a=rtcp-mux")
		if err := transport(line, with, other); err != nil {
			return "", err
		}
		describe(line, m, other, formats)
	}
	return b.String(), nil
}

func ofKind(d *sdp.SessionDescription, kind string) *sdp.MediaDescription {
	i := slices.IndexFunc(d.MediaDescriptions, func(m *sdp.MediaDescription) bool { return m.MediaName.Media == kind })
	if i < 0 {
		return nil
	}
	return d.MediaDescriptions[i]
}

// common are the formats of both, under the same payload type.
func common(a, b *sdp.MediaDescription) (formats []string) {
	for _, format := range a.MediaName.Formats {
		if name := encoding(a, format); name != "" && strings.EqualFold(name, encoding(b, format)) {
			formats = append(formats, format)
		}
	}
	return formats
}

// encoding is what a payload type stands for, "" for nothing.
func encoding(m *sdp.MediaDescription, format string) string {
	for _, attr := range m.Attributes {
		if name, ok := strings.CutPrefix(attr.Value, format+" "); ok && attr.Key == "rtpmap" {
			return name
		}
	}
	return ""
}

// transport repeats what a side says of its end: for one m-section, or for all.
func transport(line func(string, ...any), d *sdp.SessionDescription, m *sdp.MediaDescription) error {
	for _, key := range []string{"ice-ufrag", "ice-pwd", "fingerprint"} {
		value, ok := m.Attribute(key)
		if !ok {
			value, ok = d.Attribute(key)
		}
		if !ok {
			return errors.New("no a=" + key)
		}
		line("a=%s:%s", key, value)
	}
	for _, attr := range m.Attributes {
		if attr.Key == "candidate" {
			line("a=candidate:%s", attr.Value)
		}
	}
	return nil
}

// describe repeats the formats as offered, and the sources of who answers.
func describe(line func(string, ...any), offered, answering *sdp.MediaDescription, formats []string) {
	for _, attr := range offered.Attributes {
		format, _, _ := strings.Cut(attr.Value, " ")
		if slices.Contains([]string{"rtpmap", "fmtp", "rtcp-fb"}, attr.Key) && slices.Contains(formats, format) {
			line("a=%s:%s", attr.Key, attr.Value)
		}
	}
	for _, attr := range answering.Attributes {
		if attr.Key == "ssrc" || attr.Key == "ssrc-group" {
			line("a=%s:%s", attr.Key, attr.Value)
		}
	}
}
