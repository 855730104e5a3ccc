package admin

import "sluice/netopt/attr"

// Attrs declares the admin listeners' own attributes and metrics.
var Attrs attr.Table

var (
	tokenAttr = Attrs.Text(attr.Decl{
		Path: "admin/token", Mode: attr.WO, Max: 256, Since: "0.1",
		Doc: `What a request from another machine must carry to write to the tree, as "Authorization: Bearer TOKEN". While it is
			empty, no other machine can write. Requests from this machine need none, unless Forwarded, Via, X-Forwarded-For,
			X-Forwarded-Host, X-Forwarded-Proto or X-Real-IP says that a proxy passed them on. It travels in the clear: put
			admin/listen behind a proxy that speaks TLS where others can listen. A proxy on this machine must set one of these
			fields (nginx sets none by itself) or check credentials itself; otherwise whoever reaches it can write.`,
	})
	watchesAttr = Attrs.Int(attr.Decl{
		Path: "admin/watches_max", Mode: attr.RW, Min: 0, Max: 1024, Default: "32", Since: "0.1",
		Doc: "How many requests may follow changes of the tree at once. One more is refused with 503.",
	})
	watchesGauge = Attrs.Gauge(attr.Decl{
		Path: "admin/watches", Since: "0.1", Doc: "Requests that follow changes of the tree.",
	})
	refusedWatches = Attrs.Counter(attr.Decl{
		Path: "admin/refused_watches", Since: "0.1", Doc: "Requests to follow changes that were refused because of admin/watches_max.",
	})
	lostWatches = Attrs.Counter(attr.Decl{
		Path: "admin/lost_watches", Since: "0.1", Doc: "Requests to follow changes that were ended because the client took them too slowly.",
	})
	refusedWrites = Attrs.Counter(attr.Decl{
		Path: "admin/refused_writes", Since: "0.1", Doc: "Writes from another machine that were refused for want of admin/token.",
	})
)
