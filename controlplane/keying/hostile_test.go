package keying

import (
	"bytes"
	"crypto/sha1"
	"crypto/tls"
	"encoding/binary"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// fragment makes a datagram with one fragment of a plaintext handshake message.
func fragment(recordSeq uint64, kind uint8, messageSeq uint16, length, offset int, body []byte) []byte {
	b := []byte{handshake, 0xfe, 0xfd, 0, 0}
	b = append(b, binary.BigEndian.AppendUint64(nil, recordSeq)[2:]...)
	b = binary.BigEndian.AppendUint16(b, uint16(handshakeHeader+len(body)))
	b = append(b, kind, byte(length>>16), byte(length>>8), byte(length))
	b = binary.BigEndian.AppendUint16(b, messageSeq)
	b = append(b, byte(offset>>16), byte(offset>>8), byte(offset))
	b = append(b, byte(len(body)>>16), byte(len(body)>>8), byte(len(body)))
	return append(b, body...)
}

// plaintext makes a datagram with one record of epoch 0.
func plaintext(kind uint8, recordSeq uint64, body ...byte) []byte {
	b := []byte{kind, 0xfe, 0xfd, 0, 0}
	b = append(b, binary.BigEndian.AppendUint64(nil, recordSeq)[2:]...)
	return append(binary.BigEndian.AppendUint16(b, uint16(len(body))), body...)
}

// Nothing that is not the hello of an expected session gets an answer, a
// goroutine or a byte of memory, however much of it comes. (The addresses that
// had no connectivity check, the data plane has dropped before.)
func TestHelloFloodKeepsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Send: func(msg.SessionID, pkt.Path, []byte) { t.Error("an answer was sent") }})
		r.keyer.Expect(1, Passive, nil)
		hello := fragment(0, clientHello, 0, 100, 0, make([]byte, 100))
		goroutines := runtime.NumGoroutine()
		const flood = 1000
		for id := range msg.SessionID(flood) {
			r.keyer.Punt(2+id, testPath, hello)
		}
		// The expected session, but no hello.
		strays := [][]byte{
			nil, {handshake}, hello[:20], {0}, bytes.Repeat([]byte{0x3f}, 50),
			plaintext(changeCipherSpec, 0, 1), plaintext(alert, 0, 2, 40), plaintext(applicationData, 0, 'x'),
			fragment(0, 16, 0, 100, 0, make([]byte, 100)), append(bytes.Clone(hello), 0),
		}
		for _, stray := range strays {
			r.keyer.Punt(1, testPath, stray)
		}
		want := Stats{DroppedStray: flood + uint64(len(strays))}
		if got := r.keyer.Stats(); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		if len(r.keyer.pending) != 1 || r.keyer.pending[1].conn != nil || len(r.keyer.keyed) != 0 {
			t.Error("something was kept")
		}
		if got := runtime.NumGoroutine(); got > goroutines {
			t.Errorf("%d goroutines, %d before", got, goroutines)
		}
	})
}

// Another hello, with the NULL cipher only, in the middle of the handshake does
// not disturb it; neither do a plaintext record of data and a broken datagram.
func TestForgedDatagramsDuringHandshake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.join(1)
		c.up = func(i int, b []byte) [][]byte {
			if i == 0 {
				null := []byte{0xfe, 0xfd}
				null = append(null, make([]byte, 32+2)...)
				null = append(null, 0, 2, 0, 0, 1, 0)
				return [][]byte{
					b, fragment(7, clientHello, 0, len(null), 0, null),
					plaintext(applicationData, 8, 'x'), {handshake, 0xfe}, bytes.Repeat([]byte{0x2f}, 40),
				}
			}
			return [][]byte{b}
		}
		if err := c.connect(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mustAgree(c)
		c.close()
	})
}

// Handshake fragments that never end a message are cut off, by bytes when they
// come fast and by time when they come slowly, and all is freed.
func TestEndlessFragments(t *testing.T) {
	const length = 1<<24 - 1
	body := make([]byte, 1000)
	attacks := map[string]func(i int) []byte{
		"never ending": func(i int) []byte {
			return fragment(uint64(i), clientHello, 0, length, i*len(body), body)
		},
		"overlapping": func(i int) []byte {
			return fragment(uint64(i), clientHello, 0, length, i%7*300, body)
		},
		"of ever other messages": func(i int) []byte {
			return fragment(uint64(i), clientHello, uint16(1+i*17), length, 0, body)
		},
		"empty": func(i int) []byte { return fragment(uint64(i), clientHello, 0, length, i, nil) },
		"of lying lengths": func(i int) []byte {
			return fragment(uint64(i), clientHello, 0, 10, length-i, body)
		},
	}
	for name, attack := range attacks {
		for pace, reason := range map[time.Duration]string{
			time.Microsecond: "64 KiB",
			time.Second:      "10s",
		} {
			t.Run(name+"/"+pace.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, Config{})
					r.keyer.Expect(1, Passive, nil)
					for i := 0; len(r.settled) == 0 && i < 10_000; i++ {
						r.keyer.Punt(1, testPath, attack(i))
						time.Sleep(pace)
					}
					_, done, err := r.outcome(1)
					if done || err == nil || !strings.Contains(err.Error(), reason) {
						t.Fatalf("done %v, error %v; want one that names %q", done, err, reason)
					}
					synctest.Wait()
					// A goroutine that is left fails the test by itself (testing/synctest).
					if len(r.keyer.pending) != 0 || r.keyer.Stats().Running != 0 {
						t.Errorf("something is left: %+v", r.keyer.Stats())
					}
				})
			})
		}
	}
}

// A hello may be cut anew when it is said again, so its pieces repeat and overlap
// each other: it is put together all the same. Where pieces contradict each
// other, of whichever is believed there comes a handshake whose two sides agree,
// or none.
func TestFragmentsThatOverlap(t *testing.T) {
	type piece struct {
		from, to int
		length   int  // said to be the whole, 0 for the truth
		spoiled  bool // other contents
		seq      uint16
	}
	for name, test := range map[string]struct {
		pieces []piece
		keyed  bool // must be
	}{
		"said twice":           {[]piece{{from: 0, to: 60}, {from: 0, to: 60}, {from: 60, to: -1}, {from: 60, to: -1}}, true},
		"cut anew":             {[]piece{{from: 70, to: -1}, {from: 30, to: 90}, {from: 0, to: 50}}, true},
		"one within another":   {[]piece{{from: 20, to: 40}, {from: 10, to: 50}, {from: 0, to: 60}, {from: 50, to: -1}}, true},
		"byte by byte":         {nil, true},
		"whole after a part":   {[]piece{{from: 50, to: 80}, {from: 0, to: -1}}, true},
		"empty ones between":   {[]piece{{from: 0, to: 0}, {from: 0, to: 60}, {from: 60, to: 60}, {from: 60, to: -1}, {from: -1, to: -1}}, true},
		"beyond the end":       {[]piece{{from: 0, to: 60}, {from: 60, to: -1, length: 70}, {from: 60, to: -1}}, true},
		"other contents later": {[]piece{{from: 0, to: 60}, {from: 30, to: 60, spoiled: true}, {from: 60, to: -1}}, true},
		"other contents first": {[]piece{{from: 30, to: 60, spoiled: true}, {from: 0, to: 60}, {from: 60, to: -1}}, false},
		"another length first": {[]piece{{from: 0, to: 30, length: 4000}, {from: 0, to: 60}, {from: 60, to: -1}}, false},
		"of the next message":  {[]piece{{from: 0, to: 60, seq: 1}, {from: 0, to: 60}, {from: 60, to: -1}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{Timeout: 5 * time.Second})
				c := r.join(1)
				c.up = func(_ int, b []byte) (pieces [][]byte) {
					if !isClientHello(b) {
						return [][]byte{renumbered(b)}
					}
					body := b[recordHeader+handshakeHeader:]
					at := func(i int) int { return (i + len(body) + 1) % (len(body) + 1) }
					if test.pieces == nil {
						for i := range body {
							pieces = append(pieces, fragment(uint64(i), clientHello, 0, len(body), i, body[i:i+1]))
						}
					}
					for i, p := range test.pieces {
						from, to := at(p.from), at(p.to)
						part := bytes.Clone(body[from:to])
						for j := range part {
							if p.spoiled {
								part[j] ^= 0x55
							}
						}
						length := len(body)
						if p.length != 0 {
							length = p.length
						}
						pieces = append(pieces, fragment(uint64(i), clientHello, p.seq, length, from, part))
					}
					return pieces
				}
				err := c.connect(10 * time.Second)
				<-r.settled
				synctest.Wait()
				_, done, failed := r.outcome(1)
				if test.keyed && (err != nil || !done) {
					t.Errorf("no keys: client %v, server %v", err, failed)
				}
				if done {
					r.mustAgree(c)
				}
				if len(r.keyer.pending) != 0 || r.keyer.Stats().Running != 0 {
					t.Errorf("something is left: %+v", r.keyer.Stats())
				}
				c.close()
			})
		})
	}
}

// renumbered gives the plaintext records of a datagram numbers that come after
// those of any pieces.
func renumbered(b []byte) []byte {
	b = bytes.Clone(b)
	for rest := b; len(rest) > 0; {
		r, tail, ok := nextRecord(rest)
		if !ok {
			break
		}
		if r.epoch == 0 {
			rest[9] += 2 // 512 more
		}
		rest = tail
	}
	return b
}

// Without a proof that the peer owns the certificate of its description, there
// are no keys. The client is told by an alert, unless it is the one that fell
// silent.
func TestUnprovedPeerGetsNoKeys(t *testing.T) {
	announced, other := testCertificate(t), testCertificate(t)
	sha1Sum := sha1.Sum(announced.Certificate[0])
	stolen := tls.Certificate{Certificate: announced.Certificate, PrivateKey: other.PrivateKey}
	for name, test := range map[string]struct {
		shows  tls.Certificate
		expect []Fingerprint
		up     line
		server string // in the Keyer's error
		client string // in the client's
	}{
		"other certificate": {
			shows: other, expect: sha256Of(announced),
			server: "announced", client: "BadCertificate",
		},
		"no fingerprint": {
			shows: announced, expect: nil,
			server: "no fingerprint", client: "BadCertificate",
		},
		"sha-1 fingerprint only": {
			shows: announced, expect: []Fingerprint{{"sha-1", sha1Sum[:]}},
			server: "no fingerprint", client: "BadCertificate",
		},
		"no certificate": {
			shows: tls.Certificate{}, expect: sha256Of(announced),
			server: "", client: "NoCertificate",
		},
		"the right certificate with another key": {
			shows: stolen, expect: sha256Of(announced),
			server: "", client: "BadCertificate",
		},
		"no CertificateVerify": {
			shows: announced, expect: sha256Of(announced), up: withoutMessage(certificateVerify),
			server: "10s", client: "deadline",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				c := r.stranger(1, test.shows)
				if test.up != nil {
					c.up = test.up
				}
				r.keyer.Expect(1, Passive, test.expect)
				err := c.connect(30 * time.Second)
				if err == nil || !strings.Contains(err.Error(), test.client) {
					t.Errorf("the client got %v, want %q", err, test.client)
				}
				synctest.Wait()
				_, done, err := r.outcome(1)
				if done || err == nil || !strings.Contains(err.Error(), test.server) {
					t.Errorf("done %v, error %v; want one that names %q", done, err, test.server)
				}
				if got := r.keyer.Stats(); got.Failed != 1 || got.Done != 0 || got.Keyed != 0 || got.KeptBytes != 0 {
					t.Errorf("counted %+v", got)
				}
				c.close()
			})
		})
	}
}

const certificateVerify = 15

// withoutMessage is a line that swallows the handshake messages of one type.
func withoutMessage(kind uint8) line {
	return func(_ int, b []byte) [][]byte {
		var rest []byte
		for len(b) > 0 {
			r, tail, ok := nextRecord(b)
			if !ok {
				break
			}
			if r.kind != handshake || r.epoch != 0 || r.body[0] != kind {
				rest = append(rest, b[:len(b)-len(tail)]...)
			}
			b = tail
		}
		return [][]byte{rest}
	}
}

func TestPeerWithoutSRTPGetsNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.join(1)
		c.options = []dtls.Option{dtls.WithCertificates(c.certificate), dtls.WithInsecureSkipVerify(true)}
		c.connect(5 * time.Second)
		synctest.Wait()
		if _, done, err := r.outcome(1); done || err == nil || !strings.Contains(err.Error(), "SRTP") {
			t.Errorf("done %v, error %v", done, err)
		}
		c.close()
	})
}

func TestPeerWithoutExtendedMasterSecretGetsNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.join(1, dtls.WithExtendedMasterSecret(dtls.DisableExtendedMasterSecret))
		if err := c.connect(5 * time.Second); err == nil || !strings.Contains(err.Error(), "InsufficientSecurity") {
			t.Errorf("the client got %v", err)
		}
		synctest.Wait()
		if _, done, err := r.outcome(1); done || err == nil {
			t.Errorf("done %v, error %v", done, err)
		}
		c.close()
	})
}

// Once a session has its keys nothing plain is believed, and a new hello starts
// nothing; neither is an encrypted alert, which nobody here can check.
func TestNothingIsBelievedAfterKeying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := keyedSession(t)
		before, answers := r.keyer.Stats(), len(c.answers())
		encryptedAlert := plaintext(alert, 1, make([]byte, 26)...)
		encryptedAlert[4] = 1
		datagrams := [][]byte{
			plaintext(applicationData, 9, 'x'),
			plaintext(alert, 9, 2, 40), plaintext(alert, 9, 1, 0),
			encryptedAlert,
			c.datagrams()[0], // its hello
			fragment(9, clientHello, 0, 10, 0, make([]byte, 10)),
			{}, {handshake}, bytes.Repeat([]byte{0x2f}, 60),
		}
		for _, d := range datagrams {
			r.keyer.Punt(1, testPath, d)
		}
		synctest.Wait()
		want := before
		want.DroppedKeyed += uint64(len(datagrams))
		if got := r.keyer.Stats(); got != want {
			t.Errorf("counted %+v, want %+v", got, want)
		}
		if got := len(c.answers()); got != answers {
			t.Errorf("%d datagrams were answered", got-answers)
		}
		c.close()
	})
}
