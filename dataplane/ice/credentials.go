package ice

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/subtle"
	"hash"

	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// iceChars are the characters of ufrags and passwords (RFC 8839 section 5.4).
const iceChars = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

// MaxShards is how many shards a ufrag can name.
const MaxShards = len(iceChars)

// Lengths of what Credentials are made from, in characters: 6 bits each, so
// 42 random bits behind the ufrag's shard tag and 144 in the password.
const (
	ufragLen = 8
	pwdLen   = 24
	// RandomLen is how many random bytes NewCredentials takes.
	RandomLen = ufragLen - 1 + pwdLen
)

// NewUfrag returns a ufrag and password for a session on a shard. The ufrag's
// first character names the shard, so that whichever shard sees a check first
// knows whose it is.
func NewUfrag(shard int, random *[RandomLen]byte) (ufrag, pwd string) {
	var chars [RandomLen]byte
	for i, r := range random {
		chars[i] = iceChars[r&63]
	}
	return iceChars[shard:shard+1] + string(chars[:ufragLen-1]), string(chars[ufragLen-1:])
}

// UfragShard returns the shard that a ufrag names.
func UfragShard(ufrag []byte) (int, bool) {
	if len(ufrag) != ufragLen {
		return 0, false
	}
	for i := range MaxShards {
		if iceChars[i] == ufrag[0] {
			return i, true
		}
	}
	return 0, false
}

// Credentials verify checks and sign responses with a session's own password
// (short-term credentials, RFC 8489 section 9.1). Derived state: made again
// from the password. Not safe for concurrent use.
type Credentials struct {
	mac hash.Hash
	sum [sha1.Size]byte
}

// NewCredentials returns the credentials for a password.
func NewCredentials(pwd string) *Credentials {
	return &Credentials{mac: hmac.New(sha1.New, []byte(pwd))}
}

// Verify reports whether the message's MESSAGE-INTEGRITY is ours.
//
//hot:path
func (c *Credentials) Verify(m *wire.STUN) bool {
	if !m.HasIntegrity() {
		return false
	}
	got, header, attributes := m.Integrity()
	c.mac.Reset()
	c.mac.Write(header)
	c.mac.Write(attributes)
	return subtle.ConstantTimeCompare(c.mac.Sum(c.sum[:0]), got) == 1
}

func (c *Credentials) sign(b *wire.STUNBuilder) {
	mac, covered := b.Integrity()
	c.mac.Reset()
	c.mac.Write(covered)
	copy(mac, c.mac.Sum(c.sum[:0]))
}

// Success writes the response to a check that came from remote into buf, which
// holds wire.MaxSTUNResponse bytes, and returns its length (RFC 8445 section 7.3.1.4).
//
//hot:path
func (c *Credentials) Success(buf []byte, m *wire.STUN, remote *pkt.Addr) int {
	b := wire.NewSTUN(buf, wire.STUNBindingSuccess, &m.TransactionID)
	b.XORMappedAddress(&remote.IP, remote.Is4(), remote.Port)
	c.sign(&b)
	return b.Finish()
}

// STUN error codes (RFC 8489 section 14.8, RFC 8445 section 7.3.1.1).
const (
	CodeBadRequest       = 400
	CodeUnauthenticated  = 401
	CodeUnknownAttribute = 420
	CodeRoleConflict     = 487
)

// Error writes an error response to an authenticated check, signed like a
// success. UNKNOWN-ATTRIBUTES is added for CodeUnknownAttribute.
func (c *Credentials) Error(buf []byte, m *wire.STUN, code int) int {
	b := wire.NewSTUN(buf, wire.STUNBindingError, &m.TransactionID)
	b.ErrorCode(code)
	if code == CodeUnknownAttribute {
		b.UnknownAttribute(m.Unknown)
	}
	c.sign(&b)
	return b.Finish()
}

// Refuse writes the unsigned error response to a check that is not
// authenticated: 36 bytes, less than any request that gets here.
func Refuse(buf []byte, m *wire.STUN, code int) int {
	b := wire.NewSTUN(buf, wire.STUNBindingError, &m.TransactionID)
	b.ErrorCode(code)
	return b.Finish()
}
