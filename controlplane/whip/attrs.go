package whip

import "sluice/netopt/attr"

// Attrs declares the attributes of the signalling.
var Attrs attr.Table

// What ifMatch can be.
const (
	matchRestart = "restart"
	matchAlways  = "always"
	matchNever   = "never"
)

var ifMatch = Attrs.Enum(attr.Decl{
	Path: "whip/if_match", Mode: attr.RW, Values: []string{matchRestart, matchAlways, matchNever}, Since: "0.1",
	Doc: `Which PATCH requests must say by If-Match which ICE session they mean, as RFC 9725 section 4.3.1 wants of all;
		one that does not is answered 428. Some players leave it out when they send candidates, where it does no harm:
		restart asks for it only where ICE restarts. An If-Match that does not fit is answered 412 whatever this says.`,
})

var heartbeat = Attrs.Int(attr.Decl{
	Path: "whep/heartbeat_ms", Unit: "ms", Mode: attr.RW, Min: 100, Max: 600000, Default: "15000", Since: "0.1",
	Doc: `How often a comment is sent on a viewer's event feed, so that proxies do not close it and a viewer that is gone
		is noticed. Feeds that are being followed keep what they began with.`,
})

var iceServers = Attrs.List(attr.Decl{
	Path: "ice/servers", Mode: attr.RW, Max: 16, Check: checkICEServer, Since: "0.1",
	Doc: `STUN and TURN servers that clients are told of by Link header fields (RFC 9725 section 4.6), for clients behind
		firewalls that let nothing through to the media port; this server itself needs none. One an entry:
		stun:HOST, or turn:HOST:PORT?transport=udp;username=NAME;credential=PASSWORD with what browsers need to log in.
		stuns: and turns: are over TLS. The credentials are told to everyone who may publish or watch.`,
})

func checkICEServer(entry string) error {
	_, err := parseICEServer(entry)
	return err
}
