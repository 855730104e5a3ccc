// Package auth decides who may publish and who may watch: by bearer tokens
// (RFC 6750) that are settled in advance, and by JSON Web Tokens (RFC 7519).
// It is pure: Rules come from the attributes, a request's token and the time are
// arguments, and what is decided is a value. The caller reads files, and ends the
// sessions whose Grant does not hold any more.
//
// Files: auth.go (what is decided), jwt.go, jwks.go (keys from a file), attrs.go.
package auth

import (
	"crypto/sha256"
	"crypto/subtle"
	"fmt"
	"strings"
	"time"
)

// Direction is what someone does with a stream.
type Direction uint8

// The directions.
const (
	Publish Direction = iota
	Watch
)

func (d Direction) String() string { return [...]string{"publish", "watch"}[d] }

// Digest stands for a token or a key, and tells nobody which.
type Digest [sha256.Size]byte

func digest(secret string) Digest { return sha256.Sum256([]byte(secret)) }

// anyone is the entry of a list of tokens that needs no token.
const anyone = "*"

// Rules are what a decision goes by. They are not changed once made, and so are
// safe for concurrent use.
type Rules struct {
	Mode    string                 // ModeAuto, ModeOpen or ModeToken
	Tokens  [2][]Digest            // for all streams, by Direction
	Streams map[string][2][]Digest // for one
	Keys    []Key                  // of JSON Web Tokens
	Skew    time.Duration          // by which clocks may differ
	// Locked says that keys are wanted, though there may be none: a file of keys
	// that cannot be read must not open the door.
	Locked bool
}

// Grant is the right to do something with a stream, and by what it was given. The
// zero Grant was given by nothing.
type Grant struct {
	Stream    string
	Direction Direction
	by        Digest // the token or key, zero where all was open
}

// Open reports whether requests need no token at all.
func (r *Rules) Open() bool {
	return r.Mode == ModeOpen || r.Mode == ModeAuto && !r.configured()
}

// configured reports whether there is anything by which someone might get in.
func (r *Rules) configured() bool {
	return r.Locked || len(r.Keys)+len(r.Tokens[Publish])+len(r.Tokens[Watch])+len(r.Streams) > 0
}

// maxAuthorization bounds an Authorization field, in bytes.
const maxAuthorization = 8 << 10

// Decide says whether a request may do something with a stream. authorization
// holds the request's Authorization fields.
func (r *Rules) Decide(authorization []string, stream string, d Direction, now time.Time) (Grant, *Refusal) {
	grant := Grant{Stream: stream, Direction: d}
	if r.Open() {
		return grant, nil
	}
	if by := digest(anyone); r.admits(by, stream, d) {
		grant.by = by
		return grant, nil
	}
	token, refusal := bearer(authorization)
	if refusal != nil {
		return Grant{}, refusal
	}
	by, refusal := r.judge(token, stream, d, now)
	if refusal != nil {
		return Grant{}, refusal
	}
	grant.by = by
	return grant, nil
}

// Holds reports whether what a Grant was given by would still give it. A token's
// time is not asked again: it says when one may begin.
func (r *Rules) Holds(g Grant) bool {
	if r.Open() || r.admits(g.by, g.Stream, g.Direction) {
		return true
	}
	for i := range r.Keys {
		if r.Keys[i].digest == g.by {
			return true
		}
	}
	return false
}

// judge returns by what a token is good for something.
func (r *Rules) judge(token, stream string, d Direction, now time.Time) (Digest, *Refusal) {
	by := digest(token)
	switch {
	case r.admits(by, stream, d):
		return by, nil
	case r.knows(by):
		return Digest{}, forbidden("The token is not for the right to %v this stream.", d)
	case strings.Count(token, ".") == 2 && len(r.Keys) > 0:
		return r.verify(token, stream, d, now)
	}
	return Digest{}, invalid("It is none that this server knows; it may have been withdrawn.")
}

// admits reports whether a token is among those for something.
func (r *Rules) admits(by Digest, stream string, d Direction) bool {
	return holds(r.Tokens[d], by) || holds(r.Streams[stream][d], by)
}

// knows reports whether a token is good for anything.
func (r *Rules) knows(by Digest) bool {
	known := holds(r.Tokens[Publish], by) || holds(r.Tokens[Watch], by)
	for _, lists := range r.Streams {
		known = holds(lists[Publish], by) || holds(lists[Watch], by) || known
	}
	return known
}

// holds looks at the whole list in a time that says nothing of what is in it.
func holds(list []Digest, by Digest) bool {
	found := 0
	for i := range list {
		found |= subtle.ConstantTimeCompare(list[i][:], by[:])
	}
	return found == 1
}

// bearer returns the token of a request (RFC 6750 section 2.1).
func bearer(authorization []string) (string, *Refusal) {
	switch {
	case len(authorization) == 0:
		return "", &Refusal{Reason: NoToken, Detail: "This needs a token. Send it as Authorization: Bearer TOKEN."}
	case len(authorization) > 1:
		return "", &Refusal{Reason: InvalidRequest, Detail: "There is more than one Authorization field; send one."}
	case len(authorization[0]) > maxAuthorization:
		return "", invalid("It is longer than %d bytes.", maxAuthorization)
	}
	scheme, token, _ := strings.Cut(authorization[0], " ")
	token = strings.Trim(token, " ")
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", &Refusal{Reason: NoToken, Detail: "This needs a token of the scheme Bearer. Send it as Authorization: Bearer TOKEN."}
	case !isToken(token):
		return "", invalid("It is empty, or holds what no token does.")
	}
	return token, nil
}

// isToken reports whether text has the form of a token (RFC 6750 section 2.1,
// b64token).
func isToken(text string) bool {
	const body = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/"
	text = strings.TrimRight(text, "=")
	return text != "" && strings.Trim(text, body) == ""
}

// Reason is the kind of a Refusal.
type Reason uint8

// The reasons.
const (
	NoToken        Reason = iota
	InvalidRequest        // not a request as it should be
	InvalidToken
	Forbidden // a good token for something else
	reasons
)

// reasonNames are what refused_requests tells apart, by Reason.
var reasonNames = [reasons]string{"no_token", "invalid_request", "invalid_token", "insufficient_scope"}

// Refusal is why a request may not do what it wants.
type Refusal struct {
	Reason Reason
	Detail string // sentences, without quotes or what the token holds
}

func (r *Refusal) Error() string { return r.Detail }

// Status returns the status code of the answer (RFC 6750 section 3.1).
func (r *Refusal) Status() int {
	return [reasons]int{NoToken: 401, InvalidRequest: 400, InvalidToken: 401, Forbidden: 403}[r.Reason]
}

// Challenge returns the WWW-Authenticate field of the answer (RFC 6750 section 3).
// Who sent no token is told of no error.
func (r *Refusal) Challenge() string {
	const realm = `Bearer realm="sluice"`
	if r.Reason == NoToken {
		return realm
	}
	return fmt.Sprintf(`%s, error="%s", error_description="%s"`, realm, reasonNames[r.Reason], r.Detail)
}

func invalid(why string, args ...any) *Refusal {
	return &Refusal{InvalidToken, "The token is not valid. " + fmt.Sprintf(why, args...)}
}

func forbidden(why string, args ...any) *Refusal {
	return &Refusal{Forbidden, fmt.Sprintf(why, args...)}
}
