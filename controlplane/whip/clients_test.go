package whip

import (
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What OBS does and needs: an offer that may have no candidates, a bearer token
// whether or not anybody asked, 201 and 200 exactly, a Location whose path alone
// it keeps, no PATCH and no OPTIONS.
func TestOBSRules(t *testing.T) {
	s := start(t)
	const token = "Bearer live_1234_abcd"
	candidate := regexp.MustCompile(`(?m)^a=(candidate:|end-of-candidates)[^\n]*\n`)
	for _, name := range []string{"datachannel-whip-h264", "datachannel-whip-vp8"} {
		offer := candidate.ReplaceAllString(recorded(t, name), "")
		if strings.Contains(offer, "candidate") {
			t.Fatalf("%s has candidates still", name)
		}
		a := s.do("POST", "/whip/"+name, offer, "Content-Type", "application/sdp", "Authorization", token)
		path := a.created()
		if !strings.Contains(a.body, "v=0") || !strings.Contains(a.body, "a=candidate:") || strings.Contains(a.body, "m=video 0") {
			t.Errorf("%s: answered by\n%s", name, a.body)
		}
		// It takes the Location for a path, and would escape a query in it.
		if u, err := url.Parse(path); err != nil || u.RawQuery != "" || u.IsAbs() || !strings.HasPrefix(u.Path, "/") || u.EscapedPath() != path {
			t.Errorf("%s: Location is %q", name, path)
		}
		if a := s.do("DELETE", path, "", "Authorization", token).want(200); a.body != "" {
			t.Errorf("DELETE: %q", a.body)
		}
	}
}

// Clients from before MIDs tell streams apart by the SSRCs in the answer: each
// m-section that sends names its own, and the pair of media and retransmissions.
func TestAnswersNameSSRCs(t *testing.T) {
	files, err := filepath.Glob("../sdp/testdata/*-whep.sdp")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	s := start(t)
	s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	ssrcLine := regexp.MustCompile(`(?m)^a=ssrc:(\d+) cname:sluice\r$`)
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".sdp")
		a := s.offer("/whep/live", recorded(t, name))
		a.created()
		seen := map[string]bool{}
		for _, section := range strings.Split(a.body, "\r\nm=")[1:] {
			if !strings.Contains(section, "\r\na=sendonly\r\n") {
				continue
			}
			ssrcs := ssrcLine.FindAllStringSubmatch(section+"\r\n", -1)
			want := 1
			if strings.Contains(section, " rtx/90000") {
				want = 2
				if len(ssrcs) == 2 && !strings.Contains(section, "\r\na=ssrc-group:FID "+ssrcs[0][1]+" "+ssrcs[1][1]+"\r\n") {
					t.Errorf("%s: no FID group in\n%s", name, section)
				}
			}
			if len(ssrcs) != want {
				t.Errorf("%s: %d SSRCs, want %d, in\n%s", name, len(ssrcs), want, section)
			}
			for _, ssrc := range ssrcs {
				if seen[ssrc[1]] {
					t.Errorf("%s: SSRC %s twice", name, ssrc[1])
				}
				seen[ssrc[1]] = true
			}
		}
		if len(seen) == 0 {
			t.Errorf("%s: no SSRC at all", name)
		}
	}
}
