package auth

import (
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxKeyFile bounds a file of keys, in bytes.
const MaxKeyFile = 64 << 10

// maxKeys bounds how many keys a file holds: each may be tried for each token.
const maxKeys = 32

// jwk is a JSON Web Key (RFC 7517 section 4, RFC 8037 section 2).
type jwk struct {
	Type  string `json:"kty"`
	ID    string `json:"kid"`
	Use   string `json:"use"`
	Alg   string `json:"alg"`
	Curve string `json:"crv"`
	X     string `json:"x"` // of a public key
	K     string `json:"k"` // a secret
}

// ParseKeys reads a JSON Web Key Set (RFC 7517 section 5). Keys for what is not
// known here are left out, as that section says; one that cannot be right is an
// error, and so are more than 32.
func ParseKeys(text []byte) ([]Key, error) {
	var set struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(text, &set); err != nil {
		return nil, errors.New("is no JSON Web Key Set") // the error might hold a part of the text
	}
	if set.Keys == nil || len(set.Keys) > maxKeys {
		return nil, fmt.Errorf("is no JSON Web Key Set of at most %d keys", maxKeys)
	}
	var keys []Key
	for i, k := range set.Keys {
		key, err := k.parse()
		if err != nil {
			return nil, fmt.Errorf("key %d %w", i, err)
		}
		if key != nil {
			keys = append(keys, *key)
		}
	}
	return keys, nil
}

// parse returns the key, nil for one that is not for us.
func (k *jwk) parse() (*Key, error) {
	switch {
	case k.Use != "" && k.Use != "sig":
		return nil, nil
	case k.Type == "OKP" && k.Curve == "Ed25519" && (k.Alg == "" || k.Alg == "EdDSA" || k.Alg == "Ed25519"):
		public, err := base64.RawURLEncoding.DecodeString(k.X)
		if err != nil || len(public) != ed25519.PublicKeySize {
			return nil, fmt.Errorf("has no x of %d bytes in base64url", ed25519.PublicKeySize)
		}
		key := newEd25519(k.ID, public)
		return &key, nil
	case k.Type == "oct" && (k.Alg == "" || k.Alg == "HS256"):
		secret, err := base64.RawURLEncoding.DecodeString(k.K)
		if err != nil || len(secret) < minSecret {
			return nil, fmt.Errorf("has no k of at least %d bytes in base64url", minSecret)
		}
		key := newSecret(k.ID, string(secret))
		return &key, nil
	}
	return nil, nil
}
