// Package stages says which part of a server spent its CPU time, from a pprof profile. A sample belongs to the first function, from
// the innermost outwards, that a stage knows: time in the kernel goes to whoever made the system call.
package stages

import (
	"cmp"
	"slices"
	"strings"
)

// Share is the part of a stage in the whole, 0 to 1.
type Share struct {
	Stage string  `json:"stage"`
	Share float64 `json:"share"`
}

// stage names what functions with a prefix do.
type stage struct{ prefix, name string }

// known is searched in order.
var known = []stage{
	{"sluice/dataplane/srtp", "SRTP"},
	{"github.com/pion/srtp", "SRTP"},
	{"sluice/dataplane/internal/udp.(*Socket).Send", "send"},
	{"sluice/dataplane/internal/udp.(*Socket).Receive", "receive"},
	{"sluice/dataplane/internal/udp", "socket"},
	{"sluice/dataplane/internal/poll", "wait"},
	{"sluice/dataplane/internal/ring", "between shards"},
	{"sluice/dataplane/rewrite", "rewrite"},
	{"sluice/dataplane/history", "history"},
	{"sluice/dataplane/ice", "ICE"},
	{"sluice/dataplane/feedback", "RTCP"},
	{"sluice/dataplane/wire", "parse"},
	{"sluice/dataplane/engine", "engine"},
	{"sluice/dataplane/internal/shard", "shard loop"},
	{"sluice/controlplane", "control plane"},
	{"github.com/pion/dtls", "control plane"},
	{"net/http", "control plane"},
}

const (
	runtimeStage = "Go runtime"
	otherStage   = "other"
)

// Of reads a gzipped pprof CPU profile and returns the stages, the largest first.
func Of(profile []byte) ([]Share, error) {
	samples, err := parse(profile)
	if err != nil {
		return nil, err
	}
	sums := map[string]int64{}
	var total int64
	for _, s := range samples {
		sums[stageOf(s.stack)] += s.value
		total += s.value
	}
	var list []Share
	for name, n := range sums {
		list = append(list, Share{name, float64(n) / float64(max(total, 1))})
	}
	slices.SortFunc(list, func(a, b Share) int { return cmp.Or(cmp.Compare(b.Share, a.Share), cmp.Compare(a.Stage, b.Stage)) })
	return list, nil
}

// stageOf takes function names, the innermost first.
func stageOf(stack []string) string {
	for _, f := range stack {
		for _, k := range known {
			if strings.HasPrefix(f, k.prefix) {
				return k.name
			}
		}
	}
	if len(stack) > 0 && strings.HasPrefix(stack[len(stack)-1], "runtime.") {
		return runtimeStage
	}
	return otherStage
}
