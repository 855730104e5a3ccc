package whip

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
)

// iceServer is a STUN or TURN server that clients are told of.
type iceServer struct {
	uri                  string // RFC 7064, RFC 7065
	username, credential string // of a TURN server
}

// parseICEServer reads an entry of ice/servers.
func parseICEServer(entry string) (iceServer, error) {
	fields := strings.Split(entry, ";")
	s := iceServer{uri: fields[0]}
	for _, f := range fields[1:] {
		switch name, value, _ := strings.Cut(f, "="); {
		case name == "username" && s.username == "" && value != "":
			s.username = value
		case name == "credential" && s.credential == "" && value != "":
			s.credential = value
		default:
			return s, fmt.Errorf("has the field %.40q; username=… and credential=… are known, once each", f)
		}
	}
	return s, s.check()
}

// check says what is wrong with the URI, or with credentials that do not go with
// it: browsers take none for STUN, and refuse TURN without (W3C webrtc section 4.4.1.3).
func (s iceServer) check() error {
	scheme, rest, _ := strings.Cut(s.uri, ":")
	turn := scheme == "turn" || scheme == "turns"
	if !turn && scheme != "stun" && scheme != "stuns" {
		return errors.New("is not a URI of stun:, stuns:, turn: or turns:")
	}
	host, transport, query := strings.Cut(rest, "?")
	if query && (!turn || transport != "transport=udp" && transport != "transport=tcp") {
		return fmt.Errorf("has the query %.40q; only turn: and turns: have one, ?transport=udp or ?transport=tcp", transport)
	}
	if err := checkHost(host); err != nil {
		return err
	}
	switch named := s.username != "" && s.credential != ""; {
	case turn && !named:
		return errors.New("lacks ;username=… or ;credential=…, which TURN needs")
	case !turn && (s.username != "" || s.credential != ""):
		return errors.New("has credentials, which STUN makes no use of")
	}
	return nil
}

// checkHost checks a host with or without a port.
func checkHost(text string) error {
	host := text
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.HasSuffix(text, "]") {
		var port string
		var err error
		if host, port, err = net.SplitHostPort(text); err != nil {
			return errors.New("has a host that is not a name, an IPv4 address or [an IPv6 address]")
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			return fmt.Errorf("has the port %.16q; 1 to 65535 are allowed", port)
		}
	}
	host = strings.Trim(host, "[]")
	if host == "" || strings.Trim(host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._:") != "" {
		return errors.New("has a host that is not a name, an IPv4 address or [an IPv6 address]")
	}
	return nil
}

// link is the server as a Link header field (RFC 9725 section 4.6).
func (s iceServer) link() string {
	text := "<" + s.uri + `>; rel="ice-server"`
	if s.username != "" {
		text += "; username=" + quoted(s.username) + "; credential=" + quoted(s.credential) + `; credential-type="password"`
	}
	return text
}

// quoted writes a quoted-string (RFC 9110 section 5.6.4).
func quoted(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// linkServers tells a client of the STUN and TURN servers.
func (h *handler) linkServers(head http.Header) {
	for _, entry := range iceServers.Get(h.tree) {
		if s, err := parseICEServer(entry); err == nil { // the attribute was checked
			head.Add("Link", s.link())
		}
	}
}
