package whip

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"sluice/controlplane"
	"sluice/controlplane/auth"
	"sluice/controlplane/fair"
	"sluice/controlplane/httpd"
	"sluice/controlplane/keying"
	"sluice/dataplane"
	"sluice/netopt/attr"
)

// server is the handlers over a real service on loopback.
type server struct {
	*testing.T
	tree    *attr.Tree
	service *controlplane.Service
	url     string
}

// metric returns a figure of the tree.
func (s *server) metric(path string) string {
	s.Helper()
	text, err := s.tree.Get(path)
	if err != nil {
		s.Fatal(err)
	}
	return text
}

// start starts a server with attributes of the test's, "PATH=VALUE".
func start(t *testing.T, sets ...string) *server {
	t.Helper()
	tree := attr.NewTree(&controlplane.Attrs, &auth.Attrs, &dataplane.Attrs, &keying.Attrs, &fair.Attrs, &Attrs)
	for _, set := range append([]string{"dataplane/shards=1", "dataplane/pin=0"}, sets...) {
		path, value, _ := strings.Cut(set, "=")
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	service, err := controlplane.Start(controlplane.Config{
		Tree: tree, Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
		Listen:     netip.MustParseAddrPort("127.0.0.1:0"),
		Candidates: func(listen netip.AddrPort) ([]netip.AddrPort, error) { return []netip.AddrPort{listen}, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	mux := http.NewServeMux()
	Register(mux, service, tree, Info{
		Version:     "9.9",
		HTTPSURL:    func(r *http.Request) string { return "https://" + r.Host + "/" },
		OperatorURL: func(r *http.Request) string { return "http://operator." + r.Host + "/" },
	})
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	web := httpd.NewServer(mux, slog.New(slog.DiscardHandler))
	go web.Serve(listener)
	t.Cleanup(func() { web.Close() })
	return &server{t, tree, service, "http://" + listener.Addr().String()}
}

// answer is a response, read.
type answer struct {
	*testing.T
	what   string
	status int
	header http.Header
	body   string
}

// do sends a request. head holds names and values of header fields by turns.
func (s *server) do(method, path, body string, head ...string) *answer {
	s.Helper()
	req, err := http.NewRequest(method, s.url+path, strings.NewReader(body))
	if err != nil {
		s.Fatal(err)
	}
	for i := 0; i < len(head); i += 2 {
		req.Header.Set(head[i], head[i+1])
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.Fatal(err)
	}
	defer resp.Body.Close()
	content, err := io.ReadAll(resp.Body)
	if err != nil {
		s.Fatal(err)
	}
	return &answer{s.T, method + " " + path, resp.StatusCode, resp.Header, string(content)}
}

func (s *server) offer(path, sdp string) *answer {
	s.Helper()
	return s.do("POST", path, sdp, "Content-Type", "application/sdp")
}

// want checks the status, and header fields by turns of name and value.
func (a *answer) want(status int, head ...string) *answer {
	a.Helper()
	if a.status != status {
		a.Fatalf("%s: status %d, want %d: %s", a.what, a.status, status, a.body)
	}
	for i := 0; i < len(head); i += 2 {
		if got := a.header.Get(head[i]); got != head[i+1] {
			a.Errorf("%s: %s is %q, want %q", a.what, head[i], got, head[i+1])
		}
	}
	return a
}

// problem checks a refusal: a problem document that a page of any origin may
// read, whose detail holds each of some words.
func (a *answer) problem(status int, words ...string) *answer {
	a.Helper()
	a.want(status, "Content-Type", "application/problem+json", "Access-Control-Allow-Origin", "*", "ETag", "", "Location", "")
	var doc struct {
		Title, Detail string
		Status        int
	}
	if err := json.Unmarshal([]byte(a.body), &doc); err != nil || doc.Title == "" || doc.Status != status {
		a.Fatalf("%s: %v, %s", a.what, err, a.body)
	}
	if first := doc.Detail[:1]; first != strings.ToUpper(first) || !strings.HasSuffix(doc.Detail, ".") {
		a.Errorf("%s: %q is no sentence", a.what, doc.Detail)
	}
	for _, word := range words {
		if !strings.Contains(doc.Detail, word) {
			a.Errorf("%s: %q does not say %q", a.what, doc.Detail, word)
		}
	}
	return a
}

// recorded returns the recorded offer of a real client.
func recorded(t *testing.T, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("../sdp/testdata", name+".sdp"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

var location = regexp.MustCompile(`^/(whip|whep)/[A-Za-z0-9._-]+/[0-9a-f]{32}$`)

// created checks a 201 and returns the session's path.
func (a *answer) created() string {
	a.Helper()
	a.want(201, "Content-Type", "application/sdp", "Access-Control-Allow-Origin", "*", "Cache-Control", "no-store")
	for _, name := range []string{"Location", "ETag"} {
		if !strings.Contains(a.header.Get("Access-Control-Expose-Headers"), name) {
			a.Errorf("pages of other origins cannot read %s", name)
		}
	}
	path, tag := a.header.Get("Location"), a.header.Get("ETag")
	if !location.MatchString(path) {
		a.Fatalf("Location is %q", path)
	}
	if len(tag) < 6 || tag[0] != '"' || tag[len(tag)-1] != '"' || !strings.Contains(a.body, "a=ice-ufrag:"+strings.Trim(tag, `"`)+"\r\n") {
		a.Errorf("ETag is %s, want the quoted ufrag of the answer", tag)
	}
	if !strings.HasPrefix(a.body, "v=0\r\n") || len(a.body) >= 8192 {
		a.Errorf("the answer begins %.10q and has %d bytes", a.body, len(a.body))
	}
	return path
}

// The life of a publisher and a viewer as HTTP sees it (RFC 9725 section 4.2).
func TestLife(t *testing.T) {
	s := start(t)
	publisher := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	a := s.offer("/whep/live", recorded(t, "chromium-whep"))
	viewer := a.created()
	if !strings.HasPrefix(publisher, "/whip/live/") || !strings.HasPrefix(viewer, "/whep/live/") {
		t.Errorf("sessions at %s and %s", publisher, viewer)
	}
	if !strings.Contains(a.body, "a=sendonly") || !strings.Contains(a.body, "a=setup:passive") {
		t.Errorf("answer to a viewer:\n%s", a.body)
	}
	for _, path := range []string{publisher, viewer} {
		s.do("GET", path, "").want(204, "Access-Control-Allow-Origin", "*")
		s.do("HEAD", path, "").want(204)
		s.do("DELETE", path, "", "If-Match", `"stale"`).want(200, "Access-Control-Allow-Origin", "*")
		s.do("DELETE", path, "").problem(404, "deleted")
		s.do("GET", path, "").problem(404, "deleted")
		s.do("HEAD", path, "").want(404)
	}
}

func TestEndpoint(t *testing.T) {
	s := start(t)
	for path, status := range map[string]int{"/whip/live": 204, "/whep/live": 200} {
		s.do("GET", path, "").want(status, "Accept-Post", "application/sdp", "Access-Control-Allow-Origin", "*")
		s.do("HEAD", path, "").want(status, "Accept-Post", "application/sdp")
		s.do("OPTIONS", path, "").want(200, "Accept-Post", "application/sdp", "Allow", "OPTIONS, GET, HEAD, POST")
		for _, method := range []string{"PUT", "DELETE", "PATCH", "TRACE", "BREW"} {
			s.do(method, path, "").problem(405, method).want(405, "Allow", "OPTIONS, GET, HEAD, POST")
		}
	}
}

// What a browser asks before a page of another origin may POST or DELETE. It
// shows no credentials then, and needs none.
func TestPreflight(t *testing.T) {
	s := start(t)
	session := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	for _, c := range [][2]string{{"/whip/live", "POST"}, {"/whep/live", "POST"}, {session, "PATCH"}, {session, "DELETE"}} {
		path, method := c[0], c[1]
		a := s.do("OPTIONS", path, "", "Origin", "https://example.com", "Access-Control-Request-Method", method,
			"Access-Control-Request-Headers", "authorization,content-type").want(200, "Access-Control-Allow-Origin", "*", "Link", "")
		if allowed := a.header.Get("Access-Control-Allow-Methods"); !strings.Contains(allowed, method) {
			t.Errorf("%s allows %q", path, allowed)
		}
		allowed := strings.ToLower(a.header.Get("Access-Control-Allow-Headers"))
		for _, name := range []string{"authorization", "content-type", "if-match"} {
			if !strings.Contains(allowed, name) {
				t.Errorf("%s allows the headers %q, not %s", path, allowed, name)
			}
		}
	}
}

// RFC 9110 section 15.5.6 asks for Allow, RFC 5789 section 3.1 for Accept-Patch.
func TestSessionMethods(t *testing.T) {
	s := start(t)
	path := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	s.do("OPTIONS", path, "").want(200, "Allow", "OPTIONS, GET, HEAD, PATCH, DELETE", "Accept-Post", "", "Accept-Patch", fragmentType)
	s.do("POST", path, "").problem(405, "PATCH", "DELETE").want(405, "Allow", "OPTIONS, GET, HEAD, PATCH, DELETE")
	s.do("PUT", path, "").problem(405)
	s.do("GET", path, "").want(204) // none of that harmed it
}

func TestUnknownSession(t *testing.T) {
	s := start(t)
	for _, method := range []string{"GET", "DELETE"} {
		s.do(method, "/whip/live/0123456789abcdef0123456789abcdef", "").problem(404, "There is no such session", "POST")
	}
}

func TestContentType(t *testing.T) {
	s := start(t)
	offer := recorded(t, "chromium-whip-vp8")
	for _, kind := range []string{"", "text/plain", "application/json", "application/sdp2", "application"} {
		s.do("POST", "/whip/live", offer, "Content-Type", kind).
			problem(415, "application/sdp").want(415, "Accept-Post", "application/sdp")
	}
	for _, kind := range []string{"application/sdp", "Application/SDP", "application/sdp; charset=utf-8"} {
		path := s.do("POST", "/whip/live", offer, "Content-Type", kind).created()
		s.do("DELETE", path, "").want(200)
	}
}

func TestSizeOfOffer(t *testing.T) {
	s := start(t)
	s.offer("/whip/live", strings.Repeat("a=x\r\n", maxOffer/5+1)).problem(413, "65536 bytes")
	chunked, err := http.NewRequest("POST", s.url+"/whip/live", io.MultiReader(strings.NewReader(strings.Repeat("x", 2*maxOffer))))
	if err != nil {
		t.Fatal(err)
	}
	chunked.Header.Set("Content-Type", "application/sdp")
	resp, err := http.DefaultClient.Do(chunked)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 413 {
		t.Errorf("without a length: status %d", resp.StatusCode)
	}
	padded := recorded(t, "chromium-whip-vp8")
	long := "a=" + strings.Repeat("x", 96) + "\r\n"
	padded += strings.Repeat(long, (maxOffer-len(padded))/len(long))
	s.offer("/whip/live", padded).created()
}

func TestNames(t *testing.T) {
	s := start(t)
	offer := recorded(t, "chromium-whip-vp8")
	for _, name := range []string{"%20", "a%2Fb", "a%0d%0ab", "%C3%A4", "a:b", strings.Repeat("x", 65), "a%00", "%3Cb%3E", "%2e%2e"} {
		s.offer("/whip/"+name, offer).problem(400, "letters")
		s.offer("/whep/"+name, offer).problem(400, "letters")
	}
	for _, name := range []string{"a", "A.b-c_9", "...", strings.Repeat("x", 64)} {
		s.offer("/whip/"+name, offer).created()
	}
}

// Offers that cannot be used are refused with the line and the reason.
func TestBadOffers(t *testing.T) {
	s := start(t)
	good := recorded(t, "chromium-whip-vp8")
	for _, test := range []struct {
		offer string
		words []string
	}{
		{"", nil},
		{"hello", nil},
		{"\x00\xff\xfe", nil},
		{"v=0\r\n", nil},
		{strings.Replace(good, "a=fingerprint", "a=fingerpaint", -1), []string{"a=fingerprint", "sha-256"}},
		{strings.Replace(good, "a=setup:actpass", "a=setup:holdconn", -1), []string{"line ", "a=setup", "actpass"}},
		{strings.Replace(good, "a=ice-pwd:", "a=ice-pwd:!", -1), []string{"line ", "a=ice-pwd"}},
		{strings.Replace(good, "a=group:BUNDLE", "a=group:LS", -1), []string{"BUNDLE"}},
		{recorded(t, "chromium-whep"), []string{"sendonly"}}, // a viewer at the wrong door
	} {
		s.offer("/whip/live", test.offer).problem(400, test.words...)
		if streams := s.service.Streams(); len(streams) != 0 {
			t.Fatalf("a refused offer left %+v", streams)
		}
	}
}

func TestViewerBeforePublisher(t *testing.T) {
	s := start(t)
	offer := recorded(t, "firefox-whep")
	s.offer("/whep/live", offer).problem(409, "has no publisher").want(409, "Retry-After", "1")
	publisher := s.offer("/whip/live", recorded(t, "firefox-whip-vp8")).created()
	s.offer("/whep/live", offer).created()
	s.do("DELETE", publisher, "").want(200)
	s.offer("/whep/live", offer).problem(409, "has no publisher").want(409, "Retry-After", "1")
}

func TestSecondPublisher(t *testing.T) {
	s := start(t)
	offer := recorded(t, "chromium-whip-vp8")
	s.offer("/whip/live", offer).created()
	s.offer("/whip/live", offer).problem(409, "publisher", "another name")
}

// Among several H.264 profiles the one that plays the stream is chosen, and
// where none does, the counter-offer names both sides.
func TestH264Profiles(t *testing.T) {
	const published, other = "a=fmtp:%d level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=%s\r\n", "42e01f"
	viewer := func(types map[int]string) string {
		var b strings.Builder
		b.WriteString("v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\nm=video 9 UDP/TLS/RTP/SAVPF")
		for pt := range types {
			fmt.Fprintf(&b, " %d", pt)
		}
		b.WriteString("\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=setup:actpass\r\n" +
			"a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
			"a=fingerprint:sha-256 " + strings.Repeat("AB:", 31) + "AB\r\n")
		for pt, profile := range types {
			fmt.Fprintf(&b, "a=rtpmap:%d H264/90000\r\n", pt)
			fmt.Fprintf(&b, published, pt, profile)
		}
		return b.String()
	}
	publisher := func(profile string) string {
		return strings.Replace(viewer(map[int]string{100: profile}), "a=recvonly", "a=sendonly", 1)
	}
	all := map[int]string{101: "42e01f", 102: "4d001f", 103: "640c1f"}
	for profile, pt := range map[string]string{"42e01f": "101", "4d001f": "102", "640c1f": "103", "640032": "103"} {
		s := start(t)
		s.offer("/whip/live", publisher(profile)).created()
		a := s.offer("/whep/live", viewer(all))
		a.created()
		if !strings.Contains(a.body, "m=video 9 UDP/TLS/RTP/SAVPF "+pt+"\r\n") {
			t.Errorf("%s: want payload type %s:\n%s", profile, pt, a.body)
		}
	}
	s := start(t)
	s.offer("/whip/live", publisher("640c1f")).created()
	s.offer("/whep/live", viewer(map[int]string{101: other})).counterOffered("640c1f", "42e01f")
}

func TestLimits(t *testing.T) {
	s := start(t, "limits/sessions=4", "limits/streams=2", "limits/pending_sessions=3")
	publish, watch := recorded(t, "chromium-whip-vp8"), recorded(t, "chromium-whep")
	s.offer("/whip/a", publish).created()
	b := s.offer("/whip/b", publish).created()
	s.offer("/whip/c", publish).problem(503, "limits/streams").want(503, "Retry-After", "10")
	viewer := s.offer("/whep/a", watch).created()
	s.offer("/whep/a", watch).problem(429, "limits/pending_sessions").want(429, "Retry-After", "1")
	s.do("DELETE", viewer, "").want(200)
	s.do("DELETE", b, "").want(200)
	s.offer("/whip/c", publish).created()

	full := start(t, "limits/sessions=1")
	full.offer("/whip/a", publish).created()
	full.offer("/whep/a", watch).problem(503, "limits/sessions").want(503, "Retry-After", "10")

	t.Cleanup(func() { debug.SetMemoryLimit(math.MaxInt64) }) // it is the process's
	starved := start(t, "limits/memory_bytes=1")
	starved.offer("/whip/a", publish).problem(503, "limits/memory_bytes").want(503, "Retry-After", "10")
}

func TestDraining(t *testing.T) {
	s := start(t)
	publisher := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	drained := make(chan struct{})
	go func() {
		s.service.Drain(t.Context())
		close(drained)
	}()
	for len(s.service.Ready()) == 0 { // until the drain has begun
		select {
		case <-drained:
			t.Fatal("drained while there was a session")
		default:
		}
	}
	s.offer("/whip/other", recorded(t, "chromium-whip-vp8")).problem(503, "shutting down").want(503, "Retry-After", "10")
	s.offer("/whep/live", recorded(t, "chromium-whep")).problem(503, "shutting down")
	s.do("DELETE", publisher, "").want(200)
	<-drained
}

// What is not HTTP at all is refused by a status line, and the next client is served.
func TestMalformedHTTP(t *testing.T) {
	s := start(t)
	for _, request := range []string{
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
		"POST\r\n\r\n",
		"POST /whip/live HTTP/1.1\r\n\r\n",                                     // no Host
		"POST /whip/live HTTP/9.9\r\nHost: x\r\n\r\n",                          //
		"POST /whip/live HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",    //
		"POST /whip/%zz HTTP/1.1\r\nHost: x\r\n\r\n",                           //
		"GET /" + strings.Repeat("x", 32<<10) + " HTTP/1.1\r\nHost: x\r\n\r\n", // over the limit on headers
	} {
		conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, request)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil || resp.StatusCode/100 != 4 && resp.StatusCode != 505 {
			t.Errorf("%.40q: %v, %v", request, resp, err)
		}
		conn.Close()
	}
	s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
}

func TestListOfStreams(t *testing.T) {
	s := start(t)
	list := func() (got struct {
		Streams     []controlplane.StreamInfo
		Version     string
		HTTPSURL    string `json:"https_url"`
		OperatorURL string `json:"operator_url"`
	}) {
		a := s.do("GET", "/api/streams", "").want(200, "Content-Type", "application/json", "Access-Control-Allow-Origin", "*", "Cache-Control", "no-store")
		if err := json.Unmarshal([]byte(a.body), &got); err != nil {
			t.Fatal(err)
		}
		return got
	}
	empty := list()
	if empty.Streams == nil || len(empty.Streams) != 0 || empty.Version != "9.9" || empty.HTTPSURL != strings.Replace(s.url, "http:", "https:", 1)+"/" ||
		empty.OperatorURL != strings.Replace(s.url, "http://", "http://operator.", 1)+"/" {
		t.Errorf("%+v", empty)
	}
	publisher := s.offer("/whip/live", recorded(t, "chromium-whip-vp8")).created()
	s.offer("/whep/live", recorded(t, "chromium-whep")).created()
	got := list().Streams
	if len(got) != 1 || got[0].Name != "live" || !got[0].Live || got[0].Since == nil || got[0].Viewers != 1 || got[0].Source != "whip" ||
		got[0].Video == nil || got[0].Video.Codec != "VP8" || got[0].Audio == nil || got[0].Audio.Codec != "opus" {
		t.Errorf("%+v", got)
	}
	s.do("DELETE", publisher, "").want(200)
	if got := list().Streams; len(got) != 1 || got[0].Live || got[0].Since != nil || got[0].Viewers != 1 {
		t.Errorf("after the publisher left: %+v", got)
	}
	for _, err := range []error{s.tree.Mkdir("streams/camera"), s.tree.Set("streams/camera/title", "The gate"), s.tree.Mkdir("streams/live"), s.tree.Set("streams/live/title", "The hall")} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if got := list().Streams; len(got) != 2 || got[0].Name != "camera" || got[0].Title != "The gate" || got[0].Live || got[0].Since != nil || got[1].Title != "The hall" {
		t.Errorf("with fixed streams: %+v", got)
	}
	s.do("HEAD", "/api/streams", "").want(200)
	s.do("POST", "/api/streams", "").problem(405)
}
