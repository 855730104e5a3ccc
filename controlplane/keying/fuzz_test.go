package keying

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"
)

// FuzzHandshake holds that whatever a checked peer says instead of a handshake, in
// either role, it gets no keys, and when time is over nothing is left of it. A
// script is a byte for the role and the pace, and then datagrams, each behind its
// length in two bytes.
func FuzzHandshake(f *testing.F) {
	say := func(first byte, datagrams ...[]byte) {
		script := []byte{first}
		for _, d := range datagrams {
			script = append(binary.BigEndian.AppendUint16(script, uint16(len(d))), d...)
		}
		f.Add(script)
	}
	body := make([]byte, 60)
	for first := range byte(4) {
		say(first)
		say(first, fragment(0, clientHello, 0, 60, 0, body), plaintext(alert, 1, 2, 40))
		say(first, fragment(0, clientHello, 0, 60, 0, body[:30]), fragment(1, clientHello, 0, 60, 30, body[30:]))
		say(first, fragment(0, 2, 0, 60, 0, body), fragment(1, 11, 1, 1<<24-1, 1<<24-61, body), plaintext(changeCipherSpec, 2, 1))
		say(first, fragment(0, 3, 0, 3, 0, []byte{0xfe, 0xff, 0}), plaintext(applicationData, 1, 'x'), plaintext(handshake, 2, body...))
	}
	certificate := testCertificate(f)
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) == 0 || len(script) > 4096 {
			return
		}
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{})
			r.keyer.Expect(1, []Role{Passive, Active}[script[0]&1], sha256Of(certificate))
			r.keyer.Reached(1, testPath)
			for rest := script[1:]; len(rest) >= 2; {
				n := min(int(binary.BigEndian.Uint16(rest)), len(rest)-2)
				r.keyer.Punt(1, testPath, rest[2:2+n])
				rest = rest[2+n:]
				time.Sleep(time.Duration(script[0]>>1) * time.Millisecond)
				synctest.Wait()
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if _, done, _ := r.outcome(1); done {
				t.Error("keys without a handshake")
			}
			r.keyer.Close(1)
			synctest.Wait()
			if len(r.keyer.pending)+len(r.keyer.keyed) != 0 || r.keyer.Stats().Running != 0 {
				t.Errorf("something is left: %+v", r.keyer.Stats())
			}
		})
	})
}
