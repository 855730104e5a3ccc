package controlplane_test

import (
	"encoding/base64"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/dataplane/wire"
)

// tap is a socket that counts the media that reaches it.
type tap struct {
	net.PacketConn
	mu    sync.Mutex
	media int // datagrams of RTP and RTCP
}

func newTap(t *testing.T) *tap {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	must(t, err)
	return &tap{PacketConn: conn}
}

// ReadFrom implements net.PacketConn.
func (c *tap) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.PacketConn.ReadFrom(b)
	if p := wire.Classify(b[:n]); err == nil && (p == wire.ProtoRTP || p == wire.ProtoRTCP) {
		c.mu.Lock()
		c.media++
		c.mu.Unlock()
	}
	return n, from, err
}

func (c *tap) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.media
}

// sign returns a JSON Web Token for stream live.
func (r *rig) sign(secret, direction string) string {
	r.Helper()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
		"stream": "live", "direction": direction, "exp": time.Now().Add(time.Minute).Unix(),
	}).SignedString([]byte(secret))
	must(r.T, err)
	return token
}

// What is withdrawn ends the sessions that it admitted, and no others: from then
// on not one packet of media reaches the socket of who had it.
func TestRevoked(t *testing.T) {
	const first, second = "a secret of more than 32 bytes, one", "a secret of more than 32 bytes, two"
	keys := filepath.Join(t.TempDir(), "keys.json")
	write := func(t *testing.T, secrets ...string) {
		var set []string
		for _, s := range secrets {
			set = append(set, fmt.Sprintf(`{"kty":"oct","k":%q}`, base64.RawURLEncoding.EncodeToString([]byte(s))))
		}
		// Renamed into place, as whoever changes keys under a running server does.
		must(t, os.WriteFile(keys+".new", fmt.Appendf(nil, `{"keys":[%s]}`, strings.Join(set, ",")), 0o600))
		must(t, os.Rename(keys+".new", keys))
	}
	bySecret := func(secret string) func(*rig) string {
		return func(r *rig) string { return r.sign(secret, "watch") }
	}
	fixed := func(token string) func(*rig) string { return func(*rig) string { return token } }
	for _, c := range []struct {
		what        string
		token       func(*rig) string
		allow, deny func(*rig)
	}{
		{"a token of all streams", fixed("guest"),
			func(r *rig) { r.set("auth/watch_tokens", "member guest") },
			func(r *rig) { r.set("auth/watch_tokens", "member") }},
		{"a token of the stream", fixed("guest"),
			func(r *rig) { must(r.T, r.tree.Mkdir("streams/live")); r.set("streams/live/watch_tokens", "guest") },
			func(r *rig) { r.set("streams/live/watch_tokens", "") }},
		{"the directory of the stream", fixed("guest"),
			func(r *rig) { must(r.T, r.tree.Mkdir("streams/live")); r.set("streams/live/watch_tokens", "guest") },
			func(r *rig) { must(r.T, r.tree.Rmdir("streams/live")) }},
		{"a secret", bySecret(first),
			func(r *rig) { r.set("auth/jwt_secret", first) },
			func(r *rig) { r.set("auth/jwt_secret", second) }},
		{"a key of a file", bySecret(first),
			func(r *rig) { write(r.T, first, second); r.set("auth/jwks_file", keys) },
			func(r *rig) { write(r.T, second) }},
		{"a file of keys", bySecret(first),
			func(r *rig) { write(r.T, first, second); r.set("auth/jwks_file", keys) },
			func(r *rig) { r.set("auth/jwks_file", "") }},
		{"being open", fixed(""),
			func(r *rig) { r.set("auth/mode", "open") },
			func(r *rig) { r.set("auth/mode", "token") }},
	} {
		t.Run(c.what, func(t *testing.T) {
			r := start(t, "auth/publish_tokens=publisher", "auth/watch_tokens=member")
			r.token = "publisher"
			publisher := r.publish("live", settings{}, vp8)
			r.token = "member"
			member := r.watch("live", settings{}, vp8)
			c.allow(r)
			socket := newTap(t)
			r.token = c.token(r)
			guest := r.watch("live", settings{socket: socket}, vp8)
			publisher.video().run(5, member, guest)
			publisher.video().run(1, member, guest) // all of the first run has come
			if socket.count() == 0 {
				t.Fatal("the socket saw no media")
			}

			c.deny(r)
			r.ended(guest.session, "withdrawn")
			r.wait(guest.closed, "close_notify to the guest")
			seen := socket.count()
			for range 3 {
				publisher.video().run(20, member)
			}
			if more := socket.count() - seen; more != 0 {
				t.Errorf("%d datagrams of media after the end", more)
			}
			r.reaches("auth/revoked_sessions", 1)
			if _, refused := r.tryWatch("live", settings{}, vp8); refused == nil || refused.status != 401 && refused.status != 403 {
				t.Errorf("the guest comes back: %+v", refused)
			}
			for _, p := range []*peer{publisher.peer, member.peer} {
				if status, detail := r.ask("GET", p.session); status != 204 {
					t.Errorf("another session: %d %s", status, detail)
				}
			}
		})
	}
}

// A publisher whose token is withdrawn publishes no more, and the stream is free
// for one who has another.
func TestPublisherRevoked(t *testing.T) {
	r := start(t, "auth/publish_tokens=old new", "auth/watch_tokens=*")
	r.token = "old"
	old := r.publish("live", settings{}, vp8)
	socket := newTap(t)
	viewer := r.watch("live", settings{socket: socket}, vp8)
	old.video().run(2, viewer)
	r.set("auth/publish_tokens", "new")
	r.ended(old.session, "withdrawn")
	r.wait(old.closed, "close_notify to the publisher")
	r.token = "new"
	publisher := r.publish("live", settings{}, vp8)
	publisher.video().run(2, viewer)
	if _, refused := r.tryPublish("other", settings{}, vp8); refused != nil {
		t.Errorf("%+v", refused)
	}
}

// A file of keys that becomes unusable ends nobody, and lets in by its last keys;
// one that never was usable opens nothing.
func TestBadKeyFile(t *testing.T) {
	const secret = "a secret of more than 32 bytes, one"
	path := filepath.Join(t.TempDir(), "keys.json")
	offer := recorded(t, "chromium-whip-vp8")
	r := start(t, "auth/jwks_file="+path)
	if _, _, refused := r.post("/whip/live", offer); refused == nil || refused.status != 401 {
		t.Fatalf("without a file: %+v", refused)
	}
	must(t, os.WriteFile(path, fmt.Appendf(nil, `{"keys":[{"kty":"oct","k":%q}]}`, base64.RawURLEncoding.EncodeToString([]byte(secret))), 0o600))
	r.token = r.sign(secret, "publish")
	var session string
	r.eventually(func() string { // the file is looked at once a second
		var refused *refusal
		if _, session, refused = r.post("/whip/live", offer); refused != nil {
			return refused.Detail
		}
		return ""
	})
	must(t, os.WriteFile(path, []byte(`{"keys":`), 0o600))
	r.set("auth/clock_skew_ms", "0") // which makes the rules anew, with a look at the file
	if status, detail := r.ask("GET", session); status != 204 {
		t.Errorf("the session: %d %s", status, detail)
	}
	r.ask("DELETE", session)
	if _, _, refused := r.post("/whip/live", offer); refused != nil {
		t.Errorf("another: %+v", refused)
	}
}
