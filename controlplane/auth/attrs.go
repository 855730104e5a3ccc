package auth

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"sluice/netopt/attr"
)

// Attrs declares who may publish and watch.
var Attrs attr.Table

// What auth/mode can be.
const (
	ModeAuto  = "auto"
	ModeOpen  = "open"
	ModeToken = "token"
)

// minSecret is the length of the shortest secret of HS256, in bytes: as long as
// the hash (RFC 7518 section 3.2).
const minSecret = 32

const maxTokens = 64

var (
	modeAttr = Attrs.Enum(attr.Decl{
		Path: "auth/mode", Mode: attr.RW, Values: []string{ModeAuto, ModeOpen, ModeToken}, Since: "0.1",
		Doc: `Whether who publishes or watches needs a token. auto: not while there is no token and no key at all, everyone does as
			soon as there is one. open: nobody needs one. token: everyone needs one, even while there is none to have; so that
			taking the last one away opens nothing. A session ends when what admitted it does so no more.`,
	})
	tokenAttrs = [2]attr.Attr[[]string]{
		Publish: Attrs.List(attr.Decl{
			Path: "auth/publish_tokens", Mode: attr.WO, Max: maxTokens, Check: checkToken, Since: "0.1",
			Doc: `Bearer tokens with which one may publish any stream, sent as "Authorization: Bearer TOKEN". * lets everyone publish.
				Taking one away ends the sessions that it admitted.`,
		}),
		Watch: Attrs.List(attr.Decl{
			Path: "auth/watch_tokens", Mode: attr.WO, Max: maxTokens, Check: checkToken, Since: "0.1",
			Doc: `Bearer tokens with which one may watch any stream. * lets everyone watch, as one wants where only publishing
				needs a token. Taking one away ends the sessions that it admitted.`,
		}),
	}
	streamTokenAttrs = [2]attr.Attr[[]string]{
		Publish: Attrs.List(attr.Decl{
			Path: "streams/<name>/publish_tokens", Mode: attr.WO, Max: maxTokens, Check: checkToken, Since: "0.1",
			Doc: "Bearer tokens with which one may publish this stream, beside those of auth/publish_tokens. * lets everyone.",
		}),
		Watch: Attrs.List(attr.Decl{
			Path: "streams/<name>/watch_tokens", Mode: attr.WO, Max: maxTokens, Check: checkToken, Since: "0.1",
			Doc: "Bearer tokens with which one may watch this stream, beside those of auth/watch_tokens. * lets everyone.",
		}),
	}
	secretAttr = Attrs.Text(attr.Decl{
		Path: "auth/jwt_secret", Mode: attr.WO, Max: 512, Check: checkSecret, Since: "0.1",
		Doc: `Secret of JSON Web Tokens signed with HS256, at least 32 bytes; empty for none. Such a token says by its claim stream
			which stream it is for (* for all), by direction whether to publish or to watch, and by exp until when a
			session may begin; nbf is obeyed. Another secret ends the sessions that this one admitted.`,
	})
	keyFileAttr = Attrs.Text(attr.Decl{
		Path: "auth/jwks_file", Mode: attr.RW, Max: 4095, Check: checkPath, Since: "0.1",
		Doc: `File with the keys of JSON Web Tokens, a JSON Web Key Set (RFC 7517) of Ed25519 keys (EdDSA) and secrets (HS256);
			empty for none. It is read again when it changes, and taking a key out ends the sessions that it admitted. While
			the file cannot be used, the last good keys stay.`,
	})
	skewAttr = Attrs.Int(attr.Decl{
		Path: "auth/clock_skew_ms", Unit: "ms", Mode: attr.RW, Min: 0, Max: 600000, Default: "30000", Since: "0.1",
		Doc: "By how much the clock of who signs JSON Web Tokens may be off: that long they are good before nbf and after exp.",
	})
)

var (
	refusedCounter = Attrs.CounterVec(attr.Decl{
		Path: "auth/refused_requests", Unit: "requests", Since: "0.1",
		Label: "reason", Values: reasonNames[:],
		Doc: "Requests to publish or to watch that were refused for want of a good token.",
	})
	revokedCounter = Attrs.Counter(attr.Decl{
		Path: "auth/revoked_sessions", Unit: "sessions", Since: "0.1",
		Doc: "Sessions that were ended because what admitted them was withdrawn.",
	})
)

// Counts are how often what happened.
type Counts struct {
	Refused [reasons]uint64 // by Reason
	Revoked uint64          // sessions
}

// Collect fills the metrics.
func (c *Counts) Collect(s *attr.Sample) {
	for i, n := range c.Refused {
		refusedCounter.Add(s, i, n)
	}
	revokedCounter.Add(s, c.Revoked)
}

// KeyFile returns the path of the file of keys, "" for none.
func KeyFile(tree *attr.Tree) string { return keyFileAttr.Get(tree) }

// FromTree returns the rules that the attributes make, with the keys of the file
// beside them. streams are the names of the streams that have attributes.
func FromTree(tree *attr.Tree, streams []string, keys []Key) *Rules {
	r := &Rules{
		Mode: modeAttr.Get(tree), Streams: map[string][2][]Digest{}, Keys: keys[:len(keys):len(keys)],
		Skew: time.Duration(skewAttr.Get(tree)) * time.Millisecond, Locked: KeyFile(tree) != "",
	}
	if secret := secretAttr.Get(tree); secret != "" {
		r.Keys = append(r.Keys, newSecret("", secret))
	}
	for d := range tokenAttrs {
		r.Tokens[d] = digests(tokenAttrs[d].Get(tree))
	}
	for _, name := range streams {
		lists := [2][]Digest{digests(streamTokenAttrs[Publish].Of(tree, name)), digests(streamTokenAttrs[Watch].Of(tree, name))}
		if len(lists[Publish])+len(lists[Watch]) > 0 {
			r.Streams[name] = lists
		}
	}
	return r
}

func digests(tokens []string) []Digest {
	var all []Digest
	for _, token := range tokens {
		all = append(all, digest(token))
	}
	return all
}

// Follow calls f after each change of what FromTree reads, but for objects that
// come and go, in the goroutine of whoever makes it.
func Follow(tree *attr.Tree, f func()) (stop func()) {
	stops := []func(){tree.Watch("auth", func(string, string) { f() })}
	for _, a := range streamTokenAttrs {
		stops = append(stops, a.WatchEach(tree, func(string, []string) { f() }))
	}
	return func() {
		for _, stop := range stops {
			stop()
		}
	}
}

func checkToken(entry string) error {
	if entry != anyone && (!isToken(entry) || len(entry) > 512) {
		return errors.New("is neither * nor a token: at most 512 letters, digits, and -._~+/, and = at its end (RFC 6750 section 2.1)")
	}
	return nil
}

func checkSecret(secret string) error {
	if secret != "" && len(secret) < minSecret {
		return fmt.Errorf("has fewer than %d bytes, the least that HS256 takes", minSecret)
	}
	return nil
}

func checkPath(path string) error {
	if path != "" && !filepath.IsAbs(path) {
		return errors.New("is not an absolute path")
	}
	return nil
}
