package config

import "sluice/netopt/attr"

// Attrs declares the metrics of the persistent tree.
var Attrs attr.Table

// What became of a change to a file.
const (
	changeApplied = iota
	changePending
	changeRefused
)

var changeNames = [...]string{"applied", "pending", "refused"}

var (
	changesCounter = Attrs.CounterVec(attr.Decl{
		Path: "config/changes", Unit: "changes", Label: "result", Values: changeNames[:], Since: "0.1",
		Doc: `Changes of files of the persistent tree: applied to the running process; pending, since they take effect at the
			next start or the command line says otherwise; refused.`,
	})
	brokenGauge = Attrs.Gauge(attr.Decl{
		Path: "config/broken_files", Unit: "files", Since: "0.1",
		Doc: "Files of the persistent tree that cannot be read, or whose value is refused. Beside each, NAME.err says why.",
	})
	pendingGauge = Attrs.Gauge(attr.Decl{
		Path: "config/pending_files", Unit: "files", Since: "0.1",
		Doc: "Files of the persistent tree whose value is good but not in effect until the next start. Beside each, NAME.err says why.",
	})
	overflowsCounter = Attrs.Counter(attr.Decl{
		Path: "config/overflows", Unit: "overflows", Since: "0.1",
		Doc: "Times that more happened in the persistent tree than the kernel could tell, so that all of it was read again.",
	})
	unsaidCounter = Attrs.Counter(attr.Decl{
		Path: "config/unwritten_notes", Unit: "notes", Since: "0.1",
		Doc: "Files NAME.err that could not be written or removed, as on a read-only file system. The log says what they would have said.",
	})
)
