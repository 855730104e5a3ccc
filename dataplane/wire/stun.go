package wire

import (
	"encoding/binary"
	"hash/crc32"
)

// STUN message types (RFC 8489 section 5) that ICE uses.
const (
	STUNBindingRequest  = 0x0001
	STUNBindingSuccess  = 0x0101
	STUNBindingError    = 0x0111
	stunMagicCookie     = 0x2112A442
	stunFingerprintXOR  = 0x5354554e
	stunHeaderLen       = 20
	stunIntegrityLen    = 20
	maxSTUNAttributes   = 32 // a browser's check has about eight
	maxUsernameLen      = 513
	comprehensionOption = 0x8000
)

// STUN attribute types (RFC 8489 section 18.3, RFC 8445 section 16.1).
const (
	attrUsername          = 0x0006
	attrMessageIntegrity  = 0x0008
	attrErrorCode         = 0x0009
	attrUnknownAttributes = 0x000A
	attrXORMappedAddress  = 0x0020
	attrPriority          = 0x0024
	attrUseCandidate      = 0x0025
	attrIntegritySHA256   = 0x001C
	attrFingerprint       = 0x8028
	attrICEControlled     = 0x8029
	attrICEControlling    = 0x802A
)

// STUN is a checked view of a STUN message. Slices refer to the message.
type STUN struct {
	Type          uint16
	TransactionID [12]byte
	Username      []byte // valid iff not nil
	UseCandidate  bool
	Controlled    bool // ICE-CONTROLLED is present: the sender plays our role
	// Unknown is the first comprehension-required attribute that is not
	// known here, 0 for none.
	Unknown uint16

	raw          []byte
	integrityOff int // of the MESSAGE-INTEGRITY attribute, 0 for none
}

// ParseSTUN checks a message whole: cookie, lengths, padding, the order and
// the value of FINGERPRINT. Attributes behind MESSAGE-INTEGRITY other than
// FINGERPRINT are ignored (RFC 8489 section 14.5).
//
//hot:path
func ParseSTUN(b []byte, m *STUN) bool {
	*m = STUN{}
	if len(b) < stunHeaderLen || b[0] > 3 || binary.BigEndian.Uint32(b[4:]) != stunMagicCookie {
		return false
	}
	if n := int(binary.BigEndian.Uint16(b[2:])); n%4 != 0 || n != len(b)-stunHeaderLen {
		return false
	}
	m.raw = b
	m.Type = binary.BigEndian.Uint16(b)
	copy(m.TransactionID[:], b[8:stunHeaderLen])
	fingerprinted := false
	for off, count := stunHeaderLen, 0; off < len(b); count++ {
		if count == maxSTUNAttributes || off+4 > len(b) || fingerprinted {
			return false // too many, cut off, or something behind FINGERPRINT
		}
		typ := binary.BigEndian.Uint16(b[off:])
		n := int(binary.BigEndian.Uint16(b[off+2:]))
		end := off + 4 + (n+3)&^3
		if end > len(b) {
			return false
		}
		value := b[off+4 : off+4+n]
		switch {
		case typ == attrFingerprint:
			if n != 4 || binary.BigEndian.Uint32(value) != stunFingerprint(b[:off]) {
				return false
			}
			fingerprinted = true
		case m.integrityOff != 0: // ignored
		case !m.attribute(typ, value, off):
			return false
		}
		off = end
	}
	return true
}

func (m *STUN) attribute(typ uint16, value []byte, off int) bool {
	switch typ {
	case attrUsername:
		if len(value) > maxUsernameLen {
			return false
		}
		if m.Username == nil {
			m.Username = value
		}
	case attrMessageIntegrity:
		if len(value) != stunIntegrityLen {
			return false
		}
		m.integrityOff = off
	case attrUseCandidate:
		m.UseCandidate = true
	case attrICEControlled:
		m.Controlled = true
	case attrPriority, attrIntegritySHA256:
	default:
		if typ < comprehensionOption && m.Unknown == 0 {
			m.Unknown = typ
		}
	}
	return true
}

// LocalUfrag returns the part of USERNAME that names us, before the colon
// (RFC 8445 section 7.2.2); nil when there is none.
//
//hot:path
func (m *STUN) LocalUfrag() []byte {
	for i, c := range m.Username {
		if c == ':' {
			return m.Username[:i]
		}
	}
	return nil
}

// HasIntegrity reports whether the message carries MESSAGE-INTEGRITY.
func (m *STUN) HasIntegrity() bool { return m.integrityOff != 0 }

// Integrity returns the MESSAGE-INTEGRITY value, and what it covers: the
// header with its length as if the message ended there, then the attributes
// before it (RFC 8489 section 14.5). Valid iff HasIntegrity.
//
//hot:path
func (m *STUN) Integrity() (mac, header, attributes []byte) {
	// The length is patched in place: it was checked, and nothing reads it again that
	// does not call Restore.
	binary.BigEndian.PutUint16(m.raw[2:], uint16(m.integrityOff+4+stunIntegrityLen-stunHeaderLen))
	return m.raw[m.integrityOff+4 : m.integrityOff+4+stunIntegrityLen], m.raw[:stunHeaderLen], m.raw[stunHeaderLen:m.integrityOff]
}

// Restore undoes what Integrity does to the message, for whoever passes it on.
func (m *STUN) Restore() {
	binary.BigEndian.PutUint16(m.raw[2:], uint16(len(m.raw)-stunHeaderLen))
}

func stunFingerprint(b []byte) uint32 {
	// The covered header already holds the final length: FINGERPRINT is last.
	return crc32.ChecksumIEEE(b) ^ stunFingerprintXOR
}

// STUNBuilder writes a message into a caller's buffer, attribute by attribute.
// The buffer must have room; responses here stay under 128 bytes.
type STUNBuilder struct {
	b []byte
	n int
}

// MaxSTUNResponse is room enough for any response that STUNBuilder is used for.
const MaxSTUNResponse = 128

// NewSTUN starts a response of the given type.
//
//hot:path
func NewSTUN(buf []byte, typ uint16, transactionID *[12]byte) STUNBuilder {
	binary.BigEndian.PutUint16(buf, typ)
	binary.BigEndian.PutUint32(buf[4:], stunMagicCookie)
	copy(buf[8:], transactionID[:])
	return STUNBuilder{b: buf, n: stunHeaderLen}
}

// XORMappedAddress adds the address (RFC 8489 section 14.2), 16 bytes with
// IPv4 mapped.
//
//hot:path
func (s *STUNBuilder) XORMappedAddress(ip *[16]byte, is4 bool, port uint16) {
	addr, family := ip[:], byte(2)
	if is4 {
		addr, family = ip[12:], 1
	}
	v := s.attribute(attrXORMappedAddress, 4+len(addr))
	v[0], v[1] = 0, family
	binary.BigEndian.PutUint16(v[2:], port^stunMagicCookie>>16)
	for i, c := range addr {
		v[4+i] = c ^ s.b[4+i] // the cookie and the transaction id, in wire order
	}
}

// ErrorCode adds ERROR-CODE with an empty reason phrase (RFC 8489 section 14.8).
//
//hot:path
func (s *STUNBuilder) ErrorCode(code int) {
	v := s.attribute(attrErrorCode, 4)
	v[0], v[1], v[2], v[3] = 0, 0, byte(code/100), byte(code%100)
}

// UnknownAttribute adds UNKNOWN-ATTRIBUTES with one type (RFC 8489 section 14.10).
//
//hot:path
func (s *STUNBuilder) UnknownAttribute(typ uint16) {
	binary.BigEndian.PutUint16(s.attribute(attrUnknownAttributes, 2), typ)
}

// Integrity adds MESSAGE-INTEGRITY: it returns the room for the HMAC-SHA1 and
// the bytes to compute it over.
//
//hot:path
func (s *STUNBuilder) Integrity() (mac, covered []byte) {
	end := s.n
	mac = s.attribute(attrMessageIntegrity, stunIntegrityLen)
	s.setLength()
	return mac, s.b[:end]
}

// Finish adds FINGERPRINT and returns the length of the message.
//
//hot:path
func (s *STUNBuilder) Finish() int {
	end := s.n
	v := s.attribute(attrFingerprint, 4)
	s.setLength()
	binary.BigEndian.PutUint32(v, stunFingerprint(s.b[:end]))
	return s.n
}

func (s *STUNBuilder) attribute(typ uint16, n int) []byte {
	binary.BigEndian.PutUint16(s.b[s.n:], typ)
	binary.BigEndian.PutUint16(s.b[s.n+2:], uint16(n))
	v := s.b[s.n+4 : s.n+4+n]
	end := s.n + 4 + (n+3)&^3
	clear(s.b[s.n+4+n : end])
	s.n = end
	return v
}

func (s *STUNBuilder) setLength() {
	binary.BigEndian.PutUint16(s.b[2:], uint16(s.n-stunHeaderLen))
}
