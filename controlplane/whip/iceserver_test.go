package whip

import (
	"slices"
	"strings"
	"testing"
)

// Clients are told of STUN and TURN servers in the answer, and by OPTIONS unless
// a browser asks before another request (RFC 9725 section 4.6).
func TestICEServers(t *testing.T) {
	s := start(t)
	want := []string{
		`<stun:stun.example.net>; rel="ice-server"`,
		`<turn:turn.example.net:3478?transport=udp>; rel="ice-server"; username="1735689600:me"; credential="a\"b\\c=d"; credential-type="password"`,
		`<turns:[2001:db8::1]:5349>; rel="ice-server"; username="u"; credential="p"; credential-type="password"`,
	}
	set := func(entries string) {
		if err := s.tree.Set("ice/servers", entries); err != nil {
			t.Fatal(err)
		}
	}
	links := func(a *answer) []string {
		return slices.DeleteFunc(a.header.Values("Link"), func(l string) bool { return !strings.Contains(l, `rel="ice-server"`) })
	}
	for _, kind := range []string{"whip", "whep"} {
		offer := recorded(t, map[string]string{"whip": "chromium-whip-vp8", "whep": "chromium-whep"}[kind])
		set("")
		if a := s.do("OPTIONS", "/"+kind+"/live", ""); len(links(a)) != 0 {
			t.Errorf("%s: none are set, and %q are linked", kind, links(a))
		}
		set("stun:stun.example.net\nturn:turn.example.net:3478?transport=udp;username=1735689600:me;credential=a\"b\\c=d\nturns:[2001:db8::1]:5349;credential=p;username=u")
		a := s.offer("/"+kind+"/live", offer)
		path := a.created()
		for what, a := range map[string]*answer{"the answer": a, "OPTIONS": s.do("OPTIONS", "/"+kind+"/live", "").want(200)} {
			if got := links(a); !slices.Equal(got, want) || !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), "Link") {
				t.Errorf("%s, %s: %q", kind, what, got)
			}
		}
		for what, a := range map[string]*answer{
			"a preflight": s.do("OPTIONS", "/"+kind+"/live", "", "Origin", "https://example.com", "Access-Control-Request-Method", "POST").want(200),
			"GET":         s.do("GET", "/"+kind+"/live", ""), "the session": s.do("GET", path, ""),
		} {
			if got := links(a); len(got) != 0 {
				t.Errorf("%s, %s: %q", kind, what, got)
			}
		}
	}
}

func TestICEServerEntries(t *testing.T) {
	for _, good := range []string{
		"stun:example.net", "stun:192.0.2.1:3478", "stuns:example.net:5349", "stun:[2001:db8::1]",
		"turn:example.net;username=u;credential=c", "turns:example.net:443?transport=tcp;credential=c;username=u",
	} {
		if err := checkICEServer(good); err != nil {
			t.Errorf("%s %v", good, err)
		}
	}
	for entry, want := range map[string]string{
		"":                               "URI of stun:",
		"http://example.net":             "URI of stun:",
		"example.net:3478":               "URI of stun:",
		"stun:":                          "host",
		"stun://example.net":             "host",
		"stun:a>b":                       "host",
		"stun:2001:db8::1":               "host",
		"stun:example.net:0":             "port",
		"stun:example.net:65536":         "port",
		"stun:example.net:x":             "port",
		"stun:example.net?transport=udp": "query",
		"turn:example.net?transport=sctp;username=u;credential=c": "query",
		"turn:example.net":                                         "TURN needs",
		"turn:example.net;username=u":                              "TURN needs",
		"stun:example.net;username=u;credential=c":                 "STUN makes no use",
		"turn:example.net;username=u;credential=c;username=v":      "once each",
		"turn:example.net;username=u;credential=c;credential-type": "known",
	} {
		if err := checkICEServer(entry); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a word of %q", entry, err, want)
		}
	}
}
