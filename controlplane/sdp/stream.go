package sdp

import (
	"strconv"
	"strings"

	"sluice/dataplane/wire"
)

// ext is one header extension that Sluice knows, as offered (RFC 8285).
type ext struct {
	ext wire.Ext
	id  uint8
	dir string // "" where none was given
}

// readExts reads the header extensions with ids that fit the one-byte form.
// Longer ids, and those from 4096 up that only propose (RFC 8285 section 7), are
// offers one may pass over.
func (s *section) readExts() error {
	used := [15]string{}
	for _, level := range []attrs{s.common, s.attrs} {
		for _, a := range level.all("extmap") {
			head, rest, _ := strings.Cut(a.value, " ")
			uri, _, _ := strings.Cut(rest, " ")
			number, dir, _ := strings.Cut(head, "/")
			id, err := strconv.ParseUint(number, 10, 16)
			if err != nil || id == 0 || id > 4351 {
				return a.fail("has the id %.16q; 1 to 255 and 4096 to 4351 are allowed", number)
			}
			if id > 14 {
				continue
			}
			if used[id] != "" && used[id] != uri {
				return a.fail("gives the id %d, which has a meaning already, a second one", id)
			}
			used[id] = uri
			s.addExt(ext{wire.ExtByURI(uri), uint8(id), dir})
		}
	}
	return nil
}

func (s *section) addExt(e ext) {
	for _, have := range s.exts {
		if have.ext == e.ext {
			return
		}
	}
	if e.ext != wire.ExtNone {
		s.exts = append(s.exts, e)
	}
}

// ext returns the offered extension if it may flow from the peer to us, or
// from us to the peer; id 0 when not.
func (s *section) ext(e wire.Ext, send bool) ext {
	blocked := "recvonly"
	if send {
		blocked = "sendonly"
	}
	for _, have := range s.exts {
		if have.ext == e && have.dir != blocked && have.dir != "inactive" {
			return have
		}
	}
	return ext{}
}

// readSSRCs reads which SSRC the section's one encoding has: the first one
// named, with its partner for retransmissions (RFC 5576, RFC 4588 section 8).
func (s *section) readSSRCs() error {
	for _, a := range s.attrs {
		switch a.name {
		case "ssrc":
			head, _, _ := strings.Cut(a.value, " ")
			ssrc, err := strconv.ParseUint(head, 10, 32)
			if err != nil {
				return a.fail("%.16q is not a number of 32 bits", head)
			}
			if s.ssrc == 0 {
				s.ssrc = uint32(ssrc)
			}
		case "ssrc-group":
			if err := s.readGroupedSSRCs(a); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *section) readGroupedSSRCs(a attr) error {
	fields := strings.Fields(a.value)
	if len(fields) == 0 || fields[0] != "FID" || s.rtxSSRC != 0 {
		return nil
	}
	if len(fields) != 3 {
		return a.fail("an FID group holds two SSRCs, of the media and of its retransmissions")
	}
	media, err := strconv.ParseUint(fields[1], 10, 32)
	if err != nil {
		return a.fail("%.16q is not a number of 32 bits", fields[1])
	}
	rtx, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil {
		return a.fail("%.16q is not a number of 32 bits", fields[2])
	}
	s.ssrc, s.rtxSSRC = uint32(media), uint32(rtx)
	return nil
}
