package keying

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
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
			testProgram(t, profile, "openssl", "s_client", "-dtls1_2", "-use_srtp", name, "-connect", "ADDRESS",
				"-cert", "CERTIFICATE", "-key", "KEY",
				"-keymatexport", exporterLabel, "-keymatexportlen", strconv.Itoa(2*key+2*salt))
		})
	}
}

func TestGnuTLSClient(t *testing.T) {
	testProgram(t, msg.ProfileAES128CMSHA180, "gnutls-cli", "--udp", "--insecure", "--no-ca-verification",
		"--srtp-profiles", "SRTP_AES128_CM_HMAC_SHA1_80", "--port", "PORT", "--x509certfile", "CERTIFICATE",
		"--x509keyfile", "KEY", "--keymatexport", exporterLabel, "--keymatexportsize", "60", "127.0.0.1")
}

// testProgram runs a DTLS client program against a Keyer behind a UDP socket.
// ADDRESS, PORT, CERTIFICATE and KEY in its arguments are replaced.
func testProgram(t *testing.T, profile msg.Profile, program string, args ...string) {
	if _, err := exec.LookPath(program); err != nil {
		t.Skipf("%s is not installed (Debian packages openssl, gnutls-bin)", program)
	}
	r, socket := udpRig(t)
	certificate := testCertificate(t)
	r.keyer.Expect(1, sha256Of(certificate))
	certificateFile, keyFile := writePEM(t, certificate.Certificate[0], certificate.PrivateKey)
	replacer := strings.NewReplacer(
		"ADDRESS", socket.LocalAddr().String(),
		"PORT", strconv.Itoa(socket.LocalAddr().(*net.UDPAddr).Port),
		"CERTIFICATE", certificateFile, "KEY", keyFile)
	for i := range args {
		args[i] = replacer.Replace(args[i])
	}

	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	client := exec.CommandContext(ctx, program, args...)
	stdin, err := client.StdinPipe() // open until the end: the program leaves when told
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	var output bytes.Buffer
	client.Stdout, client.Stderr = &output, &output
	if err := client.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- client.Wait() }()
	select {
	case <-r.settled:
	case err := <-ended:
		t.Fatalf("%s ended before it was keyed: %v\n%s", program, err, &output)
	}
	r.keyer.Close(1)
	<-ended // by our close_notify, else by the context

	keys, done, err := r.outcome(1)
	if !done || keys.Profile != profile {
		t.Fatalf("done %v, profile %d, error %v; want profile %d\n%s", done, keys.Profile, err, profile, &output)
	}
	if ctx.Err() != nil {
		t.Errorf("%s did not heed close_notify", program)
	}
	match := keyMaterial.FindSubmatch(output.Bytes())
	if match == nil {
		t.Fatalf("%s prints no key material:\n%s", program, &output)
	}
	if got := strings.ToLower(string(match[1])); got != hex.EncodeToString(material(keys)) {
		t.Errorf("keys %x, %s has %s", material(keys), program, got)
	}
}

// udpRig is a rig whose clients are behind a UDP socket, all of them session 1.
func udpRig(t *testing.T) (*rig, *net.UDPConn) {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	r := newRig(t, Config{Send: func(_ msg.SessionID, path pkt.Path, b []byte) {
		socket.WriteToUDPAddrPort(b, path.Remote.AddrPort())
	}})
	go func() {
		b := make([]byte, 2048)
		for {
			n, from, err := socket.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			r.keyer.Punt(1, pkt.Path{Remote: pkt.AddrFrom(from)}, b[:n])
		}
	}()
	return r, socket
}

// material is the exporter's output that keys were cut from.
func material(keys msg.Keys) []byte {
	key, salt := keyLengths(keys.Profile)
	return slices.Concat(keys.Remote.Key[:key], keys.Local.Key[:key], keys.Remote.Salt[:salt], keys.Local.Salt[:salt])
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
