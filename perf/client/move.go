package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Rebind moves the session to a new socket with a port of its own, as a change of network does: the server knows nothing of it
// until the next Check. FD changes; what was on its way to the old socket is lost.
func (c *Conn) Rebind() error {
	fd, bound, err := open(c.Local.Addr())
	if err != nil {
		return err
	}
	if err := unix.Connect(fd, sockaddr(c.Remote)); err != nil {
		unix.Close(fd)
		return os.NewSyscallError("connect", err)
	}
	unix.Close(c.fd)
	c.fd, c.Local = fd, bound
	c.agent.answered = false
	return nil
}

// Answered says whether a check since Dial, Rebind or Restart was answered.
func (c *Conn) Answered() bool { return c.agent.answered }

// Restart restarts ICE (RFC 9725 section 4.3.3): both sides get new credentials, and the next Check nominates with them.
func (c *Conn) Restart(ctx context.Context) error {
	ufrag, pwd := randomHex(4), randomHex(12)
	fragment := fmt.Sprintf("a=ice-ufrag:%s\r\na=ice-pwd:%s\r\nm=audio 9 UDP/TLS/RTP/SAVPF %d\r\na=mid:0\r\na=end-of-candidates\r\n", ufrag, pwd, AudioPT)
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, c.resource, strings.NewReader(fragment))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/trickle-ice-sdpfrag")
	req.Header.Set("If-Match", "*")
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return &StatusError{Code: resp.StatusCode, Body: string(body)}
	}
	var a Answer
	for line := range strings.Lines(string(body)) {
		key, value, _ := strings.Cut(strings.TrimRight(strings.TrimPrefix(line, "a="), "\r\n"), ":")
		a.attribute(key, value)
	}
	if a.Ufrag == "" || a.Pwd == "" {
		return fmt.Errorf("PATCH %s: no ice-ufrag or ice-pwd in the answer", c.resource)
	}
	c.agent = agent{localUfrag: ufrag, localPwd: pwd, remoteUfrag: a.Ufrag, remotePwd: a.Pwd}
	return nil
}
