package sdp

import (
	"strings"
	"testing"
)

// goodFragment is one as a browser's library sends it, to spoil.
const goodFragment = `a=ice-options:trickle ice2
a=group:BUNDLE 0 1
m=audio 9 UDP/TLS/RTP/SAVPF 111
a=mid:0
a=ice-ufrag:EsAw
a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1
a=candidate:1387637174 1 udp 2122260223 192.0.2.1 61764 typ host generation 0 ufrag EsAw network-id 1
a=candidate:3471623853 1 udp 2122194687 9b36eaac-bb2e-49bb-bb78-21c41c499900.local 61765 typ host generation 0
a=candidate:473322822 1 tcp 1518280447 192.0.2.1 9 typ host tcptype active generation 0
a=candidate:842163049 1 udp 1677729535 2001:db8::1 46154 typ srflx raddr :: rport 0
a=end-of-candidates
`

func TestFragment(t *testing.T) {
	const ufrag, pwd = "EsAw", "P2uYro0UCOQ4zxjKXaWCBui1"
	credentials := "a=ice-ufrag:" + ufrag + "\na=ice-pwd:" + pwd + "\n"
	for name, c := range map[string]struct {
		text  string
		named bool
	}{
		"as libraries send it":             {goodFragment, true},
		"with CRLF":                        {strings.ReplaceAll(goodFragment, "\n", "\r\n"), true},
		"credentials of the session":       {credentials + "m=audio 9 RTP/AVP 0\na=mid:0\na=end-of-candidates\n", true},
		"credentials twice, the same":      {credentials + "m=audio 9 RTP/AVP 0\n" + credentials + "m=video 9 RTP/AVP 0\n" + credentials, true},
		"no credentials":                   {"m=audio 9 UDP/TLS/RTP/SAVPF 111\na=mid:0\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\n", false},
		"nothing but the end":              {"a=end-of-candidates\n", false},
		"attributes that nobody knows":     {"a=ice-pacing:50\na=x-y:z\na=z\n", false},
		"a candidate of a port of its own": {"a=candidate:1 2 udp 1 nowhere.example 1 typ other\n", false},
	} {
		f, err := ParseFragment([]byte(c.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if want := (Fragment{ufrag, pwd}); c.named && *f != want || !c.named && *f != (Fragment{}) {
			t.Errorf("%s: read %+v", name, f)
		}
	}
}

func TestBadFragments(t *testing.T) {
	for _, c := range []struct{ from, to, want string }{
		{goodFragment, "", "fragment: is empty; send a=ice-ufrag, a=ice-pwd and candidates"},
		{goodFragment, "\r\n\r\n", "fragment: is empty; send a=ice-ufrag, a=ice-pwd and candidates"},
		{goodFragment, "hello", "line 1: hello: is not of the form <letter>=<value>"},
		{"a=mid:0", "v=0", "line 4: v=0: does not belong into a fragment, which has only a= and m= lines"},
		{"a=mid:0", "a=mid:\x00", "line 4: fragment: holds a control character"},
		{"a=mid:0", "a=mid:0 1", `line 4: a=mid: "0 1" is not a token of 1 to 16 characters`},
		{"a=mid:0", "a=mid:0\na=mid:0", "line 5: a=mid: is given twice in one section"},
		{"m=audio 9 UDP/TLS/RTP/SAVPF 111", "m=audio 9", "line 3: m=audio: is not m=<media> <port> <profile> <format>"},
		{"m=audio 9", "m=audio 65536", `line 3: m=audio: has the port "65536"; 0 to 65535 are allowed`},
		{"a=ice-ufrag:EsAw\n", "", "line 5: a=ice-pwd: comes without a=ice-ufrag; send both, or none"},
		{"a=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\n", "", "line 5: a=ice-ufrag: comes without a=ice-pwd; send both, or none"},
		{"EsAw\n", "EsA\n", "line 5: a=ice-ufrag: has 3 characters; 4 to 256 are allowed"},
		{"P2uYro0", "P2u_ro0", "line 6: a=ice-pwd: may hold only letters, digits, + and /"},
		{"a=ice-ufrag:EsAw\n", "a=ice-ufrag:EsAw\na=ice-ufrag:EsAw\n", "line 6: a=ice-ufrag: is given twice in one section"},
		{"a=end-of", "m=video 9 RTP/AVP 0\na=ice-ufrag:else\na=ice-pwd:P2uYro0UCOQ4zxjKXaWCBui1\na=end-of",
			"line 12: a=ice-ufrag: differs from that of another section; Sluice has one transport for all m-sections"},
		{"1387637174 1 udp", "1387637174 1", "line 7: a=candidate: is not <foundation> <component> <transport> <priority> <address> <port> typ <type>"},
		{"61764 typ host", "61764 type host", "line 7: a=candidate: is not <foundation> <component> <transport> <priority> <address> <port> typ <type>"},
		{"network-id 1", "network-id", "line 7: a=candidate: ends in the middle of an extension, which is a name and a value"},
		{"1387637174 1 udp", "13:76 1 udp", `line 7: a=candidate: has the foundation "13:76"; 1 to 32 letters, digits, + or / are allowed`},
		{"1387637174 1 udp", "1387637174 0 udp", `line 7: a=candidate: has the component "0"; 1 to 256 are allowed`},
		{"2122260223", "2147483648", `line 7: a=candidate: has the priority "2147483648"; 1 to 2147483647 are allowed`},
		{"61764", "70000", `line 7: a=candidate: has the port "70000"; 0 to 65535 are allowed`},
		{"1387637174 1 udp", "1387637174 1 u(p", "line 7: a=candidate: has a transport or type that is not a token of 1 to 32 characters"},
		{"192.0.2.1 61764", strings.Repeat("x", 256) + " 61764", "line 7: a=candidate: has an address of 256 characters; 1 to 255 are allowed"},
		{goodFragment, strings.Repeat("a=x\n", maxFragment/4+1), "fragment: 32772 bytes; at most 32768 are read"},
		{goodFragment, strings.Repeat("a=x\n", maxLines+1), "line 2049: a=x: is the 2049th line; at most 2048 are read"},
		{goodFragment, strings.Repeat("m=x\n", maxMedia+1), "line 9: m=x: is the 9th m-line; at most 8 are read"},
		{goodFragment, strings.Repeat("a=candidate:1 1 udp 1 192.0.2.1 1 typ host\n", maxCandidates+1),
			"line 257: a=candidate: is the 257th candidate; at most 256 are read, and Sluice needs none"},
	} {
		if !strings.Contains(goodFragment, c.from) {
			t.Fatalf("%q is not in the fragment", c.from)
		}
		_, err := ParseFragment([]byte(strings.Replace(goodFragment, c.from, c.to, 1)))
		if err == nil || err.Error() != c.want {
			t.Errorf("%.30q for %.30q: %v\nwant %s", c.to, c.from, err, c.want)
		}
	}
}

// Hostile fragments never panic, and what is wrong with them fits a problem document.
func FuzzFragment(f *testing.F) {
	f.Add([]byte(goodFragment))
	f.Add([]byte("a=end-of-candidates\r\n"))
	f.Add([]byte("m=audio 9/2 RTP/AVP 0\na=mid:0\na=candidate:1 1 udp 1 ::1 1 typ host\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		fragment, err := ParseFragment(body)
		if err != nil {
			checkError(t, err)
			return
		}
		if (fragment.Ufrag == "") != (fragment.Pwd == "") {
			t.Fatalf("%+v", fragment)
		}
	})
}

// What we answer to a restart is a fragment itself, and speaks of the transport as
// the answer did.
func TestFragmentOfOurs(t *testing.T) {
	s := mustPublish(t, good)
	l := testLocal()
	l.Ufrag, l.Pwd = "newufrag", "newpasswordnewpassword12"
	text := string(s.Tagged().Fragment(l))
	for _, line := range []string{
		"a=ice-lite\r\n", "a=ice-options:trickle ice2\r\n", "a=group:BUNDLE 0 1\r\n", "m=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:0\r\n",
		"a=ice-ufrag:newufrag\r\na=ice-pwd:newpasswordnewpassword12\r\n", "a=end-of-candidates\r\n",
	} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in\n%s", line, text)
		}
	}
	answer := string(s.Answer(l))
	for line := range strings.Lines(text) {
		if !strings.Contains(answer, line) {
			t.Errorf("the answer has no %q", line)
		}
	}
	f, err := ParseFragment([]byte(text))
	if err != nil || f.Ufrag != l.Ufrag || f.Pwd != l.Pwd {
		t.Errorf("read as %+v, %v", f, err)
	}
	if !strings.Contains(text, "a=candidate:1 1 udp ") {
		t.Errorf("no candidate in\n%s", text)
	}
}
