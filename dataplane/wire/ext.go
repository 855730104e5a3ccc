package wire

// Ext names an RTP header extension (RFC 8285) that Sluice knows. The values
// double as the extension ids inside the data plane: an ingress translates its
// peer's ids to these, an egress translates them to its own peer's.
type Ext uint8

// The extensions. Those up to ExtTransportCC are between one peer and us and
// are never forwarded; the others describe the media and travel with it.
const (
	ExtNone                 Ext = iota
	ExtMID                      // RFC 9143 section 15
	ExtRID                      // RFC 8852 section 3.1
	ExtRepairedRID              // RFC 8852 section 3.2
	ExtAbsSendTime              // webrtc.org abs-send-time
	ExtTransportCC              // draft-holmer-rmcat-transport-wide-cc-extensions-01
	ExtAudioLevel               // RFC 6464
	ExtOffset                   // RFC 5450 section 3
	ExtVideoOrientation         // 3GPP TS 26.114
	ExtPlayoutDelay             // webrtc.org playout-delay
	ExtContentType              // webrtc.org video-content-type
	ExtVideoTiming              // webrtc.org video-timing
	ExtColorSpace               // webrtc.org color-space
	ExtDependencyDescriptor     // AV1 RTP specification, appendix A
	ExtAbsCaptureTime           // webrtc.org abs-capture-time
	NumExt
)

// Forwarded reports whether the extension travels with the media.
func (e Ext) Forwarded() bool { return e > ExtTransportCC && e < NumExt }

// URI returns the extension's name in SDP (RFC 8285 section 5).
func (e Ext) URI() string { return extURIs[e] }

// ExtByURI returns the extension of that name, ExtNone when it is not known.
func ExtByURI(uri string) Ext {
	for e := ExtMID; e < NumExt; e++ {
		if extURIs[e] == uri {
			return e
		}
	}
	return ExtNone
}

var extURIs = [NumExt]string{
	ExtMID:                  "urn:ietf:params:rtp-hdrext:sdes:mid",
	ExtRID:                  "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
	ExtRepairedRID:          "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
	ExtAbsSendTime:          "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
	ExtTransportCC:          "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
	ExtAudioLevel:           "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
	ExtOffset:               "urn:ietf:params:rtp-hdrext:toffset",
	ExtVideoOrientation:     "urn:3gpp:video-orientation",
	ExtPlayoutDelay:         "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay",
	ExtContentType:          "http://www.webrtc.org/experiments/rtp-hdrext/video-content-type",
	ExtVideoTiming:          "http://www.webrtc.org/experiments/rtp-hdrext/video-timing",
	ExtColorSpace:           "http://www.webrtc.org/experiments/rtp-hdrext/color-space",
	ExtDependencyDescriptor: "https://aomediacodec.github.io/av1-rtp-spec/#dependency-descriptor-rtp-header-extension",
	ExtAbsCaptureTime:       "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time",
}

// ExtIDs says which id a peer uses for each extension, 0 for not negotiated.
// Ids are 1 to 14 (RFC 8285 section 4.2).
type ExtIDs [NumExt]uint8
