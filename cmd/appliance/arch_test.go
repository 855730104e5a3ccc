package main

import (
	"go/ast"
	"slices"
	"strings"
	"testing"
)

// room is one package of the module and what it may import of the others.
type room struct {
	pkg  string
	pure bool   // sans-IO: decides, and touches neither kernel nor clock
	may  string // packages of the module that it may import
	why  string // it is here, and may import that
}

// policy is who may import whom, from the bottom up: a line names only packages
// of lines above it, so there is no way round in a circle, and the data plane
// cannot know the control plane. It is a statement of intent: do not change it
// to make a build pass, change it when the plan of the house changes.
var policy = []room{
	{"netopt/attr", true, "", "the declarations of what can be set and measured; every package that owns values needs it"},
	{"netopt/host/hosttest", false, "", "namespaces for tests of the kernel, of whatever package"},
	{"netopt/attr/attrtest", false, "netopt/attr", "the test that holds docs/abi to the declarations"},
	{"netopt/metrics", false, "netopt/attr", "the table as OpenMetrics; nobody else knows Prometheus"},
	{"netopt/config", false, "netopt/attr", "the table as files, read and watched"},
	{"netopt/hostmetrics", false, "netopt/attr", "what the machine measures of itself; knows no media"},
	{"netopt/attrsock", false, "netopt/attr", "the table over a unix socket, for clients; what serves it is controlplane/admin"},
	{"netopt/attrfs", false, "netopt/attr netopt/attrsock", "the table as files through FUSE; a client like any other"},
	{"netopt/document", false, "netopt/attr", "the table as one document; nobody else knows YAML"},
	{"netopt/tune", true, "", "what a host should be set to: facts to a plan, and nothing of how either gets here"},
	{"netopt/probe", false, "", "what the machine alone takes; measures nothing of ours, so it knows none of it"},
	{"netopt/ethtool", false, "", "the kernel's netlink interface to devices; decides nothing"},
	{"netopt/host", false, "netopt/attr netopt/ethtool netopt/tune", "what the host has, said through attributes; carries plans out"},

	{"dataplane/clock", true, "", "instants; everything below the door counts in them"},
	{"dataplane/histogram", true, "", "counts durations, whatever they are of"},
	{"dataplane/codec", true, "", "what a payload says, whatever packet it came in"},
	{"dataplane/wire", true, "dataplane/clock", "bytes as they are on the wire; NTP times among them"},
	{"dataplane/internal/prefetch", true, "", "a hint to the processor, whatever lies there"},
	{"dataplane/pkt", true, "dataplane/clock dataplane/internal/prefetch", "packets and slabs: the currency, so it knows nobody who pays with it"},
	{"dataplane/msg", true, "dataplane/codec dataplane/pkt dataplane/wire", "the vocabulary of both planes: words for what the leaves name, no behaviour"},
	{"dataplane/history", true, "dataplane/clock dataplane/wire", "keeps packets; does not know who reads them"},
	{"dataplane/ice", true, "dataplane/clock dataplane/pkt dataplane/wire", "answers checks and knows addresses; nothing of media"},
	{"dataplane/aesgcm", true, "", "the cipher of most packets, in the processor's own words"},
	{"dataplane/srtp", true, "dataplane/aesgcm dataplane/internal/prefetch dataplane/msg dataplane/wire", "seals and opens packets; the only package that runs pion's ciphers"},
	{"dataplane/rewrite", true, "dataplane/clock dataplane/history dataplane/wire", "one viewer's numbering; nothing of keys or addresses"},
	{"dataplane/feedback", true, "dataplane/clock dataplane/wire", "arithmetic over reports; nothing of sessions"},
	{"dataplane/engine", true, "dataplane/clock dataplane/codec dataplane/feedback dataplane/histogram dataplane/history dataplane/ice dataplane/internal/prefetch dataplane/msg dataplane/pkt dataplane/rewrite dataplane/srtp dataplane/wire",
		"composes the leaves into one shard's brain; runs in simulations, so nothing of the shell"},
	{"dataplane/simnet", true, "dataplane/clock dataplane/pkt", "a network for simulations of whatever speaks datagrams"},
	{"dataplane/source", false, "dataplane/clock dataplane/msg", "a publisher that is not a peer speaks the same vocabulary, and paces itself"},

	{"dataplane/internal/arena", false, "", "memory for what holds keys, whatever lies in it"},
	{"dataplane/internal/ring", false, "", "a queue between two threads, whatever the items are"},
	{"dataplane/internal/poll", false, "dataplane/clock", "waiting for descriptors, whatever they are"},
	{"dataplane/internal/udp", false, "dataplane/clock dataplane/pkt", "the kernel's sockets; decides nothing, so it needs no meaning of the bytes"},
	{"dataplane/internal/tcp", false, "dataplane/clock dataplane/pkt dataplane/wire", "connections and the frames in them; whose they are it need not know"},
	{"dataplane/internal/shard", false, "dataplane/clock dataplane/engine dataplane/internal/poll dataplane/internal/ring dataplane/internal/tcp dataplane/internal/udp dataplane/msg dataplane/pkt dataplane/wire",
		"the loop: joins one engine to the kernel and to other shards"},
	{"dataplane", false, "dataplane/aesgcm dataplane/clock dataplane/engine dataplane/histogram dataplane/internal/arena dataplane/internal/shard dataplane/internal/tcp dataplane/internal/udp dataplane/msg dataplane/pkt dataplane/wire netopt/attr",
		"the door; all that others may hold on to"},

	{"controlplane/events", false, "netopt/attr", "names of log messages; who logs need not know"},
	{"controlplane/httpd", false, "", "the manners of our HTTP handlers"},
	{"controlplane/subnet", true, "", "what counts as one source, for all limits of one"},
	{"controlplane/fair", false, "controlplane/httpd controlplane/subnet netopt/attr", "what one source may do at the HTTP listeners; knows nothing of what it wants there"},
	{"controlplane/sdp", true, "dataplane/codec dataplane/msg dataplane/wire", "offers to what a shard can be told, answers from it"},
	{"controlplane/registry", true, "controlplane/sdp controlplane/subnet dataplane/msg", "who publishes and watches what, where; a pure function of what happened"},
	{"controlplane/keying", false, "dataplane/msg dataplane/pkt netopt/attr", "DTLS over punted datagrams; the only package that runs pion's DTLS"},
	{"controlplane/auth", true, "netopt/attr", "who may do what: rules, a token and the time to a decision"},
	{"controlplane/certs", false, "netopt/attr", "the certificate of the HTTPS listener; knows no media"},
	{"controlplane/sse", false, "", "what one client is told over a long answer; knows nothing of streams"},
	{"controlplane", false, "controlplane/auth controlplane/keying controlplane/registry controlplane/sdp controlplane/sse dataplane dataplane/clock dataplane/codec dataplane/engine dataplane/histogram dataplane/ice dataplane/msg dataplane/pkt dataplane/source dataplane/wire netopt/attr",
		"joins the rooms of the control plane over one Plane; the engine for the types of its figures"},
	{"controlplane/whip", false, "controlplane controlplane/auth controlplane/fair controlplane/httpd controlplane/registry controlplane/sdp netopt/attr", "HTTP to calls of the service; nothing of the data plane"},
	{"controlplane/admin", false, "controlplane/fair controlplane/httpd netopt/attr netopt/attrsock netopt/metrics", "the operator's listener over the table; works without media"},

	{"web", false, "", "files for browsers; speaks to the rest over HTTP only"},
	{"bpf/steer", false, "dataplane dataplane/pkt", "a program for the kernel and what loads it: behind an interface of the data plane, which works without"},
	{"cmd/appliance", false, "bpf/steer controlplane controlplane/admin controlplane/auth controlplane/certs controlplane/events controlplane/fair controlplane/httpd controlplane/keying controlplane/whip dataplane netopt/attr netopt/attrfs netopt/attrsock netopt/config netopt/document netopt/host netopt/hostmetrics netopt/probe netopt/tune web",
		"main: wiring, so it sees the faces of all, and below the data plane's door nothing"},

	{"deploy", false, "", "unit file and image, and their test"},
	{"bpf/drop", false, "", "a program of the kernel and its loader; knows no more of media than RTP's first two bytes"},
	{"perf/proc", false, "", "processes and their cost; a yardstick shares no code with what it measures"},
	{"perf/instructions", false, "", "steps through a benchmark's binary, whatever is in it"},
	{"perf/stages", false, "", "where CPU time went, by the names in a profile"},
	{"perf/client", false, "", "a peer of its own, made from libraries, for the same reason"},
	{"perf/lab", false, "bpf/drop", "a network without receivers"},
	{"perf/load", false, "netopt/host perf/client perf/lab perf/proc", "one publisher and many such peers; the lab for its addresses; its own runtime kept quiet"},
	{"perf/janus", false, "", "a rival without WHIP, and the front that gives it that"},
	{"perf/rig", false, "perf/janus perf/lab perf/load perf/proc", "servers under load"},
	{"perf/baseline", false, "", "what one would write by hand with pion/webrtc"},
	{"perf/yardstick", false, "", "the least work a forwarder can do"},
	{"perf/scenario", false, "perf/load", "which load on which servers, as data"},
	{"perf/result", false, "perf/load perf/stages", "medians, budgets, the cost model"},
	{"perf/report", false, "perf/load perf/proc perf/result", "results for people"},
	{"perf/compare", false, "perf/lab perf/load perf/report perf/result perf/rig perf/scenario perf/stages", "carries scenarios out"},
	{"perf/effect", false, "perf/lab perf/load perf/proc perf/report perf/result perf/rig", "what each option is worth; sets them from outside, as an operator does"},
	{"perf/connect", false, "perf/load perf/proc perf/rig", "what a connect costs, of builds in turn"},
	{"perf/soak", false, "perf/load perf/proc perf/rig", "the long run"},
	{"perf/flood", false, "perf/client perf/lab perf/load perf/proc perf/rig", "attackers beside the load; strangers to the server, so they know none of its packages"},
	{"perf/cmd/load", false, "perf/load", "the generator's command line"},
	{"perf/e2e", false, "", "browsers against the binary, through its faces only"},
}

// module is one required module and the packages that may import it, tests
// aside: a test may compare with anything.
type module struct {
	path string
	may  string // packages that may, with what is below them
	why  string
}

// modules is a closed list: a module without a line here may not be imported.
var modules = []module{
	{"github.com/pion/rtp", "dataplane/srtp perf", "pion's SRTP takes headers in this form; wire reads packets itself"},
	{"github.com/pion/rtcp", "dataplane/srtp perf", "as pion/rtp"},
	{"github.com/pion/srtp/v3", "dataplane/srtp perf", "the ciphers, behind our own state"},
	{"github.com/pion/dtls/v3", "controlplane/keying perf", "the handshake, behind our own queue and limits"},
	{"github.com/pion/logging", "controlplane/keying", "pion/dtls wants a logger to be silent with"},
	{"github.com/pion/sdp/v3", "controlplane/sdp perf", "the grammar of SDP; what it means is ours"},
	{"github.com/golang-jwt/jwt/v5", "controlplane/auth", "the form and the signatures of JSON Web Tokens; what they are good for is ours"},
	{"github.com/pion/stun/v2", "", "an oracle for tests: it panics on hostile bytes and is frozen"},
	{"github.com/pion/stun/v4", "perf", "the checks of the load generator's peers"},
	{"github.com/pion/ice/v4", "perf", "settings of the baseline"},
	{"github.com/pion/webrtc/v4", "perf", "the product has no PeerConnection; rivals and oracles are made of it"},
	{"github.com/google/uuid", "perf", "names of the baseline's sessions"},
	{"github.com/gorilla/websocket", "", "the DevTools protocol in browser tests"},
	{"github.com/hanwen/go-fuse/v2", "netopt/attrfs", "the kernel's FUSE protocol; what the files are is ours"},
	{"go.yaml.in/yaml/v3", "netopt/document", "the grammar of YAML; what the values mean is the tree's"},
	{"github.com/prometheus/client_golang", "netopt/metrics", "one collector over the table"},
	{"github.com/cilium/ebpf", "bpf", "programs and their loader live together; the rest knows an interface"},
	{"golang.org/x/sys", "bpf cmd/appliance dataplane dataplane/aesgcm dataplane/internal netopt/config netopt/ethtool netopt/host netopt/probe perf", "system calls that package syscall lacks, and what the processor can"},
}

// rare are packages of the standard library that few may import, tests aside.
var rare = []module{
	{"unsafe", "dataplane/aesgcm dataplane/pkt dataplane/internal perf/client perf/proc perf/yardstick", "slabs over given memory and structures of the kernel; each use with its argument"},
	{"C", "", "one static binary, built without a C compiler"},
}

// impure is what a sans-IO package may not import, with what is below it.
var impure = map[string]string{
	"net":              "sockets belong to the shell",
	"os":               "files and processes belong to the shell",
	"syscall":          "the kernel belongs to the shell",
	"golang.org/x/sys": "the kernel belongs to the shell",
	"sync":             "one goroutine calls; there is nothing to lock",
	"log":              "decisions go out as values, drops as counters",
	"math/rand":        "the same input must give the same output: seeds are arguments",
	"crypto/rand":      "the same input must give the same output: secrets are arguments",
}

// pureMay are the exceptions, each with the packages that may, all if "".
var pureMay = map[string]string{
	"net/netip":            "",                 // addresses as values
	"sync/atomic":          "netopt/attr",      // readers of the tree never wait
	"golang.org/x/sys/cpu": "dataplane/aesgcm", // what the processor can is no decision
}

// clocks are the names of package time that read a clock or wait for one.
var clocks = []string{"Now", "Since", "Until", "After", "AfterFunc", "Sleep", "Tick", "NewTicker", "NewTimer"}

func TestPolicyIsAPartialOrder(t *testing.T) {
	pkgs := packagesOf(goFiles(t))
	seen := map[string]bool{}
	for _, r := range policy {
		if !slices.Contains(pkgs, r.pkg) {
			t.Errorf("policy has a line for %s, which is no package", r.pkg)
		}
		if seen[r.pkg] {
			t.Errorf("policy has two lines for %s", r.pkg)
		}
		if r.why == "" {
			t.Errorf("policy's line for %s has no reason", r.pkg)
		}
		for _, p := range strings.Fields(r.may) {
			if !seen[p] {
				t.Errorf("policy lets %s import %s, which no line above it declares", r.pkg, p)
			}
		}
		seen[r.pkg] = true
	}
	for _, p := range pkgs {
		if !seen[p] {
			t.Errorf("%s has no line in policy: decide what it may import and why", p)
		}
	}
}

func TestImportsOfTheModule(t *testing.T) {
	rooms := map[string]room{}
	for _, r := range policy {
		rooms[r.pkg] = r
	}
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			to, ours := strings.CutPrefix(imported, "sluice/")
			switch {
			case !ours:
			case f.test && below("dataplane", f.pkg) && (below("controlplane", to) || below("cmd", to)):
				t.Errorf("%s imports %s: the data plane is tested without the control plane", f.name, to)
			case f.test:
			case below("perf", to) && !below("perf", f.pkg):
				t.Errorf("%s imports %s: the product does not depend on what measures it", f.name, to)
			case !slices.Contains(strings.Fields(rooms[f.pkg].may), to):
				t.Errorf("%s imports %s, which policy does not let %s", f.name, to, f.pkg)
			}
		}
	}
}

func TestImportsOfOtherModules(t *testing.T) {
	used := map[string]bool{}
	for _, f := range goFiles(t) {
		for _, imported := range f.imports {
			i := slices.IndexFunc(modules, func(m module) bool { return below(m.path, imported) })
			switch first, _, _ := strings.Cut(imported, "/"); {
			case i >= 0:
				used[modules[i].path] = true
				modules[i].check(t, f)
			case strings.Contains(first, "."):
				t.Errorf("%s imports %s, whose module has no line in modules", f.name, imported)
			}
		}
	}
	for _, m := range modules {
		if !used[m.path] {
			t.Errorf("modules has a line for %s, which nothing imports", m.path)
		}
	}
}

func TestRareImports(t *testing.T) {
	for _, f := range goFiles(t) {
		for _, m := range rare {
			if slices.Contains(f.imports, m.path) {
				m.check(t, f)
			}
		}
	}
}

// check reports a file that imports m and may not.
func (m module) check(t *testing.T, f *goFile) {
	t.Helper()
	if !f.test && !slices.ContainsFunc(strings.Fields(m.may), func(dir string) bool { return mayImport(dir, f.pkg) }) {
		t.Errorf("%s imports %s, which only tests and %q may: %s", f.name, m.path, m.may, m.why)
	}
}

// mayImport reports whether a permission for dir holds for pkg: it does for all
// below, but for dataplane, which stands for the door alone.
func mayImport(dir, pkg string) bool {
	return dir == pkg || dir != "dataplane" && below(dir, pkg)
}

func TestPurePackages(t *testing.T) {
	pure := map[string]bool{}
	for _, r := range policy {
		pure[r.pkg] = r.pure
	}
	for _, f := range goFiles(t) {
		if f.test || !pure[f.pkg] {
			continue
		}
		for _, imported := range f.imports {
			if why := impurity(f.pkg, imported); why != "" {
				t.Errorf("%s imports %s: %s", f.name, imported, why)
			}
		}
		ast.Inspect(f.syntax, func(n ast.Node) bool {
			if what := impureNode(n); what != "" {
				t.Errorf("%s: %s in a sans-IO package", fileSet.Position(n.Pos()), what)
			}
			return true
		})
	}
}

// impurity says why a sans-IO package may not import a path, "" if it may.
func impurity(pkg, imported string) string {
	if only, ok := pureMay[imported]; ok && (only == "" || only == pkg) {
		return ""
	}
	for path, why := range impure {
		if below(path, imported) {
			return why
		}
	}
	return ""
}

func impureNode(n ast.Node) string {
	switch n := n.(type) {
	case *ast.GoStmt:
		return "a goroutine"
	case *ast.SelectorExpr:
		if id, ok := n.X.(*ast.Ident); ok && id.Name == "time" && slices.Contains(clocks, n.Sel.Name) {
			return "time." + n.Sel.Name
		}
	}
	return ""
}
