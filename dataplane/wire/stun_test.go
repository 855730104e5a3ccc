package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/pion/stun/v2"
)

// The oracle is github.com/pion/stun/v2. Its getters of XOR addresses panic on
// short values, so only messages built here or checked before reach them.

// Test vectors of RFC 5769 sections 2.1 to 2.3.
const (
	vectorPassword = "VOkJxbRl1RmTxUk/WvJxBt"
	vectorUsername = "evtj:h6vY"
	vectorID       = "\xb7\xe7\xa7\x01\xbc\x34\xd6\x86\xfa\x87\xdf\xae"
	vectorRequest  = "\x00\x01\x00\x58" + "\x21\x12\xa4\x42" + vectorID +
		"\x80\x22\x00\x10" + "STUN test client" +
		"\x00\x24\x00\x04" + "\x6e\x00\x01\xff" +
		"\x80\x29\x00\x08" + "\x93\x2f\xf9\xb1\x51\x26\x3b\x36" +
		"\x00\x06\x00\x09" + vectorUsername + "   " +
		"\x00\x08\x00\x14" + "\x9a\xea\xa7\x0c\xbf\xd8\xcb\x56\x78\x1e\xf2\xb5\xb2\xd3\xf2\x49\xc1\xb5\x71\xa2" +
		"\x80\x28\x00\x04" + "\xe5\x7a\x3b\xcf"
	vectorResponse4 = "\x01\x01\x00\x3c" + "\x21\x12\xa4\x42" + vectorID +
		"\x80\x22\x00\x0b" + "test vector " +
		"\x00\x20\x00\x08" + "\x00\x01\xa1\x47\xe1\x12\xa6\x43" +
		"\x00\x08\x00\x14" + "\x2b\x91\xf5\x99\xfd\x9e\x90\xc3\x8c\x74\x89\xf9\x2a\xf9\xba\x53\xf0\x6b\xe7\xd7" +
		"\x80\x28\x00\x04" + "\xc0\x7d\x4c\x96"
	vectorResponse6 = "\x01\x01\x00\x48" + "\x21\x12\xa4\x42" + vectorID +
		"\x80\x22\x00\x0b" + "test vector " +
		"\x00\x20\x00\x14" + "\x00\x02\xa1\x47\x01\x13\xa9\xfa\xa5\xd3\xf1\x79\xbc\x25\xf4\xb5\xbe\xd2\xb9\xd9" +
		"\x00\x08\x00\x14" + "\xa3\x82\x95\x4e\x4b\xe6\x7b\xf1\x17\x84\xc9\x7c\x82\x92\xc2\x75\xbf\xe3\xed\x41" +
		"\x80\x28\x00\x04" + "\xc8\xfb\x0b\x4c"
)

func hmacSHA1(key string, parts ...[]byte) []byte {
	mac := hmac.New(sha1.New, []byte(key))
	for _, p := range parts {
		mac.Write(p)
	}
	return mac.Sum(nil)
}

// integrityHolds checks MESSAGE-INTEGRITY as ice does.
func integrityHolds(m *STUN, password string) bool {
	if !m.HasIntegrity() {
		return false
	}
	mac, header, attributes := m.Integrity()
	return hmac.Equal(mac, hmacSHA1(password, header, attributes))
}

func TestSTUNRequestVector(t *testing.T) {
	var m STUN
	if !ParseSTUN([]byte(vectorRequest), &m) {
		t.Fatal("the request of RFC 5769 section 2.1 is refused")
	}
	if m.Type != STUNBindingRequest || string(m.TransactionID[:]) != vectorID {
		t.Errorf("type %#x, transaction id % x", m.Type, m.TransactionID)
	}
	if string(m.Username) != vectorUsername || string(m.LocalUfrag()) != "evtj" {
		t.Errorf("username %q, ufrag %q", m.Username, m.LocalUfrag())
	}
	if m.UseCandidate || !m.Controlled || m.Unknown != 0 {
		t.Errorf("use-candidate %v, controlled %v, unknown %#x", m.UseCandidate, m.Controlled, m.Unknown)
	}
	if !integrityHolds(&m, vectorPassword) {
		t.Error("MESSAGE-INTEGRITY does not verify")
	}
}

func TestSTUNResponseVectors(t *testing.T) {
	for name, raw := range map[string]string{"IPv4": vectorResponse4, "IPv6": vectorResponse6} {
		var m STUN
		if !ParseSTUN([]byte(raw), &m) {
			t.Fatalf("%s: refused", name)
		}
		if m.Type != STUNBindingSuccess || !integrityHolds(&m, vectorPassword) {
			t.Errorf("%s: type %#x, or MESSAGE-INTEGRITY does not verify", name, m.Type)
		}
	}
}

// TestSTUNResponseVectorsBuilt builds the address attributes of the vectors,
// which only lack SOFTWARE.
func TestSTUNResponseVectorsBuilt(t *testing.T) {
	for _, v := range []struct{ raw, ip string }{{vectorResponse4, "192.0.2.1"}, {vectorResponse6, "2001:db8:1234:5678:11:2233:4455:6677"}} {
		buf := make([]byte, MaxSTUNResponse)
		id := [12]byte([]byte(vectorID))
		b := NewSTUN(buf, STUNBindingSuccess, &id)
		ip := net.ParseIP(v.ip)
		b.XORMappedAddress((*[16]byte)(ip), ip.To4() != nil, 32853)
		end := b.n
		attribute := v.raw[36 : 36+end-20]
		if string(buf[20:end]) != attribute {
			t.Errorf("%s: % x, want % x", v.ip, buf[20:end], attribute)
		}
	}
}

// randomRequest builds a check with pion and says what should be read from it.
func randomRequest(t *testing.T, r *rand.Rand) (raw []byte, want STUN, password string) {
	t.Helper()
	password = strings.Repeat("p", 1+r.IntN(80))
	username := strings.Repeat("u", r.IntN(30)) + ":" + strings.Repeat("v", r.IntN(30))
	var id [stun.TransactionIDSize]byte
	for i := range id {
		id[i] = byte(r.Uint32())
	}
	setters := []stun.Setter{stun.NewTransactionIDSetter(id), stun.BindingRequest}
	add := func(typ uint16, value []byte) {
		setters = append(setters, stun.RawAttribute{Type: stun.AttrType(typ), Value: value})
	}
	want = STUN{Type: STUNBindingRequest, TransactionID: id, Username: []byte(username)}
	setters = append(setters, stun.NewUsername(username))
	if r.IntN(2) == 0 {
		add(attrUseCandidate, nil)
		want.UseCandidate = true
	}
	if r.IntN(3) == 0 {
		add(attrICEControlled, make([]byte, 8))
		want.Controlled = true
	} else {
		add(attrICEControlling, make([]byte, 8))
	}
	add(attrPriority, []byte{1, 2, 3, 4})
	if r.IntN(4) == 0 {
		want.Unknown = uint16(0x4000 + r.IntN(0x1000))
		add(want.Unknown, make([]byte, r.IntN(20)))
	}
	if r.IntN(2) == 0 {
		add(uint16(0xC000+r.IntN(0x1000)), make([]byte, r.IntN(20)))
	}
	setters = append(setters, stun.NewShortTermIntegrity(password))
	if r.IntN(2) == 0 {
		setters = append(setters, stun.Fingerprint)
	}
	m, err := stun.Build(setters...)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Clone(m.Raw), want, password
}

func TestSTUNReadsWhatPionBuilds(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 389))
	for range 2000 {
		raw, want, password := randomRequest(t, r)
		var m STUN
		if !ParseSTUN(raw, &m) {
			t.Fatalf("refused: % x", raw)
		}
		if m.Type != want.Type || m.TransactionID != want.TransactionID || !bytes.Equal(m.Username, want.Username) ||
			m.UseCandidate != want.UseCandidate || m.Controlled != want.Controlled || m.Unknown != want.Unknown {
			t.Fatalf("read %+v, want %+v", m, want)
		}
		if integrityHolds(&m, password+"x") {
			t.Fatal("another password verifies")
		}
		if !integrityHolds(&m, password) {
			t.Fatalf("MESSAGE-INTEGRITY does not verify: % x", raw)
		}
	}
}

func TestPionReadsWhatSTUNBuilds(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 8489))
	for range 500 {
		var id [12]byte
		var ip [16]byte
		for i := range ip {
			ip[i] = byte(r.Uint32())
		}
		copy(id[:], ip[2:])
		is4, port := r.IntN(2) == 0, uint16(r.Uint32())
		if is4 {
			copy(ip[:], net.IPv4zero.To16()[:12])
		}
		const password = "a password of ours"
		buf := make([]byte, MaxSTUNResponse)
		b := NewSTUN(buf, STUNBindingSuccess, &id)
		b.XORMappedAddress(&ip, is4, port)
		mac, covered := b.Integrity()
		copy(mac, hmacSHA1(password, covered))
		raw := buf[:b.Finish()]

		m := &stun.Message{Raw: raw}
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		var addr stun.XORMappedAddress
		if err := addr.GetFrom(m); err != nil {
			t.Fatal(err)
		}
		if !addr.IP.Equal(ip[:]) || addr.Port != int(port) || m.TransactionID != id || m.Type != stun.BindingSuccess {
			t.Fatalf("pion reads %v of %v:%d in %v", addr, net.IP(ip[:]), port, m)
		}
		if err := stun.Fingerprint.Check(m); err != nil {
			t.Fatal(err)
		}
		if err := stun.NewShortTermIntegrity(password).Check(m); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPionReadsErrors(t *testing.T) {
	buf := make([]byte, MaxSTUNResponse)
	b := NewSTUN(buf, STUNBindingError, &[12]byte{1})
	b.ErrorCode(420)
	b.UnknownAttribute(0x4321)
	m := &stun.Message{Raw: buf[:b.Finish()]}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	var code stun.ErrorCodeAttribute
	if err := code.GetFrom(m); err != nil || code.Code != 420 {
		t.Errorf("pion reads error %v: %v", code, err)
	}
	// pion's own getter takes four bytes for a type, against RFC 8489 section 14.10.
	if unknown, err := m.Get(stun.AttrUnknownAttributes); err != nil || string(unknown) != "\x43\x21" {
		t.Errorf("pion reads unknown attributes % x: %v", unknown, err)
	}
	if err := stun.Fingerprint.Check(m); err != nil {
		t.Error(err)
	}
}

// message puts raw attributes behind a header with the right length.
func message(attributes ...string) []byte {
	return sized([]byte("\x00\x01\x00\x00\x21\x12\xa4\x42" + vectorID + strings.Join(attributes, "")))
}

// sized sets the length field to what is there.
func sized(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20))
	return b
}

// withFingerprint appends a right FINGERPRINT.
func withFingerprint(b []byte) []byte {
	binary.BigEndian.PutUint16(b[2:], uint16(len(b)-20+8))
	b = append(b, 0x80, 0x28, 0, 4)
	return binary.BigEndian.AppendUint32(b, stunFingerprint(b[:len(b)-4]))
}

func TestSTUNRefusesMalformed(t *testing.T) {
	user := "\x00\x06\x00\x04a:bc"
	cut := func(n int) []byte { return []byte(vectorRequest)[:n] }
	edit := func(at int, v byte) []byte {
		b := []byte(vectorRequest)
		b[at] ^= v
		return b
	}
	for name, b := range map[string][]byte{
		"empty":                          nil,
		"header cut":                     cut(19),
		"attributes cut":                 cut(60),
		"trailing bytes":                 append([]byte(vectorRequest), 0, 0, 0, 0),
		"cookie wrong":                   edit(4, 1),
		"first two bits set":             edit(0, 0x40),
		"length no multiple of four":     sized(append(message(), 1, 2, 3)),
		"FINGERPRINT wrong":              edit(len(vectorRequest)-1, 1),
		"byte under FINGERPRINT changed": edit(30, 1),
		"attribute past the end":         message(user, "\x00\x24\x00\x08abcd"),
		"attribute header cut":           sized(append(message(user), 0, 0)),
		"FINGERPRINT not last":           sized(append(withFingerprint(message(user)), "\x00\x24\x00\x04abcd"...)),
		"FINGERPRINT of five bytes":      message("\x80\x28\x00\x05abcdefgh"),
		"MESSAGE-INTEGRITY too short":    message(user, "\x00\x08\x00\x10"+strings.Repeat("m", 16)),
		"username too long":              message("\x00\x06\x02\x04" + strings.Repeat("u", 516)),
		"two thousand attributes":        message(strings.Repeat("\xc0\x00\x00\x00", 2000)),
	} {
		var m STUN
		if ParseSTUN(b, &m) {
			t.Errorf("%s: accepted % x", name, b)
		}
	}
	var m STUN
	if !ParseSTUN(message(user), &m) || !ParseSTUN(withFingerprint(message(user)), &m) {
		t.Error("what the malformed ones were made from is refused itself")
	}
}

// TestSTUNIgnoresBehindIntegrity: what is not covered does not count (RFC 8489
// section 14.5).
func TestSTUNIgnoresBehindIntegrity(t *testing.T) {
	mac := "\x00\x08\x00\x14" + strings.Repeat("m", 20)
	var m STUN
	if !ParseSTUN(message("\x00\x06\x00\x04a:bc", mac, "\x00\x25\x00\x00", "\x80\x2a\x00\x08ABCDEFGH", "\x40\x00\x00\x00"), &m) {
		t.Fatal("refused")
	}
	if m.UseCandidate || m.Unknown != 0 {
		t.Error("an attribute behind MESSAGE-INTEGRITY counts")
	}
}

func TestLocalUfrag(t *testing.T) {
	for username, want := range map[string]string{"a:b": "a", "ab:": "ab", ":b": "", "a:b:c": "a", "ab": "", "": ""} {
		m := STUN{Username: []byte(username)}
		if got := string(m.LocalUfrag()); got != want {
			t.Errorf("%q: %q, want %q", username, got, want)
		}
	}
}

// FuzzSTUN holds that nothing panics and that what we accept pion accepts, with
// the same meaning.
func FuzzSTUN(f *testing.F) {
	f.Add([]byte(vectorRequest))
	f.Add([]byte(vectorResponse4))
	f.Add([]byte(vectorResponse6))
	f.Add(message("\x00\x06\x00\x04a:bc", "\x00\x20\x00\x00"))
	f.Add(withFingerprint(message("\x00\x06\x00\x03a:b\x00", "\x40\x00\x00\x01a\x00\x00\x00")))
	f.Fuzz(func(t *testing.T, b []byte) {
		before := bytes.Clone(b)
		var m STUN
		ok := ParseSTUN(b, &m)
		if !bytes.Equal(b, before) {
			t.Fatal("parsing changed the message")
		}
		if !ok {
			return
		}
		theirs := &stun.Message{Raw: bytes.Clone(b)}
		if err := theirs.Decode(); err != nil {
			t.Fatalf("pion refuses what we accept: %v", err)
		}
		if theirs.Type.Value() != m.Type || theirs.TransactionID != m.TransactionID {
			t.Fatalf("pion reads %v, we %+v", theirs, m)
		}
		if fp, has := theirs.Attributes.Get(stun.AttrFingerprint); has {
			if err := stun.Fingerprint.Check(theirs); err != nil {
				t.Fatalf("FINGERPRINT % x: %v", fp.Value, err)
			}
		}
		m.LocalUfrag()
		if m.HasIntegrity() {
			mac, header, attributes := m.Integrity()
			if len(mac) != 20 || len(header) != 20 || len(attributes)%4 != 0 {
				t.Fatal("what MESSAGE-INTEGRITY covers is not whole")
			}
			sum := hmacSHA1("key", header, attributes)
			verified := stun.NewShortTermIntegrity("key").Check(theirs) == nil
			if verified != hmac.Equal(sum, mac) {
				t.Fatal("pion and we disagree about MESSAGE-INTEGRITY")
			}
		}
	})
}
