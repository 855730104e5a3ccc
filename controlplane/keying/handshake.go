package keying

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/elliptic"
	"github.com/pion/logging"

	"sluice/dataplane/msg"
)

// exporterLabel is what SRTP keys are derived under (RFC 5764 section 4.2).
const exporterLabel = "EXTRACTOR-dtls_srtp"

// flightInterval is when a flight is first sent again; it doubles from there.
// DTLS proposes 1 s for lines that nothing is known of (RFC 6347 section
// 4.2.4.1); a viewer should not wait that long for one lost datagram.
const flightInterval = 50 * time.Millisecond

// mtu is what DTLS may use before anything is known of the path: the same bound
// that RTP payloads keep to.
const mtu = 1200

var errNoSRTP = errors.New("the peer negotiated no SRTP profile")

// profiles are the SRTP profiles in our order, which is the one that counts: AEAD first,
// since one pass of AES-GCM costs a fraction of AES-CM and HMAC-SHA1, and 128
// bits before 256, which cost more and protect nothing that the handshake's
// P-256 does not.
var profiles = []dtls.SRTPProtectionProfile{
	dtls.SRTP_AEAD_AES_128_GCM,
	dtls.SRTP_AEAD_AES_256_GCM,
	dtls.SRTP_AES128_CM_HMAC_SHA1_80,
}

// commonOptions returns what all handshakes have in common.
func commonOptions() []dtls.Option {
	return []dtls.Option{
		// The one curve that every WebRTC peer has (RFC 8827 section 6.5). Most
		// peers would prefer X25519, which costs us more.
		dtls.WithEllipticCurves(elliptic.P256),
		dtls.WithExtendedMasterSecret(dtls.RequireExtendedMasterSecret),
		dtls.WithSRTPProtectionProfiles(profiles...),
		dtls.WithFlightInterval(flightInterval),
		dtls.WithMTU(mtu),
		dtls.WithLoggerFactory(&logging.DefaultLoggerFactory{DefaultLogLevel: logging.LogLevelDisabled}),
	}
}

// open makes the DTLS connection of a session. Certificates are self-signed;
// which one is right, verify says by its hash. Ours is given by callback: of a list
// of certificates pion makes an index by name, parsing each, in every handshake.
func (k *Keyer) open(s *session, verify func([][]byte, [][]*x509.Certificate) error) (*dtls.Conn, error) {
	common := append(slices.Clip(k.options), dtls.WithVerifyPeerCertificate(verify))
	if s.role == Active {
		options := []dtls.ClientOption{
			// The suite that every WebRTC peer has (RFC 8827 section 6.5), and
			// the same for a server whose certificate is RSA.
			dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256),
			dtls.WithGetClientCertificate(func(*dtls.CertificateRequestInfo) (*tls.Certificate, error) { return &k.cfg.Certificate, nil }),
			dtls.WithInsecureSkipVerify(true),
		}
		for _, o := range common {
			options = append(options, o)
		}
		return dtls.ClientWithOptions(s.conn, peerAddr{}, options...)
	}
	options := []dtls.ServerOption{
		dtls.WithCipherSuites(dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256),
		dtls.WithGetCertificate(func(*dtls.ClientHelloInfo) (*tls.Certificate, error) { return &k.cfg.Certificate, nil }),
		dtls.WithClientAuth(dtls.RequireAnyClientCert),
		// A HelloVerifyRequest shows that the client's address is not forged
		// (RFC 6347 section 4.2.1). A connectivity check with our password has
		// shown that before the data plane punted anything from it.
		dtls.WithInsecureSkipVerifyHello(true),
	}
	for _, o := range common {
		options = append(options, o)
	}
	return dtls.ServerWithOptions(s.conn, peerAddr{}, options...)
}

// handshake carries a handshake through and takes the connection down again. It
// returns the keys and what has to be kept, or an error.
func (k *Keyer) handshake(s *session) (msg.Keys, *kept, error) {
	ctx, cancel := context.WithTimeout(context.Background(), k.cfg.Timeout)
	defer cancel()
	// The peer's proof of its certificate is checked before this is called,
	// and our Finished is not sent before it returns, whichever side we are.
	proved := false
	verify := func(certificates [][]byte, _ [][]*x509.Certificate) error {
		if err := check(certificates[0], s.peer); err != nil {
			return err
		}
		proved = true
		return nil
	}
	conn, err := k.open(s, verify)
	if err != nil {
		return msg.Keys{}, nil, err
	}
	// Whatever happens, nothing of the connection is left afterwards.
	defer conn.Close()
	err = conn.HandshakeContext(ctx)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return msg.Keys{}, nil, fmt.Errorf("no end of the DTLS handshake in %v", k.cfg.Timeout)
	case err != nil:
		return msg.Keys{}, nil, err
	case !proved:
		return msg.Keys{}, nil, errNoCertificate
	}
	keys, err := exportKeys(conn, s.role)
	if err != nil {
		return msg.Keys{}, nil, err
	}
	s.conn.mute()
	conn.Close()
	return keys, s.conn.recorded(), nil
}

// exportKeys derives the SRTP keys: client key, server key, client salt, server
// salt (RFC 5764 section 4.2).
func exportKeys(conn *dtls.Conn, role Role) (keys msg.Keys, err error) {
	profile, ok := conn.SelectedSRTPProtectionProfile()
	if !ok {
		return keys, errNoSRTP
	}
	state, ok := conn.ConnectionState()
	if !ok {
		return keys, errors.New("the DTLS connection has no state to export keys from")
	}
	keys.Profile = msg.Profile(profile)
	key, salt := keyLengths(keys.Profile)
	material, err := state.ExportKeyingMaterial(exporterLabel, nil, 2*key+2*salt)
	if err != nil {
		return keys, err
	}
	defer clear(material)
	client, server := &keys.Remote, &keys.Local
	if role == Active {
		client, server = server, client
	}
	rest := material
	for _, part := range []struct {
		to  []byte
		len int
	}{
		{client.Key[:], key}, {server.Key[:], key}, {client.Salt[:], salt}, {server.Salt[:], salt},
	} {
		copy(part.to, rest[:part.len])
		rest = rest[part.len:]
	}
	return keys, nil
}

// keyLengths returns the lengths of a profile's master key and salt in bytes
// (RFC 5764 section 4.1.2, RFC 7714 section 12).
func keyLengths(p msg.Profile) (key, salt int) {
	switch p {
	case msg.ProfileAES256GCM:
		return 32, 12
	case msg.ProfileAES128GCM:
		return 16, 12
	default:
		return 16, 14
	}
}
