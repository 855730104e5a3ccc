package controlplane_test

import (
	"encoding/json"
	"strings"
	"testing"
)

// Everything about a session can be seen but what is secret: the token that its
// URL names it by, its keys and its ICE credentials.
func TestInspectSessions(t *testing.T) {
	r := start(t, "dataplane/transmit_stamp_every=1")
	publisher := r.publish("live", settings{}, opus, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(5, viewer)
	ids := r.service.Sessions()
	if len(ids) != 2 {
		t.Fatalf("sessions: %v", ids)
	}
	roles := map[string]bool{}
	for _, id := range ids {
		info, ok := r.service.Inspect(id)
		if !ok || info.Stream != "live" || info.ID != id || info.Media == nil || !info.Media.Keyed || info.Media.Profile == 0 {
			t.Fatalf("%s: %v %+v", id, ok, info)
		}
		roles[info.Role] = true
		selected := 0
		for _, path := range info.Media.Paths {
			if path.Selected && strings.HasPrefix(path.Remote, "127.0.0.1:") {
				selected++
			}
		}
		if selected != 1 {
			t.Errorf("%s: paths %+v", id, info.Media.Paths)
		}
		switch info.Role {
		case "publisher":
			if in := info.Media.Ingresses; len(in) != 2 || in[0].Received+in[1].Received == 0 || in[0].Codec == in[1].Codec {
				t.Errorf("the publisher sends %+v", in)
			}
		case "viewer":
			if out := info.Media.Egresses; len(out) != 1 || !out[0].Started || out[0].Packets == 0 {
				t.Errorf("the viewer gets %+v", out)
			}
		}
		text, err := json.Marshal(info)
		must(t, err)
		for _, url := range []string{publisher.session, viewer.session} {
			if token := url[strings.LastIndexByte(url, '/')+1:]; len(token) < 16 || strings.Contains(string(text), token) {
				t.Errorf("the token %q of a session is shown: %s", token, text)
			}
		}
		for _, secret := range []string{"ufrag", "pwd", "key\"", "salt", "token"} {
			if strings.Contains(strings.ToLower(string(text)), secret) {
				t.Errorf("%s is shown: %s", secret, text)
			}
		}
	}
	if !roles["publisher"] || !roles["viewer"] {
		t.Errorf("roles %v", roles)
	}
	r.eventually(func() string { // it reports once a second, and the way there and back is known from the second report on
		for _, id := range r.service.Sessions() {
			info, _ := r.service.Inspect(id)
			if info.Role == "viewer" && info.Media.Egresses[0].Reported != nil && info.Media.Egresses[0].Reported.RTT > 0 {
				return ""
			}
			publisher.video().send(false, 1)
		}
		return "the viewer's reports are not shown"
	})
	for _, id := range []string{"", "0", "0.", "0.x", "-1.1", "9.1", "99999.1", "0.99", ids[0] + "x", "0" + ids[0]} {
		if info, ok := r.service.Inspect(id); ok {
			t.Errorf("%q names %+v", id, info)
		}
	}
	p := r.service.Picture()
	if len(p.Shards) != 2 || len(p.Streams) != 1 || len(p.Streams[0].Latency) != len(p.Edges)+1 {
		t.Fatalf("the picture is %+v", p)
	}
	var sent uint64
	for _, n := range p.Streams[0].Latency {
		sent += n
	}
	if sent == 0 || p.Streams[0].Viewers != 1 || !p.Streams[0].Live {
		t.Errorf("the stream is pictured as %+v", p.Streams[0])
	}
	r.eventually(func() string {
		publisher.video().send(false, 1)
		for _, n := range r.service.Picture().Streams[0].Stamped {
			if n > 0 {
				return ""
			}
		}
		return "no packet of the stream has the kernel's transmit timestamp"
	})
}
