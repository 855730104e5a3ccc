package keying

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/dtls/v3"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// serve runs a DTLS server against the Keyer, which has a path to it.
func (r *rig) serve(c *client, limit time.Duration) error {
	ended := make(chan error, 1)
	go func() { ended <- c.connect(limit) }()
	synctest.Wait()
	r.keyer.Reached(c.id, testPath)
	return <-ended
}

// We are the client of a peer that offered to be passive, with and without its
// cookie exchange: both have the same keys, and there is no last flight of ours.
func TestActive(t *testing.T) {
	for _, profile := range profiles {
		for _, cookie := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v/cookie=%v", profile, cookie), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, Config{})
					c := r.joinServer(1, dtls.WithSRTPProtectionProfiles(profile))
					c.cookie = cookie
					if err := r.serve(c, time.Second); err != nil {
						t.Fatal(err)
					}
					synctest.Wait()
					r.mustAgree(c)
					if got := r.keyer.Stats(); got.Keyed != 1 || got.Started != 1 || got.Done != 1 || got.Running != 0 {
						t.Errorf("counted %+v", got)
					}
					if cookie != slices.ContainsFunc(c.datagrams(), isHelloVerifyRequest) {
						t.Errorf("a cookie was asked for: %v, want %v", !cookie, cookie)
					}
					r.keyer.Close(1)
					if _, err := c.conn.Read(make([]byte, 100)); err != io.EOF {
						t.Errorf("after Close the peer read %v, want EOF", err)
					}
					c.close()
				})
			})
		}
	}
}

func isHelloVerifyRequest(b []byte) bool { return b[0] == handshake && b[recordHeader] == 3 }

// Not a byte is sent before there is a path, whatever the peer says. One
// handshake begins then, however often it is said that there is one; and a peer
// that is to begin itself is left to it.
func TestActiveWaitsForPath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c, passive := r.joinServer(1), r.join(2)
		r.keyer.Punt(1, testPath, fragment(0, clientHello, 0, 100, 0, make([]byte, 100)))
		time.Sleep(time.Minute)
		if got := r.keyer.Stats(); len(c.answers()) != 0 || got.Started != 0 || got.DroppedStray != 1 {
			t.Fatalf("%d datagrams were sent, %+v", len(c.answers()), got)
		}
		ended := make(chan error, 1)
		go func() { ended <- c.connect(time.Second) }()
		synctest.Wait()
		for range 3 {
			r.keyer.Reached(1, testPath)
			r.keyer.Reached(2, testPath)
			r.keyer.Reached(3, testPath)
		}
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.keyer.Reached(1, testPath)
		synctest.Wait()
		r.mustAgree(c)
		if got := r.keyer.Stats(); got.Started != 1 || len(passive.answers()) != 0 {
			t.Errorf("%+v, %d datagrams to the passive session", got, len(passive.answers()))
		}
		c.close()
	})
}

// The hello is repeated after 50 ms, 100 ms more, and so on (RFC 6347 section
// 4.2.4), to where the peer was reached, until the time for the handshake is up.
func TestActiveRepeatsHello(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var sent []time.Duration
		r := newRig(t, Config{Timeout: 2 * time.Second, Send: func(_ msg.SessionID, path pkt.Path, b []byte) {
			if path != testPath || !isClientHello(b) {
				t.Errorf("to %v: %x", path.Remote, b)
			}
			sent = append(sent, time.Since(start))
		}})
		r.keyer.Expect(1, Active, nil)
		r.keyer.Reached(1, testPath)
		<-r.settled
		want := []time.Duration{0, 50, 150, 350, 750, 1550}
		for i := range want {
			want[i] *= time.Millisecond
		}
		if !slices.Equal(sent, want) {
			t.Errorf("hellos at %v, want %v", sent, want)
		}
		if _, _, err := r.outcome(1); err == nil || !strings.Contains(err.Error(), "2s") {
			t.Errorf("ended with %v", err)
		}
	})
}

// Each datagram of either side may be lost, and on a bad line most things happen.
func TestActiveBadLine(t *testing.T) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			r := newRig(t, Config{})
			c := r.joinServer(1, dtls.WithMTU(400))
			dice := mathrand.New(mathrand.NewPCG(seed, 1))
			bad := func(deliver func([]byte)) line {
				return func(_ int, b []byte) [][]byte {
					for range []int{0, 0, 1, 1, 1, 1, 1, 1, 1, 2}[dice.IntN(10)] {
						late := slices.Clone(b)
						time.AfterFunc(time.Duration(dice.IntN(80))*time.Millisecond, func() { deliver(late) })
					}
					return nil
				}
			}
			c.up = bad(func(b []byte) { r.keyer.Punt(1, testPath, b) })
			c.down = bad(func(b []byte) { c.pipe.pushRunning(pkt.Path{}, b) })
			if err := r.serve(c, 20*time.Second); err != nil {
				t.Fatalf("seed %d: server: %v, client: %+v", seed, err, r.keyer.Stats())
			}
			<-r.settled
			r.mustAgree(c)
			c.close()
			time.Sleep(time.Second)
		})
	}
}

// A server without the certificate of its description gets no keys and is told
// why by an alert, before it hears that we have finished.
func TestActiveUnprovedPeerGetsNoKeys(t *testing.T) {
	announced, other := testCertificate(t), testCertificate(t)
	stolen := tls.Certificate{Certificate: announced.Certificate, PrivateKey: other.PrivateKey}
	for name, test := range map[string]struct {
		shows  tls.Certificate
		expect []Fingerprint
		reason string
	}{
		"other certificate":                      {other, sha256Of(announced), "announced"},
		"no fingerprint":                         {announced, nil, "no fingerprint"},
		"the right certificate with another key": {stolen, sha256Of(announced), ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, Config{})
				c := r.stranger(1, test.shows)
				c.serves = true
				r.keyer.Expect(1, Active, test.expect)
				if err := r.serve(c, 30*time.Second); err == nil || !strings.Contains(err.Error(), "BadCertificate") {
					t.Errorf("the server got %v", err)
				}
				synctest.Wait()
				if _, done, err := r.outcome(1); done || err == nil || !strings.Contains(err.Error(), test.reason) {
					t.Errorf("done %v, error %v; want one that names %q", done, err, test.reason)
				}
				for _, d := range c.answers() {
					if bytes.Contains(d, []byte{changeCipherSpec, 0xfe, 0xfd}) {
						t.Errorf("it was told that we have finished: %x", d)
					}
				}
				if got := r.keyer.Stats(); got.Failed != 1 || got.Keyed != 0 {
					t.Errorf("counted %+v", got)
				}
				c.close()
			})
		})
	}
}

// A server that wants no SRTP says so by an alert, which ends the handshake and is
// the reason told. (One that keeps silent about SRTP: TestOpenSSLServerWithoutSRTP.)
func TestActivePeerWithoutSRTPGetsNoKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.joinServer(1)
		c.options = []dtls.Option{dtls.WithCertificates(c.certificate)}
		r.serve(c, 5*time.Second)
		synctest.Wait()
		if _, done, err := r.outcome(1); done || err == nil || !strings.Contains(err.Error(), "InsufficientSecurity") {
			t.Errorf("done %v, error %v", done, err)
		}
		c.close()
	})
}

// What a server says again after the handshake gets no answer: there is nothing
// that it could miss. Neither does anything else.
func TestActiveAnswersNothingAfterKeying(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{})
		c := r.joinServer(1)
		if err := r.serve(c, time.Second); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		r.mustAgree(c)
		before := len(c.answers())
		said := c.datagrams()
		for range 3 {
			for _, d := range said {
				r.keyer.Punt(1, testPath, d)
				time.Sleep(time.Second)
			}
		}
		r.keyer.Punt(1, testPath, plaintext(alert, 9, 2, 40))
		synctest.Wait()
		if got := len(c.answers()) - before; got != 0 {
			t.Errorf("%d datagrams were answered", got)
		}
		if got := r.keyer.Stats(); got.DroppedKeyed != uint64(3*len(said)+1) || got.Keyed != 1 || got.Replayed != 0 {
			t.Errorf("counted %+v", got)
		}
		c.close()
	})
}

// Active sessions wait for their turn as the others do, but none is turned away
// for want of room: nobody would say anything again.
func TestActiveWaitsForTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, Config{Parallel: 1, Queue: 1, Timeout: 2 * time.Second})
		r.keyer.Expect(1, Active, nil)
		r.keyer.Reached(1, testPath)
		var ended []chan error
		var all []*client
		for id := msg.SessionID(2); id <= 5; id++ {
			c := r.joinServer(id)
			all = append(all, c)
			done := make(chan error, 1)
			ended = append(ended, done)
			go func() { done <- c.connect(20 * time.Second) }()
			r.keyer.Reached(id, testPath)
			r.keyer.Reached(id, testPath)
		}
		synctest.Wait()
		if got := r.keyer.Stats(); got.Running != 1 || got.Queued != 4 || got.DroppedBusy+got.DroppedShare != 0 {
			t.Fatalf("behind a stalled one: %+v", got)
		}
		r.keyer.Close(5)
		for i, c := range all[:3] {
			if err := <-ended[i]; err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			r.mustAgree(c)
			c.close()
		}
		if err := <-ended[3]; !errors.Is(err, context.DeadlineExceeded) || len(all[3].answers()) != 0 {
			t.Errorf("the closed one: %v, %d datagrams", err, len(all[3].answers()))
		}
		all[3].close()
	})
}
