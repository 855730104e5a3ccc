package keying

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/big"
	mathrand "math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/protocol/extension"
	handshakepkg "github.com/pion/dtls/v3/pkg/protocol/handshake"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

func TestKeysAgreeForEveryProfile(t *testing.T) {
	const (
		gcm128 = dtls.SRTP_AEAD_AES_128_GCM
		gcm256 = dtls.SRTP_AEAD_AES_256_GCM
		cm80   = dtls.SRTP_AES128_CM_HMAC_SHA1_80
		cm32   = dtls.SRTP_AES128_CM_HMAC_SHA1_32
	)
	for _, test := range []struct {
		offered []dtls.SRTPProtectionProfile
		want    msg.Profile
	}{
		{[]dtls.SRTPProtectionProfile{gcm128}, msg.ProfileAES128GCM},
		{[]dtls.SRTPProtectionProfile{gcm256}, msg.ProfileAES256GCM},
		{[]dtls.SRTPProtectionProfile{cm80}, msg.ProfileAES128CMSHA180},
		{[]dtls.SRTPProtectionProfile{cm32, cm80, gcm256, gcm128}, msg.ProfileAES128GCM},
		{[]dtls.SRTPProtectionProfile{cm80, gcm256}, msg.ProfileAES256GCM},
	} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{})
			c := r.join(1, dtls.WithSRTPProtectionProfiles(test.offered...))
			if err := c.connect(time.Second); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r.mustAgree(c)
			if keys, _, _ := r.outcome(1); keys.Profile != test.want {
				t.Errorf("offered %v: got profile %d, want %d", test.offered, keys.Profile, test.want)
			}
			c.close()
		})
	}
}

func rsaCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func TestRSAClientCertificate(t *testing.T) {
	certificate := rsaCertificate(t)
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.stranger(1, certificate)
		r.keyer.Expect(1, Passive, sha256Of(certificate))
		if err := c.connect(time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mustAgree(c)
		c.close()
	})
}

// A large hello comes in several datagrams, and they overtake each other. The
// first to arrive need not hold its beginning.
func TestClientHelloInFragmentsOfAnyOrder(t *testing.T) {
	orders := map[int][][]int{
		100: {{0, 1}, {1, 0}},
		60:  {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}},
	}
	for mtu, perms := range orders {
		for _, perm := range perms {
			t.Run(fmt.Sprint(perm), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { testFragments(t, perm, dtls.WithMTU(mtu)) })
			})
		}
	}
}

func testFragments(t *testing.T, perm []int, options ...dtls.Option) {
	r := newRig(t, Config{})
	c := r.join(1, options...)
	var held [][]byte
	c.up = func(i int, b []byte) [][]byte {
		if i > len(perm) {
			return [][]byte{b}
		}
		if isClientHello(b) != (i < len(perm)) || i < len(perm) && bytes.Equal(b[14:17], b[22:25]) {
			t.Fatalf("datagram %d of the client is %x: the hello should take %d datagrams", i, b, len(perm))
		}
		held = append(held, slices.Clone(b))
		if len(held) != len(perm) {
			return nil
		}
		var shuffled [][]byte
		for _, p := range perm {
			shuffled = append(shuffled, held[p])
		}
		return shuffled
	}
	if err := c.connect(time.Second); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	r.mustAgree(c)
	c.close()
}

// A browser's hello offers DTLS 1.3 with a post-quantum key share, values that
// nobody knows (GREASE, RFC 8701), and so fills two datagrams. What is unknown
// is passed over, and 1.2 is agreed on.
func TestBrowserSizedHello(t *testing.T) {
	for _, perm := range [][]int{{0, 1}, {1, 0}} {
		synctest.Test(t, func(t *testing.T) {
			testFragments(t, perm, dtls.WithClientHelloMessageHook(func(hello handshakepkg.MessageClientHello) handshakepkg.Message {
				hello.CipherSuiteIDs = append([]uint16{0x2a2a, 0x1301, 0x1302}, hello.CipherSuiteIDs...)
				hello.Extensions = slices.DeleteFunc(hello.Extensions, func(e extension.Extension) bool {
					return e.TypeValue() == extension.SupportedEllipticCurvesTypeValue
				})
				const greaseID, x25519MLKEM768, x25519, p256 = 0x1a1a, 0x11ec, 29, 23
				share := binary.BigEndian.AppendUint16([]byte{0, 0}, x25519MLKEM768)
				share = append(binary.BigEndian.AppendUint16(share, 1216), make([]byte, 1216)...)
				binary.BigEndian.PutUint16(share, uint16(len(share)-2))
				hello.Extensions = append(hello.Extensions,
					&rawExtension{greaseID, nil},
					&rawExtension{10, []byte{0, 8, 0x2a, 0x2a, x25519MLKEM768 >> 8, x25519MLKEM768 & 0xff, 0, x25519, 0, p256}},
					&rawExtension{43, []byte{6, 0x2a, 0x2a, 0xfe, 0xfc, 0xfe, 0xfd}},
					&rawExtension{51, share})
				return &hello
			}))
		})
	}
}

// rawExtension is a hello extension by its number and bytes.
type rawExtension struct {
	kind extension.TypeValue
	body []byte
}

func (e *rawExtension) TypeValue() extension.TypeValue { return e.kind }
func (e *rawExtension) Unmarshal([]byte) error         { return nil }
func (e *rawExtension) Marshal() ([]byte, error) {
	b := binary.BigEndian.AppendUint16(nil, uint16(e.kind))
	return append(binary.BigEndian.AppendUint16(b, uint16(len(e.body))), e.body...), nil
}

// Each datagram of either side may be lost, doubled or overtaken by the next.
func TestOneBadDatagram(t *testing.T) {
	faults := map[string]func(victim int) line{
		"lost": func(victim int) line {
			return func(i int, b []byte) [][]byte {
				if i == victim {
					return nil
				}
				return [][]byte{b}
			}
		},
		"doubled": func(victim int) line {
			return func(i int, b []byte) [][]byte {
				if i == victim {
					return [][]byte{b, b}
				}
				return [][]byte{b}
			}
		},
		"overtaken": func(victim int) line {
			var held []byte
			return func(i int, b []byte) [][]byte {
				switch i {
				case victim:
					held = slices.Clone(b)
					return nil
				case victim + 1:
					return [][]byte{b, held}
				}
				return [][]byte{b}
			}
		},
	}
	for name, fault := range faults {
		for victim := range 4 {
			for _, up := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d/up=%v", name, victim, up), func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						r := newRig(t, Config{})
						c := r.join(1, dtls.WithMTU(400)) // several datagrams a flight
						if up {
							c.up = fault(victim)
						} else {
							c.down = fault(victim)
						}
						if err := c.connect(9 * time.Second); err != nil {
							t.Fatal(err)
						}
						synctest.Wait()
						r.mustAgree(c)
						c.close()
					})
				})
			}
		}
	}
}

// A fifth of all datagrams is lost, a tenth doubled, all are late by up to
// 80 ms and so overtake each other.
func TestBadLine(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{})
			c := r.join(1, dtls.WithMTU(400))
			dice := mathrand.New(mathrand.NewPCG(seed, 0))
			bad := func(deliver func([]byte)) line {
				return func(_ int, b []byte) [][]byte {
					copies := 1
					switch roll := dice.IntN(10); {
					case roll < 2:
						copies = 0
					case roll == 2:
						copies = 2
					}
					for range copies {
						late := slices.Clone(b)
						time.AfterFunc(time.Duration(dice.IntN(80))*time.Millisecond, func() { deliver(late) })
					}
					return nil
				}
			}
			c.up = bad(func(b []byte) { r.keyer.Punt(1, testPath, b) })
			c.down = bad(func(b []byte) { c.pipe.pushRunning(pkt.Path{}, b) })
			if err := c.connect(20 * time.Second); err != nil {
				t.Fatalf("seed %d: client: %v, server: %+v", seed, err, r.keyer.Stats())
			}
			r.mustAgree(c)
			c.close()
			time.Sleep(time.Second) // what is still under way arrives
		})
	}
}

// The last flight is lost when the server has no DTLS connection any more. The
// recording completes the client.
func TestLostLastFlightIsReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.join(1)
		lost := 0
		c.down = func(_ int, b []byte) [][]byte {
			if b[0] == changeCipherSpec && lost < 2 {
				lost++
				return nil
			}
			return [][]byte{b}
		}
		if err := c.connect(5 * time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mustAgree(c)
		if got := r.keyer.Stats().Replayed; got != 2 {
			t.Errorf("the last flight was replayed %d times, want 2", got)
		}
		c.close()
	})
}

func TestReplaysAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := keyedSession(t)
		last := c.datagrams()[len(c.datagrams())-1]
		if !repeatsLastFlight(last) {
			t.Fatalf("the client's last datagram is no last flight: %x", last)
		}
		flight := c.answers()[len(c.answers())-1]
		count := func() int { return len(c.answers()) }

		before := count()
		for range 100 {
			r.keyer.Punt(1, testPath, last)
		}
		if got := count() - before; got != 1 {
			t.Errorf("100 repetitions at once got %d answers, want 1", got)
		}
		if got := c.answers()[before]; !slices.Equal(got, flight) {
			t.Errorf("the replay %x is not the flight as it was sent %x", got, flight)
		}
		for range 100 {
			time.Sleep(replayInterval)
			r.keyer.Punt(1, testPath, last)
		}
		if got := count() - before; got != maxReplays {
			t.Errorf("endless repetitions got %d answers, want %d", got, maxReplays)
		}
		if stats := r.keyer.Stats(); stats.Replayed != maxReplays || stats.DroppedKeyed != 200-maxReplays {
			t.Errorf("counted %+v", stats)
		}
		c.close()
	})
}

// keyedSession returns a session 1 that has its keys.
func keyedSession(t *testing.T) (*rig, *client) {
	t.Helper()
	r := newRig(t, Config{})
	c := r.join(1)
	if err := c.connect(time.Second); err != nil {
		t.Fatal(err)
	}
	synctest.Wait()
	r.mustAgree(c)
	return r, c
}

func TestCloseSendsCloseNotify(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, c := keyedSession(t)
		r.keyer.Close(1)
		if _, err := c.conn.Read(make([]byte, 100)); err != io.EOF {
			t.Errorf("the client read %v, want EOF", err)
		}
		if got := r.keyer.Stats(); got.Keyed != 0 || got.KeptBytes != 0 {
			t.Errorf("after Close: %+v", got)
		}
		r.keyer.Close(1)
		c.close()
	})
}

func TestCloseNotifyGoesWherePeerWasHeardLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var paths []pkt.Path
		var r *rig
		r = newRig(t, Config{Send: func(id msg.SessionID, path pkt.Path, b []byte) {
			r.mu.Lock()
			paths = append(paths, path)
			r.mu.Unlock()
			r.send(id, path, b)
		}})
		c := r.join(1)
		if err := c.connect(time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		moved := testPath
		moved.Remote.Port++
		r.keyer.Punt(1, moved, []byte{0})
		r.keyer.Close(1)
		for i, path := range paths {
			want := testPath
			if i >= len(paths)-notices {
				want = moved
			}
			if path != want {
				t.Errorf("datagram %d went to %v, want %v", i, path.Remote, want.Remote)
			}
		}
		c.close()
	})
}

// A session that is closed while its handshake runs, or before its turn, is
// not reported, and leaves nothing.
func TestCloseBeforeKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Parallel: 1})
		mute := func(int, []byte) [][]byte { return nil }
		for id := msg.SessionID(1); id <= 2; id++ {
			c := r.join(id)
			c.down = mute
			if err := c.connect(time.Second); !errors.Is(err, context.DeadlineExceeded) {
				t.Fatalf("client %v: %v", id, err)
			}
			c.close()
		}
		if got := r.keyer.Stats(); got.Running != 1 || got.Queued != 1 {
			t.Fatalf("before Close: %+v", got)
		}
		r.keyer.Close(2)
		r.keyer.Close(1)
		synctest.Wait()
		if got := r.keyer.Stats(); got.Running != 0 || got.Queued != 0 || got.Done+got.Failed != 0 || got.Started != 1 {
			t.Errorf("after Close: %+v", got)
		}
		if len(r.settled) != 0 {
			t.Error("a closed session was reported")
		}
	})
}

// While one handshake blocks the only slot, the next session waits with its
// datagrams, one more is turned away; both get their keys in the end.
func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Parallel: 1, Queue: 1, Timeout: 2 * time.Second})
		stalled := r.join(1)
		stalled.down = func(int, []byte) [][]byte { return nil }
		go stalled.connect(time.Second)
		synctest.Wait()

		waiting, refused := r.join(2, dtls.WithMTU(100)), r.join(3)
		ended := make(chan error, 2)
		go func() { ended <- waiting.connect(20 * time.Second) }()
		synctest.Wait()
		go func() { ended <- refused.connect(20 * time.Second) }()
		synctest.Wait()
		if got := r.keyer.Stats(); got.Running != 1 || got.Queued != 1 || got.DroppedBusy != 1 {
			t.Fatalf("with a blocked slot: %+v", got)
		}
		for range 2 {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		r.mustAgree(waiting)
		r.mustAgree(refused)
		if _, _, err := r.outcome(1); err == nil || !strings.Contains(err.Error(), "2s") {
			t.Errorf("the stalled session ended with %v, want its timeout", err)
		}
		for _, c := range []*client{stalled, waiting, refused} {
			c.close()
		}
	})
}

// A queued session keeps four datagrams or 8 KiB, whichever comes first.
func TestQueuedSessionIsBounded(t *testing.T) {
	hello := make([]byte, recordHeader+handshakeHeader)
	copy(hello, []byte{handshake, 0xfe, 0xfd, 11: 0, 12: handshakeHeader, 13: clientHello})
	large := make([]byte, recordHeader+5000)
	copy(large, []byte{handshake, 0xfe, 0xfd, 11: 5000 >> 8, 12: 5000 & 0xff, 13: clientHello})
	for _, test := range []struct {
		datagram []byte
		kept     int
	}{{hello, 4}, {large, 1}} {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{Parallel: 1, Timeout: time.Second})
			for id := msg.SessionID(1); id <= 2; id++ {
				r.keyer.Expect(id, Passive, nil)
				r.keyer.Punt(id, testPath, hello)
				r.keyer.Punt(id, testPath, nil) // stray, and takes no room
			}
			r.keyer.Close(2)
			r.keyer.Expect(2, Passive, nil)
			for range 10 {
				r.keyer.Punt(2, testPath, test.datagram)
			}
			if got := r.keyer.Stats().DroppedBusy; got != uint64(10-test.kept) {
				t.Errorf("of 10 datagrams of %d bytes %d were dropped, want %d", len(test.datagram), got, 10-test.kept)
			}
			r.keyer.Close(1)
			r.keyer.Close(2)
		})
	}
}

// A storm never runs more handshakes at once than allowed, gives everyone keys
// and leaves no goroutine.
func TestStorm(t *testing.T) {
	const sessions, parallel = 200, 4
	before := runtime.NumGoroutine()
	var r *rig
	r = newRig(t, Config{Parallel: parallel, Queue: sessions, Send: func(id msg.SessionID, path pkt.Path, b []byte) {
		if running := r.keyer.Stats().Running; running > parallel {
			t.Errorf("%d handshakes at once, allowed are %d", running, parallel)
		}
		r.send(id, path, b)
	}})
	clients := make([]*client, sessions)
	ended := make(chan error, sessions)
	for i := range clients {
		clients[i] = r.join(msg.SessionID(i + 1))
	}
	for _, c := range clients {
		go func() { ended <- c.connect(time.Minute) }()
	}
	for range clients {
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
	}
	for range clients {
		<-r.settled
	}
	for _, c := range clients {
		r.mustAgree(c)
		c.close()
	}
	if got := r.keyer.Stats(); got.Done != sessions || got.Failed != 0 || got.Keyed != sessions || got.Started != sessions {
		t.Errorf("counted %+v", got)
	}
	awaitGoroutines(t, before)
}

// awaitGoroutines waits until no more goroutines run than before.
func awaitGoroutines(t *testing.T, before int) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), before)
		}
	}
}

// A keyed session is a few hundred bytes. The bound is structural: one pion
// object, goroutine or pooled buffer a session left behind would break it many
// times over.
func TestKeyedSessionIsSmall(t *testing.T) {
	const sessions, bound = 500, 2000
	r := newRig(t, Config{})
	key := func(id msg.SessionID) {
		c := r.join(id)
		if err := c.connect(time.Minute); err != nil {
			t.Fatal(err)
		}
		<-r.settled
		c.close()
		r.mu.Lock()
		delete(r.clients, id)
		delete(r.keys, id)
		r.mu.Unlock()
	}
	before := runtime.NumGoroutine()
	for id := range msg.SessionID(50) { // pools and tables reach their size
		key(1000 + id)
	}
	awaitGoroutines(t, before)
	base := heap()
	for id := range msg.SessionID(sessions) {
		key(2000 + id)
	}
	awaitGoroutines(t, before)
	each := (heap() - base) / sessions
	stats := r.keyer.Stats()
	t.Logf("%d bytes of heap a keyed session, %d of them datagrams", each, stats.KeptBytes/stats.Keyed)
	if each > bound {
		t.Errorf("a keyed session holds %d bytes of heap, want at most %d", each, bound)
	}
	runtime.KeepAlive(r)
}

func heap() int64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.GC() // the first moves pools to their victims, the second frees them
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

func TestExpectTwiceChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.join(1)
		r.keyer.Expect(1, Passive, nil)
		if err := c.connect(time.Second); err != nil {
			t.Fatal(err)
		}
		r.keyer.Expect(1, Passive, nil)
		synctest.Wait()
		r.mustAgree(c)
		if got := r.keyer.Stats(); got.Keyed != 1 || got.Started != 1 {
			t.Errorf("counted %+v", got)
		}
		c.close()
	})
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	good := func() Config {
		return Config{
			Certificate: testCertificate(t),
			Send:        func(msg.SessionID, pkt.Path, []byte) {},
			Done:        func(msg.SessionID, pkt.Path, msg.Keys, []byte) {},
			Failed:      func(msg.SessionID, error) {},
		}
	}
	if _, err := New(good()); err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*Config){
		"Send":        func(c *Config) { c.Send = nil },
		"Done":        func(c *Config) { c.Done = nil },
		"Failed":      func(c *Config) { c.Failed = nil },
		"Parallel -1": func(c *Config) { c.Parallel = -1 },
		"Queue -2":    func(c *Config) { c.Queue = -2 },
		"Timeout -1s": func(c *Config) { c.Timeout = -time.Second },
		"P-256":       func(c *Config) { c.Certificate = tls.Certificate{} },
	} {
		cfg := good()
		spoil(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not name %q", err, want)
		}
	}
}

// Our last flight, with which the peer has its keys, does not leave before our
// keys are handed over.
func TestLastFlightComesWithTheKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keyed := false
		var r *rig
		r = newRig(t, Config{Send: func(id msg.SessionID, path pkt.Path, b []byte) {
			_, done, _ := r.outcome(id)
			if b[0] == changeCipherSpec && !done {
				t.Error("the last flight was sent before the keys were there")
			}
			keyed = keyed || b[0] == changeCipherSpec
			r.send(id, path, b)
		}})
		c := r.join(1)
		if err := c.connect(time.Second); err != nil {
			t.Fatal(err)
		}
		r.mustAgree(c)
		if !keyed {
			t.Error("no last flight was sent")
		}
		c.close()
	})
}
