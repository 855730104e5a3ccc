package client

import (
	"fmt"
	"net/netip"
	"strings"
)

// Payload types and header extension ids of every offer; the numbers are those of Chromium's.
const (
	AudioPT       = 111 // Opus
	VideoPT       = 96  // VP8
	RTXPT         = 97
	TWCCExtension = 3 // id of transport-wide congestion control
	MIDExtension  = 4 // id of sdes:mid
)

const (
	twccURI = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01"
	midURI  = "urn:ietf:params:rtp-hdrext:sdes:mid"
)

// Offer says which session to ask for: one Opus and one VP8 section in one BUNDLE, or one of them.
type Offer struct {
	Publish *SSRCs // what a publisher sends; nil asks to receive
	MID     bool   // offer the sdes:mid header extension (RFC 9143)
	TWCC    bool   // offer transport-wide congestion control
	TCP     bool   // connect by ICE-TCP
	NoAudio bool   // leave the audio section out
	NoVideo bool   // leave the video section out

	CM    bool       // agree on AES128_CM_HMAC_SHA1_80 only; otherwise AEAD_AES_128_GCM is preferred
	Local netip.Addr // our address; the zero value: the one from which the endpoint is reached
}

// mids are the sections of the offer, as the BUNDLE group lists them.
func (o Offer) mids() string {
	switch {
	case o.NoAudio:
		return "1"
	case o.NoVideo:
		return "0"
	}
	return "0 1"
}

// SSRCs are the streams of a publisher.
type SSRCs struct{ Audio, Video, RTX uint32 }

// Transport is our end of the connection, as the offer describes it.
type Transport struct {
	Addr        netip.AddrPort
	Ufrag, Pwd  string
	Fingerprint [32]byte // SHA-256 of the certificate
}

// Text is the offer as SDP.
func (o Offer) Text(t Transport) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\r\n", args...) }
	line("v=0")
	line("o=- 4611732546338823 2 IN IP4 127.0.0.1")
	line("s=-")
	line("t=0 0")
	line("a=group:BUNDLE %s", o.mids())
	line("a=extmap-allow-mixed")
	line("a=msid-semantic: WMS")
	if !o.NoAudio {
		o.audio(line, t)
	}
	if !o.NoVideo {
		o.video(line, t)
	}
	return b.String()
}

func (o Offer) audio(line func(string, ...any), t Transport) {
	o.section(line, t, "audio", 0, "111")
	line("a=rtpmap:111 opus/48000/2")
	line("a=fmtp:111 minptime=10;useinbandfec=1")
	if o.TWCC {
		line("a=rtcp-fb:111 transport-cc")
	}
	if s := o.Publish; s != nil {
		line("a=ssrc:%d cname:load", s.Audio)
	}
}

func (o Offer) video(line func(string, ...any), t Transport) {
	o.section(line, t, "video", 1, "96 97")
	line("a=rtpmap:96 VP8/90000")
	if o.TWCC {
		line("a=rtcp-fb:96 transport-cc")
	}
	line("a=rtcp-fb:96 ccm fir")
	line("a=rtcp-fb:96 nack")
	line("a=rtcp-fb:96 nack pli")
	line("a=rtpmap:97 rtx/90000")
	line("a=fmtp:97 apt=96")
	if s := o.Publish; s != nil {
		line("a=ssrc-group:FID %d %d", s.Video, s.RTX)
		line("a=ssrc:%d cname:load", s.Video)
		line("a=ssrc:%d cname:load", s.RTX)
	}
}

func (o Offer) section(line func(string, ...any), t Transport, kind string, mid int, formats string) {
	family := "IP4"
	if t.Addr.Addr().Is6() {
		family = "IP6"
	}
	line("m=%s %d UDP/TLS/RTP/SAVPF %s", kind, t.Addr.Port(), formats)
	line("c=IN %s %s", family, t.Addr.Addr())
	line("a=candidate:1 1 udp 2122194687 %s %d typ host generation 0", t.Addr.Addr(), t.Addr.Port())
	line("a=ice-ufrag:%s", t.Ufrag)
	line("a=ice-pwd:%s", t.Pwd)
	line("a=ice-options:trickle")
	line("a=fingerprint:sha-256 %s", colons(t.Fingerprint[:]))
	line("a=setup:actpass")
	line("a=mid:%d", mid)
	if o.TWCC {
		line("a=extmap:%d %s", TWCCExtension, twccURI)
	}
	if o.MID {
		line("a=extmap:%d %s", MIDExtension, midURI)
	}
	if o.Publish != nil {
		line("a=sendonly")
		line("a=msid:load %s", kind)
	} else {
		line("a=recvonly")
	}
	line("a=rtcp-mux")
	line("a=rtcp-rsize")
}

// colons writes a hash the way RFC 8122 section 5 wants it.
func colons(sum []byte) string {
	parts := make([]string, len(sum))
	for i, b := range sum {
		parts[i] = fmt.Sprintf("%02X", b)
	}
	return strings.Join(parts, ":")
}
