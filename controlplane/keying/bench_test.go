package keying

import (
	"context"
	"testing"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/logging"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// BenchmarkHandshake keys sessions one after the other, in memory: what it takes is ours
// and as much of a pion client.
func BenchmarkHandshake(b *testing.B) {
	var peer *packetConn
	keyed := make(chan struct{}, 1)
	k, err := New(Config{
		Certificate: testCertificate(b),
		Send:        func(_ msg.SessionID, _ pkt.Path, d []byte) { peer.pushRunning(pkt.Path{}, d) },
		Done: func(_ msg.SessionID, _ pkt.Path, _ msg.Keys, flight []byte) {
			peer.pushRunning(pkt.Path{}, flight)
			keyed <- struct{}{}
		},
		Failed: func(_ msg.SessionID, err error) { b.Error(err) },
	})
	if err != nil {
		b.Fatal(err)
	}
	certificate := testCertificate(b)
	fingerprints := sha256Of(certificate)
	b.ReportAllocs()
	for b.Loop() {
		k.Expect(1, Passive, fingerprints)
		peer = newPacketConn(Active, pkt.Path{}, func(_ pkt.Path, d []byte) { k.Punt(1, testPath, d) })
		conn, err := dtls.ClientWithOptions(peer, peerAddr{},
			dtls.WithCertificates(certificate),
			dtls.WithInsecureSkipVerify(true),
			dtls.WithFlightInterval(time.Minute),
			dtls.WithSRTPProtectionProfiles(dtls.SRTP_AEAD_AES_128_GCM),
			dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}))
		if err != nil {
			b.Fatal(err)
		}
		if err := conn.HandshakeContext(context.Background()); err != nil {
			b.Fatal(err)
		}
		<-keyed
		peer.mute()
		conn.Close()
		k.Close(1)
	}
}
