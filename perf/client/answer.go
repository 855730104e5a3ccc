package client

import (
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/pion/sdp/v3"
)

// Answer is what a server's answer says about its end of the connection.
type Answer struct {
	Ufrag, Pwd  string
	Fingerprint []byte           // SHA-256 of the server's certificate
	Active      bool             // the server sends the ClientHello
	Lite        bool             // the server is an ICE-lite agent
	Candidates  []netip.AddrPort // UDP host candidates of component 1, in the answer's order
	TCP         []netip.AddrPort // passive TCP ones, likewise
	TWCC, MID   bool             // header extensions that it accepted
	RTX         bool             // it accepted the retransmission format of the video
}

// ParseAnswer reads the answer to an Offer. It fails when the server refused a section, or left out what a connection needs.
func (o Offer) ParseAnswer(text []byte) (Answer, error) {
	var desc sdp.SessionDescription
	if err := desc.Unmarshal(text); err != nil {
		return Answer{}, err
	}
	var a Answer
	a.attributes(desc.Attributes)
	for _, m := range desc.MediaDescriptions {
		if err := accepted(m); err != nil {
			return Answer{}, err
		}
		a.attributes(m.Attributes)
		a.RTX = a.RTX || slices.Contains(m.MediaName.Formats, strconv.Itoa(RTXPT))
	}
	switch {
	case len(desc.MediaDescriptions) != len(strings.Fields(o.mids())):
		return Answer{}, fmt.Errorf("%d media sections, want %d", len(desc.MediaDescriptions), len(strings.Fields(o.mids())))
	case a.Ufrag == "" || a.Pwd == "":
		return Answer{}, errors.New("no ice-ufrag or ice-pwd")
	case len(a.Fingerprint) == 0:
		return Answer{}, errors.New("no sha-256 fingerprint")
	}
	return a, nil
}

// accepted checks that a media section was not refused and kept the codec that we offered.
func accepted(m *sdp.MediaDescription) error {
	want := map[string]int{"audio": AudioPT, "video": VideoPT}[m.MediaName.Media]
	if !slices.Contains(m.MediaName.Formats, strconv.Itoa(want)) {
		return fmt.Errorf("m=%s does not list payload type %d", m.MediaName.Media, want)
	}
	if _, bundled := m.Attribute("mid"); m.MediaName.Port.Value == 0 && !bundled {
		return fmt.Errorf("m=%s was refused", m.MediaName.Media)
	}
	return nil
}

func (a *Answer) attributes(list []sdp.Attribute) {
	for _, attr := range list {
		a.attribute(attr.Key, attr.Value)
	}
}

func (a *Answer) attribute(key, value string) {
	switch key {
	case "ice-ufrag":
		a.Ufrag = value
	case "ice-pwd":
		a.Pwd = value
	case "ice-lite":
		a.Lite = true
	case "setup":
		a.Active = value == "active"
	case "fingerprint":
		if sum, ok := strings.CutPrefix(strings.ToLower(value), "sha-256 "); ok {
			a.Fingerprint, _ = hex.DecodeString(strings.ReplaceAll(sum, ":", ""))
		}
	case "candidate":
		a.candidate(value)
	case "extmap":
		a.TWCC = a.TWCC || strings.Contains(value, twccURI)
		a.MID = a.MID || strings.Contains(value, midURI)
	}
}

// candidate takes UDP and passive TCP candidates of component 1 (RFC 8839 section 5.1, RFC 6544 section 4.5), each once, and passes
// over all others.
func (a *Answer) candidate(value string) {
	addr, ok := parseCandidate(value)
	if !ok {
		return
	}
	list := &a.Candidates
	if strings.Contains(value, " tcptype passive") {
		list = &a.TCP
	}
	if !slices.Contains(*list, addr) {
		*list = append(*list, addr)
	}
}

func parseCandidate(value string) (netip.AddrPort, bool) {
	f := strings.Fields(value)
	if len(f) < 8 || f[1] != "1" || !strings.EqualFold(f[2], "udp") && !strings.Contains(value, " tcptype passive") {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(f[4])
	if err != nil {
		return netip.AddrPort{}, false
	}
	port, err := strconv.ParseUint(f[5], 10, 16)
	if err != nil {
		return netip.AddrPort{}, false
	}
	return netip.AddrPortFrom(addr, uint16(port)), true
}

// pick chooses the candidate to talk to from an address of ours: the same address where there is one (loopback to loopback),
// otherwise the first one of the same family that is neither loopback nor link-local.
func pick(candidates []netip.AddrPort, local netip.Addr) (netip.AddrPort, error) {
	for _, c := range candidates {
		if c.Addr() == local {
			return c, nil
		}
	}
	for _, c := range candidates {
		far := !c.Addr().IsLoopback() && !c.Addr().IsLinkLocalUnicast()
		if far && !local.IsLoopback() && c.Addr().Is4() == local.Is4() {
			return c, nil
		}
	}
	return netip.AddrPort{}, fmt.Errorf("no candidate is reachable from %s (answer has %v)", local, candidates)
}
