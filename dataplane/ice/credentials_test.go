package ice

import (
	"bytes"
	"math/rand/v2"
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/stun/v2"

	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

func randomCredentials(r *rand.Rand, shard int) (ufrag, pwd string) {
	var random [RandomLen]byte
	for i := range random {
		random[i] = byte(r.Uint32())
	}
	return NewUfrag(shard, &random)
}

func TestNewUfrag(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 8839))
	seen := map[string]bool{}
	for shard := range MaxShards {
		ufrag, pwd := randomCredentials(r, shard)
		if len(ufrag) < 4 || len(pwd) < 22 { // RFC 8839 section 5.4
			t.Fatalf("ufrag %q or password %q is too short", ufrag, pwd)
		}
		for _, c := range ufrag + pwd {
			if !strings.ContainsRune(iceChars, c) {
				t.Fatalf("%q or %q holds %q", ufrag, pwd, c)
			}
		}
		if got, ok := UfragShard([]byte(ufrag)); !ok || got != shard {
			t.Fatalf("%q names shard %d (%v), want %d", ufrag, got, ok, shard)
		}
		if seen[pwd] || seen[ufrag[1:]] {
			t.Fatalf("%q %q came twice", ufrag, pwd)
		}
		seen[pwd], seen[ufrag[1:]] = true, true
	}
	for _, bad := range []string{"", "A", "AAAAAAA", "AAAAAAAAA", "-AAAAAAA", "\x00AAAAAAA"} {
		if shard, ok := UfragShard([]byte(bad)); ok {
			t.Errorf("%q names shard %d", bad, shard)
		}
	}
}

// check is a pion client's connectivity check.
func check(t *testing.T, username, pwd string) (raw []byte, m *wire.STUN) {
	t.Helper()
	built, err := stun.Build(stun.TransactionID, stun.BindingRequest, stun.NewUsername(username),
		stun.RawAttribute{Type: stun.AttrICEControlling, Value: make([]byte, 8)},
		stun.RawAttribute{Type: stun.AttrPriority, Value: make([]byte, 4)},
		stun.NewShortTermIntegrity(pwd), stun.Fingerprint)
	if err != nil {
		t.Fatal(err)
	}
	raw, m = bytes.Clone(built.Raw), new(wire.STUN)
	if !wire.ParseSTUN(raw, m) {
		t.Fatal("pion's check is refused")
	}
	return raw, m
}

func TestVerifyAgainstPion(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 8839))
	for range 50 {
		ufrag, pwd := randomCredentials(r, 0)
		c := NewCredentials(pwd)
		if _, m := check(t, ufrag+":peer", pwd); !c.Verify(m) {
			t.Fatal("a check with our password does not verify")
		}
		if _, m := check(t, ufrag+":peer", pwd+"x"); c.Verify(m) {
			t.Fatal("a check with another password verifies")
		}
		raw, m := check(t, ufrag+":peer", pwd)
		raw[30] ^= 1 // in USERNAME, under MESSAGE-INTEGRITY
		if c.Verify(m) {
			t.Fatal("a changed check verifies")
		}
	}
	if NewCredentials("p").Verify(&wire.STUN{}) {
		t.Error("a message without MESSAGE-INTEGRITY verifies")
	}
}

func TestSuccessAgainstPion(t *testing.T) {
	for _, text := range []string{"192.0.2.7:50000", "[2001:db8::7]:443"} {
		_, m := check(t, "u:p", "our password")
		remote := pkt.AddrFrom(netip.MustParseAddrPort(text))
		buf := make([]byte, wire.MaxSTUNResponse)
		c := NewCredentials("our password")
		got := answer(t, buf[:c.Success(buf, m, &remote)], "our password")
		var addr stun.XORMappedAddress
		if err := addr.GetFrom(got); err != nil || addr.String() != text {
			t.Errorf("pion reads address %v: %v, want %s", addr, err, text)
		}
		if got.Type != stun.BindingSuccess || got.TransactionID != m.TransactionID {
			t.Errorf("pion reads %v", got)
		}
	}
}

// answer reads a signed response with pion.
func answer(t *testing.T, raw []byte, pwd string) *stun.Message {
	t.Helper()
	m := &stun.Message{Raw: raw}
	if err := m.Decode(); err != nil {
		t.Fatal(err)
	}
	if err := stun.Fingerprint.Check(m); err != nil {
		t.Fatal(err)
	}
	if err := stun.NewShortTermIntegrity(pwd).Check(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func TestErrorsAgainstPion(t *testing.T) {
	_, m := check(t, "u:p", "our password")
	m.Unknown = 0x4abc
	buf := make([]byte, wire.MaxSTUNResponse)
	c := NewCredentials("our password")
	for _, code := range []int{CodeUnknownAttribute, CodeRoleConflict} {
		got := answer(t, buf[:c.Error(buf, m, code)], "our password")
		var e stun.ErrorCodeAttribute
		if err := e.GetFrom(got); err != nil || int(e.Code) != code || got.Type != stun.BindingError {
			t.Errorf("pion reads %v (%v), want %d", got, err, code)
		}
		if got.Contains(stun.AttrUnknownAttributes) != (code == CodeUnknownAttribute) {
			t.Errorf("UNKNOWN-ATTRIBUTES with %d: %v", code, got)
		}
	}
}

// TestRefuseIsSmaller: an unauthenticated answer never amplifies. The shortest
// request that names a session holds a USERNAME of a ufrag and a colon.
func TestRefuseIsSmaller(t *testing.T) {
	shortest := 20 + 4 + (ufragLen+1+3)&^3
	buf := make([]byte, wire.MaxSTUNResponse)
	for _, code := range []int{CodeBadRequest, CodeUnauthenticated} {
		n := Refuse(buf, &wire.STUN{TransactionID: [12]byte{7}}, code)
		if n > shortest {
			t.Errorf("%d bytes answer %d", n, shortest)
		}
		m := &stun.Message{Raw: buf[:n]}
		var e stun.ErrorCodeAttribute
		if err := m.Decode(); err != nil {
			t.Fatal(err)
		}
		if err := e.GetFrom(m); err != nil || int(e.Code) != code || m.Contains(stun.AttrMessageIntegrity) {
			t.Errorf("pion reads %v (%v), want %d", m, err, code)
		}
	}
}

func TestAnsweringAllocatesNothing(t *testing.T) {
	raw, _ := check(t, "u:p", "our password")
	before := bytes.Clone(raw)
	c, buf, n := NewCredentials("our password"), make([]byte, wire.MaxSTUNResponse), 0
	remote := pkt.Addr{Port: 1}
	allocs := testing.AllocsPerRun(100, func() {
		var m wire.STUN
		copy(raw, before)
		if wire.ParseSTUN(raw, &m) && c.Verify(&m) {
			n += c.Success(buf, &m, &remote) + c.Error(buf, &m, CodeRoleConflict)
		}
	})
	if allocs != 0 || n == 0 {
		t.Errorf("%v allocations for %d bytes", allocs, n)
	}
}
