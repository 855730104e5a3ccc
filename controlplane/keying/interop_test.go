package keying

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
)

// Stacks that are not pion, as programs, over real sockets: the handshake ends
// well, both sides export the same keys, and close_notify is understood.

var keyMaterial = regexp.MustCompile(`(?i)(?:keying material|key material): ?([0-9a-f]+)`)

func TestOpenSSLClient(t *testing.T) {
	for name, profile := range map[string]msg.Profile{
		"SRTP_AEAD_AES_128_GCM":                        msg.ProfileAES128GCM,
		"SRTP_AEAD_AES_256_GCM":                        msg.ProfileAES256GCM,
		"SRTP_AES128_CM_SHA1_80":                       msg.ProfileAES128CMSHA180,
		"SRTP_AES128_CM_SHA1_80:SRTP_AEAD_AES_128_GCM": msg.ProfileAES128GCM,
	} {
		t.Run(name, func(t *testing.T) {
			key, salt := keyLengths(profile)
			clientProgram(t, "openssl", "s_client", "-dtls1_2", "-use_srtp", name, "-connect", "127.0.0.1:PORT",
				"-cert", "CERTIFICATE", "-key", "KEY",
				"-keymatexport", exporterLabel, "-keymatexportlen", strconv.Itoa(2*key+2*salt)).agrees(profile)
		})
	}
}

func TestGnuTLSClient(t *testing.T) {
	clientProgram(t, "gnutls-cli", "--udp", "--insecure", "--no-ca-verification",
		"--srtp-profiles", "SRTP_AES128_CM_HMAC_SHA1_80", "--port", "PORT", "--x509certfile", "CERTIFICATE",
		"--x509keyfile", "KEY", "--keymatexport", exporterLabel, "--keymatexportsize", "60", "127.0.0.1").agrees(msg.ProfileAES128CMSHA180)
}

// The same with us as the client: FFmpeg's WHIP muxer is a server of OpenSSL's,
// GnuTLS's or others.

func TestOpenSSLServer(t *testing.T) {
	for name, profile := range map[string]msg.Profile{
		"SRTP_AEAD_AES_128_GCM":                        msg.ProfileAES128GCM,
		"SRTP_AEAD_AES_256_GCM":                        msg.ProfileAES256GCM,
		"SRTP_AES128_CM_SHA1_80":                       msg.ProfileAES128CMSHA180,
		"SRTP_AEAD_AES_256_GCM:SRTP_AES128_CM_SHA1_80": msg.ProfileAES256GCM,
	} {
		t.Run(name, func(t *testing.T) {
			key, salt := keyLengths(profile)
			serverProgram(t, testCertificate(t), "openssl", "s_server", "-dtls1_2", "-use_srtp", name, "-accept", "127.0.0.1:PORT",
				"-cert", "CERTIFICATE", "-key", "KEY", "-Verify", "1", "-naccept", "1",
				"-keymatexport", exporterLabel, "-keymatexportlen", strconv.Itoa(2*key+2*salt)).agrees(profile)
		})
	}
}

// One that asks for a cookie first, and shows a certificate of RSA.
func TestOpenSSLServerWithCookieAndRSA(t *testing.T) {
	serverProgram(t, rsaCertificate(t), "openssl", "s_server", "-dtls1_2", "-listen", "-use_srtp", "SRTP_AEAD_AES_128_GCM",
		"-accept", "127.0.0.1:PORT", "-cert", "CERTIFICATE", "-key", "KEY", "-Verify", "1", "-naccept", "1",
		"-keymatexport", exporterLabel, "-keymatexportlen", "56").agrees(msg.ProfileAES128GCM)
}

// A server that does not answer to SRTP gives no keys.
func TestOpenSSLServerWithoutSRTP(t *testing.T) {
	p := serverProgram(t, testCertificate(t), "openssl", "s_server", "-dtls1_2", "-accept", "127.0.0.1:PORT",
		"-cert", "CERTIFICATE", "-key", "KEY", "-naccept", "1")
	p.settles()
	if _, done, err := p.rig.outcome(1); done || err == nil || !strings.Contains(err.Error(), "use_srtp") {
		t.Errorf("done %v, error %v", done, err)
	}
}

// This one prints no key material. That the handshake ended well says that both
// sides have the same master secret.
func TestGnuTLSServer(t *testing.T) {
	p := serverProgram(t, testCertificate(t), "gnutls-serv", "--udp", "--port", "PORT", "--require-client-cert",
		"--srtp-profiles", "SRTP_AES128_CM_HMAC_SHA1_80", "--x509certfile", "CERTIFICATE", "--x509keyfile", "KEY")
	p.settles()
	if keys, done, err := p.rig.outcome(1); !done || keys.Profile != msg.ProfileAES128CMSHA180 {
		t.Errorf("done %v, profile %d, error %v", done, keys.Profile, err)
	}
}

// program is a running DTLS program, and the Keyer that it speaks with as
// session 1.
type program struct {
	*testing.T
	rig    *rig
	role   Role // the Keyer's
	name   string
	ctx    context.Context
	output bytes.Buffer
	ended  chan error
}

// clientProgram runs a DTLS client against a Keyer behind a UDP socket. PORT,
// CERTIFICATE and KEY in its arguments are replaced.
func clientProgram(t *testing.T, name string, args ...string) *program {
	t.Helper()
	socket := udpSocket(t)
	certificate := testCertificate(t)
	p := newProgram(t, socket, name)
	p.rig.keyer.Expect(1, Passive, sha256Of(certificate))
	p.run(certificate, socket.LocalAddr().(*net.UDPAddr).Port, args)
	return p
}

// serverProgram runs a DTLS server, and a Keyer against it.
func serverProgram(t *testing.T, certificate tls.Certificate, name string, args ...string) *program {
	t.Helper()
	reserved := udpSocket(t)
	port := reserved.LocalAddr().(*net.UDPAddr).AddrPort()
	reserved.Close()
	p := newProgram(t, udpSocket(t), name)
	p.role = Active
	p.rig.keyer.Expect(1, Active, sha256Of(certificate))
	p.run(certificate, int(port.Port()), args)
	p.rig.keyer.Reached(1, pkt.Path{Remote: pkt.AddrFrom(port)}) // the hello is repeated until the program listens
	return p
}

func udpSocket(t *testing.T) *net.UDPConn {
	t.Helper()
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return socket
}

// newProgram makes a Keyer whose one peer is behind a UDP socket.
func newProgram(t *testing.T, socket *net.UDPConn, name string) *program {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (Debian packages openssl, gnutls-bin)", name)
	}
	r := newRig(t, Config{Send: func(_ msg.SessionID, path pkt.Path, b []byte) {
		socket.WriteToUDPAddrPort(b, path.Remote.AddrPort())
	}})
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(b)
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err == nil: // not what ICMP says while nobody listens
				r.keyer.Punt(1, pkt.Path{Remote: pkt.AddrFrom(from)}, b[:n])
			}
		}
	}()
	return &program{T: t, rig: r, name: name, ended: make(chan error, 1)}
}

func (p *program) run(certificate tls.Certificate, port int, args []string) {
	p.Helper()
	certificateFile, keyFile := writePEM(p.T, certificate.Certificate[0], certificate.PrivateKey)
	replacer := strings.NewReplacer("PORT", strconv.Itoa(port), "CERTIFICATE", certificateFile, "KEY", keyFile)
	for i := range args {
		args[i] = replacer.Replace(args[i])
	}
	var cancel context.CancelFunc
	p.ctx, cancel = context.WithTimeout(p.Context(), 30*time.Second)
	command := exec.CommandContext(p.ctx, p.name, args...)
	stdin, err := command.StdinPipe() // open until the end: the program leaves when told
	if err != nil {
		p.Fatal(err)
	}
	command.Stdout, command.Stderr = &p.output, &p.output
	if err := command.Start(); err != nil {
		p.Fatal(err)
	}
	left := make(chan struct{})
	go func() {
		defer close(left)
		p.ended <- command.Wait()
	}()
	p.Cleanup(func() {
		cancel()
		stdin.Close()
		<-left
	})
}

// settles waits until the session is keyed or has failed.
func (p *program) settles() {
	p.Helper()
	select {
	case <-p.rig.settled:
	case err := <-p.ended:
		p.Fatalf("%s ended before it was keyed: %v\n%s", p.name, err, &p.output)
	}
}

// agrees ends the session once it is keyed, and sees that the program has the
// same keys and leaves at close_notify.
func (p *program) agrees(profile msg.Profile) {
	p.Helper()
	p.settles()
	p.rig.keyer.Close(1)
	<-p.ended // by our close_notify, else by the context
	keys, done, err := p.rig.outcome(1)
	if !done || keys.Profile != profile {
		p.Fatalf("done %v, profile %d, error %v; want profile %d\n%s", done, keys.Profile, err, profile, &p.output)
	}
	if p.ctx.Err() != nil {
		p.Errorf("%s did not heed close_notify", p.name)
	}
	match := keyMaterial.FindSubmatch(p.output.Bytes())
	if match == nil {
		p.Fatalf("%s prints no key material:\n%s", p.name, &p.output)
	}
	if got, want := strings.ToLower(string(match[1])), hex.EncodeToString(material(keys, p.role)); got != want {
		p.Errorf("keys %s, %s has %s", want, p.name, got)
	}
}

// material is the exporter's output that keys were cut from.
func material(keys msg.Keys, role Role) []byte {
	key, salt := keyLengths(keys.Profile)
	client, server := &keys.Remote, &keys.Local
	if role == Active {
		client, server = server, client
	}
	return slices.Concat(client.Key[:key], server.Key[:key], client.Salt[:salt], server.Salt[:salt])
}

func writePEM(t *testing.T, certificate []byte, key any) (certificateFile, keyFile string) {
	t.Helper()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certificateFile, keyFile = filepath.Join(dir, "certificate.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		certificateFile: {Type: "CERTIFICATE", Bytes: certificate},
		keyFile:         {Type: "PRIVATE KEY", Bytes: pkcs8},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certificateFile, keyFile
}
