// Package fair keeps one source from taking what is there for all, at the HTTP
// listeners: it says whose a request is (Source, Local), how many connections a source may
// have (Connections) and how often it may do what costs or what is guessing (Quota).
// A source is an IPv4 address or an IPv6 network of 64 bits. What it keeps is
// bounded, however many sources there are.
package fair

import "sluice/netopt/attr"

// Attrs declares what one source may do.
var Attrs attr.Table

var trustedProxies = Attrs.List(attr.Decl{
	Path: "http/trusted_proxies", Mode: attr.RW, Max: 64, Check: checkPrefix, Since: "0.1",
	Doc: `Addresses and networks of reverse proxies in front of this server. What one of them says in X-Forwarded-For
		counts as the source of a request, for the limits of one source; otherwise all clients of a proxy are one source.
		How many connections a proxy has is not limited by limits/http_source_connections.
		List only proxies that set the field themselves: who is trusted can claim any source.`,
})

var (
	connectionsAttr = Attrs.Int(attr.Decl{
		Path: "limits/http_connections", Unit: "connections", Mode: attr.RW, Min: 16, Max: 1 << 20, Default: "8192", Since: "0.1",
		Doc: `How many connections there may be to http/listen and http/tls_listen together; as many again to admin/listen. One more
			is closed at once. A lower value closes none.`,
	})
	ofSourceAttr = Attrs.Int(attr.Decl{
		Path: "limits/http_source_connections", Unit: "connections", Mode: attr.RW, Min: 1, Max: 1 << 20, Default: "1024", Since: "0.1",
		Doc: "How many of these one source may have. A source is an IPv4 address or an IPv6 network of 64 bits.",
	})
	connectionsGauge = Attrs.Gauge(attr.Decl{
		Path: "http_connections", Unit: "connections", Since: "0.1", Doc: "Connections to the HTTP listeners.",
	})
	connectionsRefused = Attrs.CounterVec(attr.Decl{
		Path: "http_refused_connections", Unit: "connections", Since: "0.1", Label: "reason", Values: []string{"total", "source"},
		Doc: "Connections that were closed at once because of limits/http_connections or limits/http_source_connections.",
	})
)

var (
	patchesAttr = Attrs.Int(attr.Decl{
		Path: "limits/patches_per_second", Mode: attr.RW, Min: 1, Max: 1 << 20, Default: "256", Since: "0.1",
		Doc: `How many PATCH requests one source may make in a second: candidates, ICE restarts and answers to counter-offers. One
			more is refused with 429.`,
	})
	patchesRefused = Attrs.Counter(attr.Decl{
		Path: "refused_patches", Unit: "patches", Since: "0.1", Doc: "PATCH requests that were refused because of limits/patches_per_second.",
	})
	guessesAttr = Attrs.Int(attr.Decl{
		Path: "limits/token_guesses_per_minute", Mode: attr.RW, Min: 1, Max: 1 << 20, Default: "60", Since: "0.1",
		Doc: `How many requests of one source may carry a token that is none in a minute, to publish, to watch or to write to the tree.
			Then all of its requests that carry one are refused with 429 until that is less again.`,
	})
	guessesRefused = Attrs.Counter(attr.Decl{
		Path: "refused_token_guesses", Unit: "guesses", Since: "0.1", Doc: "Requests with tokens that were refused unread because of limits/token_guesses_per_minute.",
	})
)
