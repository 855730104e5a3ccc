package sdp

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"sluice/dataplane/codec"
	"sluice/dataplane/msg"
)

// Format is what flows in a track.
type Format struct {
	Codec     codec.Codec
	ClockRate uint32 // Hz
	Channels  int    // of audio; 0 for video
	// Fmtp holds the parameters that matter to a decoder, "name=value;name=value".
	Fmtp string
}

// codecs are the formats that Sluice forwards, by their names in the registry of
// RTP media types. Redundancy (red, ulpfec, flexfec), comfort noise and telephone
// events are not among them: they would need a payload type of their own
// at every viewer.
var codecs = [...]struct {
	name     string
	kind     msg.Kind
	rate     uint32
	channels int
	params   []string // format parameters that are kept, the rest is the offerer's own affair
}{
	codec.Opus: {"opus", msg.Audio, 48000, 2, []string{"minptime", "useinbandfec", "usedtx", "stereo", "maxaveragebitrate", "maxplaybackrate"}},
	codec.PCMU: {"PCMU", msg.Audio, 8000, 1, nil},
	codec.PCMA: {"PCMA", msg.Audio, 8000, 1, nil},
	codec.G722: {"G722", msg.Audio, 8000, 1, nil},
	codec.VP8:  {"VP8", msg.Video, 90000, 0, nil},
	codec.VP9:  {"VP9", msg.Video, 90000, 0, []string{"profile-id"}},
	codec.H264: {"H264", msg.Video, 90000, 0, []string{"level-asymmetry-allowed", "packetization-mode", "profile-level-id"}},
	codec.H265: {"H265", msg.Video, 90000, 0, []string{"profile-space", "profile-id", "tier-flag", "level-id", "interop-constraints", "tx-mode"}},
	codec.AV1:  {"AV1", msg.Video, 90000, 0, []string{"profile", "level-idx", "tier"}},
}

// Name returns the codec's registered name, such as "opus" or "H264".
func (f Format) Name() string {
	if f.Codec == codec.Unknown || int(f.Codec) >= len(codecs) {
		return "nothing"
	}
	return codecs[f.Codec].name
}

// String returns the name with the parameters that decide whether a decoder fits.
func (f Format) String() string {
	var decisive []string
	switch f.Codec {
	case codec.VP9, codec.H265:
		decisive = []string{"profile-id"}
	case codec.AV1:
		decisive = []string{"profile"}
	case codec.H264:
		decisive = []string{"packetization-mode", "profile-level-id"}
	}
	if params := keep(f.Fmtp, decisive); params != "" {
		return f.Name() + " (" + params + ")"
	}
	return f.Name()
}

// param returns a format parameter, or its default where it is not given.
func (f Format) param(name, otherwise string) string {
	return cmp.Or(lookup(f.Fmtp, name), otherwise)
}

// playedBy says how well a decoder that takes the format d plays f: 0 exactly,
// more for a decoder that can do more than needed, -1 for not at all.
func (f Format) playedBy(d Format) int {
	if f.Codec != d.Codec || f.ClockRate != d.ClockRate || f.Channels != d.Channels {
		return -1
	}
	switch f.Codec {
	case codec.H264:
		if f.param("packetization-mode", "0") != d.param("packetization-mode", "0") {
			return -1
		}
		return f.h264().playedBy(d.h264())
	case codec.VP9:
		return equal(f.param("profile-id", "0"), d.param("profile-id", "0"))
	case codec.AV1:
		return equal(f.param("profile", "0"), d.param("profile", "0"))
	case codec.H265:
		// Tier and level are what a decoder promises at least, and browsers promise
		// less than they do (RFC 7798 section 7.1).
		return equal(f.param("profile-id", "1"), d.param("profile-id", "1"))
	}
	return 0
}

func equal(a, b string) int {
	if a == b {
		return 0
	}
	return -1
}

// h264Profile is an H.264 profile: its profile_idc and constraint flags.
type h264Profile struct{ idc, flags byte }

// h264 returns the profile in profile-level-id; without one it is Baseline
// (RFC 6184 section 8.1). A value that is not six
// hexadecimal digits gives the zero profile.
func (f Format) h264() h264Profile {
	id := f.param("profile-level-id", "42000a")
	n, err := strconv.ParseUint(id, 16, 24)
	if err != nil || len(id) != 6 {
		return h264Profile{}
	}
	return h264Profile{byte(n >> 16), byte(n >> 8)}
}

// h264Profiles is table 5 of RFC 6184 for the profiles in use, and Constrained
// High. The rank orders them by what a decoder must know: one of a higher
// rank decodes all lower ones. Baseline stands beside Constrained Baseline, though
// it may use slice groups and redundant slices that others do not know: no WebRTC
// encoder does, and browsers that say Baseline send Constrained Baseline. In
// the same way nothing separates High from its constrained form in practice.
var h264Profiles = []struct {
	idc, mask, flags byte
	rank             int
}{
	{0x42, 0x4f, 0x40, 1}, // Constrained Baseline
	{0x4d, 0x8f, 0x80, 1},
	{0x58, 0xcf, 0xc0, 1},
	{0x42, 0x4f, 0x00, 1}, // Baseline
	{0x58, 0xcf, 0x80, 1},
	{0x4d, 0xaf, 0x00, 2}, // Main
	{0x64, 0xff, 0x00, 3}, // High
	{0x64, 0xff, 0x0c, 3}, // Constrained High
}

// rank returns the profile's rank, 0 for one that is played by itself only.
func (p h264Profile) rank() int {
	for _, row := range h264Profiles {
		if p.idc == row.idc && p.flags&row.mask == row.flags {
			return row.rank
		}
	}
	return 0
}

func (p h264Profile) playedBy(d h264Profile) int {
	if p == d {
		return 0
	}
	have, want := d.rank(), p.rank()
	if want == 0 || have < want {
		return -1
	}
	return 1 + have - want
}

// format is one payload type of an m-section.
type format struct {
	Format           // Codec is Unknown where Sluice does not forward it
	pt        uint8  // 0 to 127
	name      string // as the offerer spells it
	mapped    bool   // there is an rtpmap, so name, rate and channels are known
	params    string // all of a=fmtp
	transport bool   // a=rtcp-fb transport-cc
	nack      bool
	pli       bool
	fir       bool
}

// rtpmap returns the format as in a=rtpmap (RFC 8866 section 6.6).
func (f *format) rtpmap() string {
	if f.Channels > 1 {
		return fmt.Sprintf("%d %s/%d/%d", f.pt, f.name, f.ClockRate, f.Channels)
	}
	return fmt.Sprintf("%d %s/%d", f.pt, f.name, f.ClockRate)
}

// static are the payload types that need no rtpmap (RFC 3551 section 6).
var static = map[uint8]string{0: "PCMU/8000", 8: "PCMA/8000", 9: "G722/8000"}

// readFormats reads payload types with what is said about each.
func (s *section) readFormats() error {
	s.formats = make([]format, len(s.fmts))
	byPT := [128]*format{}
	for i, text := range s.fmts {
		pt, err := strconv.ParseUint(text, 10, 8)
		if err != nil || pt > 127 {
			return s.fail("has the payload type %.16q; 0 to 127 are allowed", text)
		}
		if byPT[pt] != nil {
			return s.fail("has the payload type %d twice", pt)
		}
		byPT[pt] = &s.formats[i]
		s.formats[i].pt = uint8(pt)
	}
	for _, a := range s.attrs {
		if a.name != "rtpmap" && a.name != "fmtp" && a.name != "rtcp-fb" {
			continue
		}
		if err := s.readFormat(a, &byPT); err != nil {
			return err
		}
	}
	for i := range s.formats {
		s.formats[i].settle(s.kind)
	}
	return nil
}

// readFormat reads one attribute that begins with a payload type. Those of
// types that the m-line does not name mean nothing.
func (s *section) readFormat(a attr, byPT *[128]*format) error {
	head, rest, _ := strings.Cut(a.value, " ")
	if head == "*" && a.name == "rtcp-fb" { // RFC 4585 section 4.2
		for i := range s.formats {
			s.formats[i].readFeedback(rest)
		}
		return nil
	}
	pt, err := strconv.ParseUint(head, 10, 8)
	if err != nil || pt > 127 {
		return a.fail("has the payload type %.16q; 0 to 127 are allowed", head)
	}
	f := byPT[pt]
	if f == nil {
		return nil
	}
	switch a.name {
	case "rtpmap":
		if f.mapped {
			return a.fail("maps the payload type %d a second time", pt)
		}
		if !f.readMap(rest) {
			return a.fail("%.32q is not <name>/<clock rate> or <name>/<clock rate>/<channels>", rest)
		}
	case "fmtp":
		f.params = rest
	case "rtcp-fb":
		f.readFeedback(rest)
	}
	return nil
}

func (f *format) readMap(text string) bool {
	parts := strings.Split(strings.TrimRight(text, " "), "/")
	if len(parts) < 2 || len(parts) > 3 || !isToken(parts[0], 32) {
		return false
	}
	rate, err := strconv.ParseUint(parts[1], 10, 32)
	if err != nil || rate == 0 {
		return false
	}
	if len(parts) == 3 {
		channels, err := strconv.ParseUint(parts[2], 10, 8)
		if err != nil {
			return false
		}
		f.Channels = int(channels)
	}
	f.name, f.ClockRate, f.mapped = parts[0], uint32(rate), true
	return true
}

func (f *format) readFeedback(text string) {
	switch strings.Join(strings.Fields(text), " ") {
	case "nack":
		f.nack = true
	case "nack pli":
		f.pli = true
	case "ccm fir":
		f.fir = true
	case "transport-cc":
		f.transport = true
	}
}

// settle decides whether Sluice forwards the format in a section of that kind.
func (f *format) settle(kind msg.Kind) {
	if !f.mapped {
		f.readMap(static[f.pt])
	}
	if kind == msg.Audio && f.Channels == 0 {
		f.Channels = 1
	}
	if ambiguous(f.pt) {
		return
	}
	for c, known := range codecs {
		if known.name != "" && strings.EqualFold(f.name, known.name) && known.kind == kind &&
			known.rate == f.ClockRate && known.channels == f.Channels {
			f.Codec = codec.Codec(c)
			f.Fmtp = keep(f.params, known.params)
		}
	}
	if f.Codec == codec.H264 && !f.plainH264() {
		f.Codec = codec.Unknown
	}
}

// ambiguous reports whether a packet of that type, on a port shared with RTCP,
// could be taken for RTCP (RFC 5761 section 4).
func ambiguous(pt uint8) bool { return pt >= 64 && pt <= 95 }

// plainH264 reports whether the profile is readable and the packets are in
// decoding order: mode 2 interleaves (RFC 6184 section 6.4).
func (f *format) plainH264() bool {
	mode := f.param("packetization-mode", "0")
	return (mode == "0" || mode == "1") && f.h264() != h264Profile{}
}

// keep returns the parameters with the given names, in that order. Values that
// are not plain words are left out, so that what is echoed in an answer stays one line.
func keep(params string, names []string) string {
	var kept []string
	for _, name := range names {
		if value := lookup(params, name); isToken(value, 32) {
			kept = append(kept, name+"="+value)
		}
	}
	return strings.Join(kept, ";")
}

// lookup returns a format parameter, "" where it is not given.
func lookup(params, name string) string {
	for p := range strings.SplitSeq(params, ";") {
		if key, value, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
