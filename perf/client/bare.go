package client

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"

	"github.com/pion/srtp/v3"
	"golang.org/x/sys/unix"
)

// DialBare joins a yardstick (perf/yardstick), a forwarder without sessions: we post our address, it answers with its own and with
// the key of the media between us, in hexadecimal. There is no ICE and no DTLS; the media is the same.
func DialBare(ctx context.Context, hc *http.Client, endpoint string, local netip.Addr) (*Conn, error) {
	if !local.IsValid() {
		var err error
		if local, err = localAddr(endpoint); err != nil {
			return nil, err
		}
	}
	fd, bound, err := open(local)
	if err != nil {
		return nil, err
	}
	c := &Conn{Local: bound, fd: fd, http: hc, bare: true, Profile: srtp.ProtectionProfileAeadAes128Gcm}
	if err := c.agree(ctx, endpoint); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return c, nil
}

func (c *Conn) agree(ctx context.Context, endpoint string) error {
	body, err := c.post(ctx, endpoint, "text/plain", c.Local.String())
	if err != nil {
		return err
	}
	addr, secret, _ := strings.Cut(string(body), " ")
	if c.Remote, err = netip.ParseAddrPort(addr); err != nil {
		return fmt.Errorf("answer of %s: %w", endpoint, err)
	}
	key, err := hex.DecodeString(secret)
	if err != nil {
		return fmt.Errorf("answer of %s: %w", endpoint, err)
	}
	const saltSize = 12 // RFC 7714 section 12; a yardstick's salt is zero
	var err2 error
	c.Out, err = srtp.CreateContext(key, make([]byte, saltSize), c.Profile)
	c.In, err2 = srtp.CreateContext(key, make([]byte, saltSize), c.Profile)
	return errors.Join(err, err2, unix.Connect(c.fd, sockaddr(c.Remote)))
}
