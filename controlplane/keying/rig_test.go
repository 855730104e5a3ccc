package keying

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"
	"github.com/pion/srtp/v3"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// rig is a Keyer with pion peers around it, joined by calls. What comes of the
// sessions is collected.
type rig struct {
	t     *testing.T
	keyer *Keyer

	mu      sync.Mutex
	clients map[msg.SessionID]*client
	keys    map[msg.SessionID]msg.Keys
	failed  map[msg.SessionID]error
	settled chan msg.SessionID
}

// line is one direction between a client and the Keyer: what of the i-th
// datagram arrives, and what else.
type line func(i int, b []byte) [][]byte

func clear1(_ int, b []byte) [][]byte { return [][]byte{b} }

func newRig(t *testing.T, cfg Config) *rig {
	t.Helper()
	r := &rig{
		t:       t,
		clients: map[msg.SessionID]*client{},
		keys:    map[msg.SessionID]msg.Keys{},
		failed:  map[msg.SessionID]error{},
		settled: make(chan msg.SessionID, 1000),
	}
	cfg.Certificate = testCertificate(t)
	if cfg.Send == nil {
		cfg.Send = r.send
	}
	cfg.Done = func(id msg.SessionID, path pkt.Path, keys msg.Keys, flight []byte) {
		r.mu.Lock()
		r.keys[id] = keys
		r.mu.Unlock()
		if flight != nil { // an empty datagram ends some peers
			cfg.Send(id, path, flight)
		}
		r.settled <- id
	}
	cfg.Failed = func(id msg.SessionID, err error) {
		r.mu.Lock()
		r.failed[id] = err
		r.mu.Unlock()
		r.settled <- id
	}
	var err error
	if r.keyer, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	return r
}

func testCertificate(t testing.TB) tls.Certificate {
	t.Helper()
	certificate, err := NewCertificate()
	if err != nil {
		t.Fatal(err)
	}
	return certificate
}

func (r *rig) send(id msg.SessionID, _ pkt.Path, b []byte) {
	if c := r.client(id); c != nil {
		c.receive(b)
	}
}

func (r *rig) client(id msg.SessionID) *client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.clients[id]
}

func (r *rig) outcome(id msg.SessionID) (keys msg.Keys, done bool, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	keys, done = r.keys[id]
	return keys, done, r.failed[id]
}

var testPath = pkt.Path{Remote: pkt.AddrFrom(netip.MustParseAddrPort("192.0.2.1:5000"))}

// client is a pion peer with its two lines: a DTLS client, unless it serves.
type client struct {
	id          msg.SessionID
	serves      bool
	cookie      bool // serves, and first sends a HelloVerifyRequest
	certificate tls.Certificate
	options     []dtls.Option
	up, down    line

	pipe *packetConn // of an Active one: it holds nothing back
	conn *dtls.Conn

	mu               sync.Mutex
	sent, got        int
	log              [][]byte // what the client sent
	receivedDatagram [][]byte // what was sent to it, before its line
}

// join adds a client, whose fingerprint the Keyer expects.
func (r *rig) join(id msg.SessionID, options ...dtls.Option) *client {
	r.t.Helper()
	c := r.stranger(id, testCertificate(r.t), options...)
	r.keyer.Expect(id, Passive, sha256Of(c.certificate))
	return c
}

// joinServer adds a peer that is to be our DTLS server.
func (r *rig) joinServer(id msg.SessionID, options ...dtls.Option) *client {
	r.t.Helper()
	c := r.stranger(id, testCertificate(r.t), options...)
	c.serves = true
	r.keyer.Expect(id, Active, sha256Of(c.certificate))
	return c
}

// stranger adds a client of which the Keyer knows nothing.
func (r *rig) stranger(id msg.SessionID, certificate tls.Certificate, options ...dtls.Option) *client {
	c := &client{id: id, certificate: certificate, up: clear1, down: clear1}
	c.options = append([]dtls.Option{
		dtls.WithInsecureSkipVerify(true),
		dtls.WithFlightInterval(50 * time.Millisecond),
		dtls.WithSRTPProtectionProfiles(dtls.SRTP_AES128_CM_HMAC_SHA1_80, dtls.SRTP_AEAD_AES_128_GCM),
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
	}, options...)
	if certificate.PrivateKey != nil {
		c.options = append(c.options, dtls.WithCertificates(certificate))
	}
	c.pipe = newPacketConn(Active, pkt.Path{}, func(_ pkt.Path, b []byte) {
		c.mu.Lock()
		i := c.sent
		c.sent++
		c.log = append(c.log, bytes.Clone(b))
		arriving := c.up(i, b)
		c.mu.Unlock()
		for _, d := range arriving {
			buffer := bytes.Clone(d)
			r.keyer.Punt(id, testPath, buffer)
			clear(buffer) // it is the caller's again
		}
	})
	r.mu.Lock()
	r.clients[id] = c
	r.mu.Unlock()
	return c
}

func sha256Of(certificate tls.Certificate) []Fingerprint {
	sum := sha256.Sum256(certificate.Certificate[0])
	return []Fingerprint{{Algorithm: "sha-256", Value: sum[:]}}
}

func (c *client) receive(b []byte) {
	c.mu.Lock()
	i := c.got
	c.got++
	c.receivedDatagram = append(c.receivedDatagram, bytes.Clone(b))
	arriving := c.down(i, b)
	c.mu.Unlock()
	for _, d := range arriving {
		c.pipe.pushRunning(pkt.Path{}, d)
	}
}

func (c *client) datagrams() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.log
}

func (c *client) answers() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.receivedDatagram
}

// connect runs the client's side of the handshake.
func (c *client) connect(limit time.Duration) error {
	conn, err := c.open()
	if err != nil {
		return err
	}
	c.conn = conn
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return conn.HandshakeContext(ctx)
}

func (c *client) open() (*dtls.Conn, error) {
	if c.serves {
		options := []dtls.ServerOption{dtls.WithClientAuth(dtls.RequireAnyClientCert), dtls.WithInsecureSkipVerifyHello(!c.cookie)}
		for _, o := range c.options {
			options = append(options, o)
		}
		return dtls.ServerWithOptions(c.pipe, peerAddr{}, options...)
	}
	var options []dtls.ClientOption
	for _, o := range c.options {
		options = append(options, o)
	}
	return dtls.ClientWithOptions(c.pipe, peerAddr{}, options...)
}

// close ends the client without a word.
func (c *client) close() {
	c.pipe.mute()
	c.conn.Close()
}

// keys derives the client's view of the keys with pion/srtp as the oracle, as
// the Keyer should have them.
func (c *client) keys(t *testing.T) msg.Keys {
	t.Helper()
	profile, _ := c.conn.SelectedSRTPProtectionProfile()
	state, ok := c.conn.ConnectionState()
	if !ok {
		t.Fatal("the client has no state")
	}
	cfg := srtp.Config{Profile: srtp.ProtectionProfile(profile)}
	if err := cfg.ExtractSessionKeysFromDTLS(&state, !c.serves); err != nil {
		t.Fatal(err)
	}
	keys := msg.Keys{Profile: msg.Profile(profile)}
	copy(keys.Remote.Key[:], cfg.Keys.LocalMasterKey)
	copy(keys.Remote.Salt[:], cfg.Keys.LocalMasterSalt)
	copy(keys.Local.Key[:], cfg.Keys.RemoteMasterKey)
	copy(keys.Local.Salt[:], cfg.Keys.RemoteMasterSalt)
	return keys
}

// mustAgree fails unless the session is done and both sides hold the same keys.
func (r *rig) mustAgree(c *client) {
	r.t.Helper()
	keys, done, err := r.outcome(c.id)
	if !done {
		r.t.Fatalf("session %v has no keys: %v", c.id, err)
	}
	if want := c.keys(r.t); keys != want || keys == (msg.Keys{Profile: keys.Profile}) {
		r.t.Fatalf("session %v: keys %x, client has %x", c.id, keys, want)
	}
}
