package auth_test

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"sluice/controlplane/auth"
	"sluice/netopt/attr"
)

// streams is the class that the attributes of streams are of.
var streams attr.Table

var (
	limit = streams.Int(attr.Decl{Path: "limits/fixed_streams", Unit: "streams", Max: 9, Default: "9", Since: "0.1", Doc: "Limit."})
	full  = streams.Counter(attr.Decl{Path: "refused_fixed_streams", Unit: "streams", Since: "0.1", Doc: "Refused."})
	_     = streams.Class(attr.Decl{Path: "streams/<name>", Since: "0.1", Doc: "Streams."}, limit, full)
)

var (
	now     = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	secret  = strings.Repeat("s3cret-", 5)
	private = ed25519.NewKeyFromSeed([]byte(strings.Repeat("a", ed25519.SeedSize)))
	other   = ed25519.NewKeyFromSeed([]byte(strings.Repeat("b", ed25519.SeedSize)))
)

// rules returns the rules of some attributes, "PATH=VALUE", and keys.
func rules(t testing.TB, keys []auth.Key, sets ...string) *auth.Rules {
	t.Helper()
	tree := attr.NewTree(&streams, &auth.Attrs)
	for _, name := range []string{"one", "two"} {
		if err := tree.Mkdir("streams/" + name); err != nil {
			t.Fatal(err)
		}
	}
	for _, set := range sets {
		path, value, _ := strings.Cut(set, "=")
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	return auth.FromTree(tree, tree.Objects("streams"), keys)
}

// jwks returns the keys of a set with the public keys of private ("a") and other
// ("b"), and a secret ("c").
func jwks(t testing.TB) []auth.Key {
	t.Helper()
	b64 := base64.RawURLEncoding.EncodeToString
	public := func(k ed25519.PrivateKey) string { return b64(k.Public().(ed25519.PublicKey)) }
	keys, err := auth.ParseKeys(fmt.Appendf(nil, `{"keys":[
		{"kty":"OKP","crv":"Ed25519","kid":"a","x":%q},
		{"kty":"OKP","crv":"Ed25519","kid":"b","use":"sig","alg":"EdDSA","x":%q},
		{"kty":"oct","kid":"c","alg":"HS256","k":%q},
		{"kty":"RSA","kid":"d","n":"AQAB","e":"AQAB"},
		{"kty":"OKP","crv":"X25519","kid":"e","x":"AA"},
		{"kty":"OKP","crv":"Ed25519","kid":"f","use":"enc","x":"AA"}]}`, public(private), public(other), b64([]byte(secret))))
	if err != nil || len(keys) != 3 {
		t.Fatalf("%d keys, %v", len(keys), err)
	}
	return keys
}

// sign returns a token with header fields besides alg and claims.
func sign(t testing.TB, method jwt.SigningMethod, key any, head, claims map[string]any) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for name, value := range head {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// right are the claims of a token that is good for publishing stream one.
func right(more ...any) map[string]any {
	claims := map[string]any{"stream": "one", "direction": "publish", "exp": now.Add(time.Minute).Unix()}
	for i := 0; i < len(more); i += 2 {
		if claims[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(claims, more[i].(string))
		}
	}
	return claims
}

// decide checks what is decided: 0 is a grant, otherwise the status.
func decide(t testing.TB, what string, r *auth.Rules, header []string, stream string, d auth.Direction, want int) {
	t.Helper()
	grant, refusal := r.Decide(header, stream, d, now)
	switch {
	case refusal == nil && want != 0:
		t.Errorf("%s: let in, want %d", what, want)
	case refusal == nil && (grant.Stream != stream || grant.Direction != d || !r.Holds(grant)):
		t.Errorf("%s: the grant is %+v", what, grant)
	case refusal != nil && refusal.Status() != want:
		t.Errorf("%s: %d %s, want %d", what, refusal.Status(), refusal.Detail, want)
	}
}

func bearer(token string) []string { return []string{"Bearer " + token} }

func TestModes(t *testing.T) {
	keys := jwks(t)
	for _, c := range []struct {
		what      string
		keys      []auth.Key
		sets      []string
		stream    string
		direction auth.Direction
		want      int // without a token
	}{
		{"nothing is set", nil, nil, "one", auth.Publish, 0},
		{"a token is wanted, there is none", nil, []string{"auth/mode=token"}, "one", auth.Watch, 401},
		{"open, whatever there is", keys, []string{"auth/mode=open", "auth/publish_tokens=x"}, "one", auth.Publish, 0},
		{"a token to publish closes watching", nil, []string{"auth/publish_tokens=x"}, "one", auth.Watch, 401},
		{"watching is for everyone", nil, []string{"auth/publish_tokens=x", "auth/watch_tokens=*"}, "one", auth.Watch, 0},
		{"but publishing is not", nil, []string{"auth/publish_tokens=x", "auth/watch_tokens=*"}, "one", auth.Publish, 401},
		{"a token of one stream closes others", nil, []string{"streams/one/watch_tokens=x"}, "two", auth.Watch, 401},
		{"one stream is for everyone", nil, []string{"auth/mode=token", "streams/one/watch_tokens=*"}, "one", auth.Watch, 0},
		{"the other is not", nil, []string{"auth/mode=token", "streams/one/watch_tokens=*"}, "two", auth.Watch, 401},
		{"a secret closes", nil, []string{"auth/jwt_secret=" + secret}, "one", auth.Watch, 401},
		{"keys close", keys, nil, "one", auth.Watch, 401},
		{"a file without keys closes", nil, []string{"auth/jwks_file=/nowhere"}, "one", auth.Watch, 401},
	} {
		decide(t, c.what, rules(t, c.keys, c.sets...), nil, c.stream, c.direction, c.want)
	}
}

func TestTokens(t *testing.T) {
	r := rules(t, nil, "auth/publish_tokens=all-1 all-2", "streams/one/publish_tokens=one-p", "streams/one/watch_tokens=one-w", "streams/two/watch_tokens=two-w")
	for _, c := range []struct {
		header    []string
		stream    string
		direction auth.Direction
		want      int
	}{
		{bearer("all-1"), "one", auth.Publish, 0},
		{bearer("all-2"), "whatever", auth.Publish, 0},
		{[]string{"bEaReR   all-2 "}, "whatever", auth.Publish, 0},
		{bearer("all-1"), "one", auth.Watch, 403},
		{bearer("one-p"), "one", auth.Publish, 0},
		{bearer("one-p"), "two", auth.Publish, 403},
		{bearer("one-w"), "one", auth.Watch, 0},
		{bearer("two-w"), "one", auth.Watch, 403},
		{bearer("all-3"), "one", auth.Publish, 401},
		{bearer("all-"), "one", auth.Publish, 401},
		{bearer("all-11"), "one", auth.Publish, 401},
		{bearer("*"), "one", auth.Publish, 401},
		{bearer(""), "one", auth.Publish, 401},
		{bearer("all-1 all-1"), "one", auth.Publish, 401},
		{bearer("all-1\x00"), "one", auth.Publish, 401},
		{[]string{""}, "one", auth.Publish, 401},
		{[]string{"all-1"}, "one", auth.Publish, 401},
		{[]string{"Basic YWxsLTE6"}, "one", auth.Publish, 401},
		{[]string{"Bearer all-1", "Bearer all-1"}, "one", auth.Publish, 400},
		{bearer(strings.Repeat("a", 9<<10)), "one", auth.Publish, 401},
		{bearer("a.b.c"), "one", auth.Publish, 401}, // without keys
	} {
		decide(t, fmt.Sprintf("%.40q %s %v", c.header, c.stream, c.direction), r, c.header, c.stream, c.direction, c.want)
	}
}

func TestJWT(t *testing.T) {
	r := rules(t, jwks(t), "auth/clock_skew_ms=30000")
	at := func(d time.Duration) int64 { return now.Add(d).Unix() }
	kid := func(id any) map[string]any { return map[string]any{"kid": id} }
	good := sign(t, jwt.SigningMethodEdDSA, private, kid("a"), right())
	parts := strings.Split(good, ".")
	public := private.Public().(ed25519.PublicKey)
	for _, c := range []struct {
		what  string
		token string
		want  int
	}{
		{"EdDSA", good, 0},
		{"EdDSA, no kid: each key is tried", sign(t, jwt.SigningMethodEdDSA, other, nil, right()), 0},
		{"HS256", sign(t, jwt.SigningMethodHS256, []byte(secret), kid("c"), right()), 0},
		{"all streams", sign(t, jwt.SigningMethodEdDSA, private, nil, right("stream", "*")), 0},
		{"the kid of another key", sign(t, jwt.SigningMethodEdDSA, private, kid("b"), right()), 401},
		{"a kid of none", sign(t, jwt.SigningMethodEdDSA, private, kid("../../etc/passwd"), right()), 401},
		{"another stream", sign(t, jwt.SigningMethodEdDSA, private, nil, right("stream", "two")), 403},
		{"a stream's beginning", sign(t, jwt.SigningMethodEdDSA, private, nil, right("stream", "on")), 403},
		{"a pattern", sign(t, jwt.SigningMethodEdDSA, private, nil, right("stream", "o*")), 403},
		{"no stream", sign(t, jwt.SigningMethodEdDSA, private, nil, right("stream", nil)), 403},
		{"a stream that is no text", sign(t, jwt.SigningMethodEdDSA, private, nil, right("stream", []string{"one"})), 401},
		{"another direction", sign(t, jwt.SigningMethodEdDSA, private, nil, right("direction", "watch")), 403},
		{"any direction", sign(t, jwt.SigningMethodEdDSA, private, nil, right("direction", "*")), 403},
		{"no direction", sign(t, jwt.SigningMethodEdDSA, private, nil, right("direction", nil)), 403},
		{"no exp", sign(t, jwt.SigningMethodEdDSA, private, nil, right("exp", nil)), 401},
		{"exp is 0", sign(t, jwt.SigningMethodEdDSA, private, nil, right("exp", 0)), 401},
		{"exp is text", sign(t, jwt.SigningMethodEdDSA, private, nil, right("exp", "tomorrow")), 401},
		{"expired within the skew", sign(t, jwt.SigningMethodEdDSA, private, nil, right("exp", at(-29*time.Second))), 0},
		{"expired", sign(t, jwt.SigningMethodEdDSA, private, nil, right("exp", at(-31*time.Second))), 401},
		{"expired, HS256 by the last key", sign(t, jwt.SigningMethodHS256, []byte(secret), nil, right("exp", at(-time.Hour))), 401},
		{"not yet, within the skew", sign(t, jwt.SigningMethodEdDSA, private, nil, right("nbf", at(29*time.Second))), 0},
		{"not yet", sign(t, jwt.SigningMethodEdDSA, private, nil, right("nbf", at(31*time.Second))), 401},
		{"alg none", sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, right()), 401},
		{"HS256 with a public key for its secret", sign(t, jwt.SigningMethodHS256, []byte(public), kid("a"), right()), 401},
		{"HS256 with that, without kid", sign(t, jwt.SigningMethodHS256, []byte(public), nil, right()), 401},
		{"HS512 with the secret", sign(t, jwt.SigningMethodHS512, []byte(secret), kid("c"), right()), 401},
		{"crit", sign(t, jwt.SigningMethodEdDSA, private, map[string]any{"crit": []string{"x"}}, right()), 401},
		{"no signature", parts[0] + "." + parts[1] + ".", 401},
		{"other claims under the signature", parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"stream":"*","direction":"publish","exp":9999999999}`)) + "." + parts[2], 401},
		{"nothing", "..", 401},
		{"no JSON", "AAAA.AAAA.AAAA", 401},
	} {
		decide(t, c.what, r, bearer(c.token), "one", auth.Publish, c.want)
	}
	decide(t, "the secret of the attribute has no kid", rules(t, nil, "auth/jwt_secret="+secret),
		bearer(sign(t, jwt.SigningMethodHS256, []byte(secret), kid("c"), right())), "one", auth.Publish, 0)
}

// What is withdrawn holds no more, and nothing else does not.
func TestHolds(t *testing.T) {
	token := bearer(sign(t, jwt.SigningMethodEdDSA, private, nil, right()))
	before := rules(t, jwks(t), "auth/publish_tokens=x y", "streams/one/watch_tokens=z")
	byX, _ := before.Decide(bearer("x"), "one", auth.Publish, now)
	byZ, _ := before.Decide(bearer("z"), "one", auth.Watch, now)
	byKey, refusal := before.Decide(token, "one", auth.Publish, now)
	if refusal != nil {
		t.Fatal(refusal)
	}
	byNothing, _ := rules(t, nil).Decide(nil, "one", auth.Publish, now)
	for _, c := range []struct {
		what  string
		grant auth.Grant
		rules *auth.Rules
		want  bool
	}{
		{"the token stays", byX, rules(t, nil, "auth/publish_tokens=x"), true},
		{"the token goes", byX, rules(t, jwks(t), "auth/publish_tokens=y"), false},
		{"it moves to another direction", byX, rules(t, nil, "auth/watch_tokens=x"), false},
		{"it moves to the stream", byX, rules(t, nil, "streams/one/publish_tokens=x"), true},
		{"it moves to another stream", byX, rules(t, nil, "streams/two/publish_tokens=x"), false},
		{"a stream's token goes with the stream", byZ, rules(t, nil, "auth/publish_tokens=x"), false},
		{"the last token goes where one is wanted", byX, rules(t, nil, "auth/mode=token"), false},
		{"everything is open now", byX, rules(t, nil), true},
		{"the key stays", byKey, rules(t, jwks(t)[:1]), true},
		{"the key goes", byKey, rules(t, jwks(t)[1:]), false},
		{"what was open closes", byNothing, rules(t, nil, "auth/publish_tokens=x"), false},
		{"or is for those who have a key", byNothing, rules(t, jwks(t)), false},
	} {
		if got := c.rules.Holds(c.grant); got != c.want {
			t.Errorf("%s: %v, want %v", c.what, got, c.want)
		}
	}
}

// RFC 6750 section 3: the scheme has parameters; who sent no token is told of no
// error; the values stay within their quotes.
func TestChallenge(t *testing.T) {
	r := rules(t, nil, "auth/mode=token", "auth/watch_tokens=x")
	for _, c := range []struct {
		header []string
		want   string
	}{
		{nil, `Bearer realm="sluice"`},
		{[]string{"Basic eA=="}, `Bearer realm="sluice"`},
		{bearer("no"), `Bearer realm="sluice", error="invalid_token", error_description="`},
		{bearer(`"`), `Bearer realm="sluice", error="invalid_token", error_description="`},
		{bearer("x"), `Bearer realm="sluice", error="insufficient_scope", error_description="`},
		{[]string{"Bearer x", "Bearer x"}, `Bearer realm="sluice", error="invalid_request", error_description="`},
	} {
		_, refusal := r.Decide(c.header, "one", auth.Publish, now)
		if refusal == nil {
			t.Fatalf("%q is let in", c.header)
		}
		got := refusal.Challenge()
		if !strings.HasPrefix(got, c.want) || strings.Count(got, `"`)%2 != 0 || strings.ContainsAny(refusal.Detail, `"\`) {
			t.Errorf("%q: %s", c.header, got)
		}
	}
}

func TestBadKeySets(t *testing.T) {
	many, _ := json.Marshal(map[string]any{"keys": make([]struct{}, 33)})
	for _, text := range []string{
		"", "[]", "{}", `{"keys":1}`, string(many),
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}`,
		`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"?"}]}`,
		`{"keys":[{"kty":"oct","k":"c2hvcnQ"}]}`,
	} {
		if _, err := auth.ParseKeys([]byte(text)); err == nil {
			t.Errorf("%.60s is taken", text)
		}
	}
}

func TestBadValues(t *testing.T) {
	tree := attr.NewTree(&streams, &auth.Attrs)
	for _, set := range []string{"auth/jwt_secret=short", "auth/publish_tokens=a,b", "auth/watch_tokens=**", "auth/watch_tokens==", "auth/jwks_file=keys.json", "auth/mode=closed"} {
		path, value, _ := strings.Cut(set, "=")
		if tree.Set(path, value) == nil {
			t.Errorf("%s is taken", set)
		}
	}
}

// Hostile fields and tokens never panic, and never get in: the rules know one key,
// and no seed is signed by it.
func FuzzDecide(f *testing.F) {
	r := rules(f, jwks(f)[:1], "auth/publish_tokens=x7Gh2kQ9")
	f.Add("Bearer " + sign(f, jwt.SigningMethodEdDSA, other, map[string]any{"kid": "a"}, right()))
	f.Add("Bearer " + sign(f, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, right()))
	f.Add("Bearer " + sign(f, jwt.SigningMethodHS256, []byte(secret), nil, right("exp", 1e300)))
	f.Add("Bearer eyJhbGciOiJFZERTQSJ9..")
	f.Add("Basic eDp4")
	f.Add("Bearer \x00=")
	f.Fuzz(func(t *testing.T, field string) {
		if _, refusal := r.Decide([]string{field}, "one", auth.Publish, now); refusal == nil {
			t.Fatalf("%q is let in", field)
		} else if challenge := refusal.Challenge(); strings.ContainsFunc(challenge, func(c rune) bool { return c < ' ' || c > '~' }) {
			t.Fatalf("%q is answered %q", field, challenge)
		}
	})
}

// Whatever is in a file of keys, reading it never panics.
func FuzzParseKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},{"kty":"oct","k":"c2hvcnQ"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		if keys, err := auth.ParseKeys(text); err == nil && len(keys) > 32 {
			t.Fatalf("%d keys", len(keys))
		}
	})
}
