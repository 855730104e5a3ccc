package auth

import (
	"crypto/ed25519"
	"errors"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Key verifies JSON Web Tokens, by one algorithm only: what a token says of its
// algorithm chooses among keys, never what is done with one (RFC 8725 section 3.1).
type Key struct {
	id     string // "" for a key that has none, which is tried for every token
	method jwt.SigningMethod
	secret any // as method wants it
	digest Digest
}

// newSecret returns a key of HS256 (RFC 7518 section 3.2).
func newSecret(id, secret string) Key {
	return Key{id, jwt.SigningMethodHS256, []byte(secret), digest("HS256 " + secret)}
}

// newEd25519 returns a key of EdDSA (RFC 8037 section 3.1).
func newEd25519(id string, public ed25519.PublicKey) Key {
	return Key{id, jwt.SigningMethodEdDSA, public, digest("EdDSA " + string(public))}
}

// claims are what is read of a token (RFC 7519 section 4). exp must be there.
type claims struct {
	jwt.RegisteredClaims
	Stream    string `json:"stream"`    // a stream's name, or * for all
	Direction string `json:"direction"` // of a Direction
}

// verify returns the key that signed a token which is good for something.
func (r *Rules) verify(token, stream string, d Direction, now time.Time) (Digest, *Refusal) {
	parser := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg(), jwt.SigningMethodEdDSA.Alg()}),
		jwt.WithStrictDecoding(), jwt.WithExpirationRequired(),
		jwt.WithLeeway(r.Skew), jwt.WithTimeFunc(func() time.Time { return now }),
	)
	err := errors.New("no key")
	for i := range r.Keys {
		key := &r.Keys[i]
		var c claims
		_, failed := parser.ParseWithClaims(token, &c, key.choose)
		switch {
		case failed == nil && (c.Stream != stream && c.Stream != anyone || c.Direction != d.String()):
			return Digest{}, forbidden("The token is good, but not for the right to %v this stream: its claims stream and direction say for what.", d)
		case failed == nil:
			return key.digest, nil
		case errors.Is(failed, jwt.ErrTokenInvalidClaims): // signed by this key, which is asked first
			return Digest{}, invalid("%s", fault(failed))
		case !errors.Is(failed, errOther):
			err = failed
		}
	}
	return Digest{}, invalid("%s", fault(err))
}

// errOther says that a token was not signed by a key, by its own word.
var errOther = errors.New("another key")

// choose returns the secret for a token that may have been signed by this key.
func (k *Key) choose(token *jwt.Token) (any, error) {
	id, _ := token.Header["kid"].(string)
	_, critical := token.Header["crit"]
	switch {
	case critical:
		return nil, errCritical
	case token.Method.Alg() != k.method.Alg(), k.id != "" && id != "" && k.id != id:
		return nil, errOther
	}
	return k.secret, nil
}

// errCritical says that a token wants to be understood in a way that we do not
// know (RFC 7515 section 4.1.11).
var errCritical = errors.New("critical extension")

// fault says what is wrong with a token, and nothing of what it holds.
func fault(err error) string {
	switch {
	case errors.Is(err, jwt.ErrTokenExpired):
		return "It has expired."
	case errors.Is(err, jwt.ErrTokenNotValidYet):
		return "Its time has not come yet."
	case errors.Is(err, jwt.ErrTokenRequiredClaimMissing):
		return "It does not say when it expires, by the claim exp."
	case errors.Is(err, errCritical):
		return "It needs an extension, by crit, which this server does not have."
	case errors.Is(err, jwt.ErrTokenInvalidClaims):
		return "Its claims cannot be used."
	case errors.Is(err, jwt.ErrTokenMalformed):
		return "It is not a JSON Web Token."
	}
	return "No key of this server signed it: HS256 and EdDSA are known."
}
