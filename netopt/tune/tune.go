// Package tune decides how a host is tuned: facts about the machine and a wish
// give a plan, which is a list of settings with their old and new values. It
// touches nothing; package host reads the facts and carries the plan out.
package tune

import (
	"fmt"
	"strconv"
	"strings"
)

// Profiles are the names of the profiles. What a profile leaves alone stays as
// the machine has it.
var Profiles = []string{"default", "latency", "throughput"}

// Wish says what the machine is wanted for.
type Wish struct {
	Profile                   string // one of Profiles
	ReceiveBuffer, SendBuffer int64  // bytes that each shard's socket asks for
}

// Key names one setting as a person would: the path of a file below /proc or
// /sys, or the command of ethtool(8) that takes the value as its last word, such
// as "ethtool -C eth0 rx-usecs".
type Key string

// Facts are what is known of a machine. Nothing in them is trusted to be there.
type Facts struct {
	Values  map[Key]string // every setting that the machine has, trimmed
	CPUs    int
	Devices []Device

	Isolated   string // CPUs kept free of other work (isolcpus), as a list, "" for none
	Nodes      int    // of memory
	Virtual    bool   // a hypervisor is below
	Battery    bool   // it runs on one now
	Swap       bool   // some is in use
	Idle       string // driver of the CPUs' sleep states, "" or "none" for no such states
	IRQBalance bool   // irqbalance runs
	Conntrack  bool   // connection tracking is loaded
}

// Device is a network device with hardware, or a hypervisor's, behind it.
type Device struct {
	Name     string
	RxQueues int
	TxQueues int
	IRQs     []int // of its queues, in their order; nil if that is not known
	MostRing int64 // the largest receive ring, 0 if not known
	MostChan int64 // the most combined channels, 0 if not known
}

// Verdict says what a row of a plan means.
type Verdict uint8

// The verdicts.
const (
	Good   Verdict = iota // the machine has it as it is wanted
	Change                // Old becomes New
	Skip                  // Why says why not
)

// Row is one line of a plan.
type Row struct {
	Key      Key // of a Skip it may be the setting's name only
	Verdict  Verdict
	Old, New string
	Why      string // what it is good for; of a Skip, why it is left alone
	Risk     string // what it costs or may break
	Budget   bool   // the profile does not hold without it
}

// Undo returns the command that brings back the old value.
func (r Row) Undo() string { return Command(r.Key, r.Old) }

// Command returns what a person would type to set a key.
func Command(k Key, value string) string {
	switch path := string(k); {
	case strings.HasPrefix(path, "/proc/sys/"):
		return "sysctl -w " + SysctlName(k) + "=" + quoted(value)
	case strings.HasPrefix(path, "/"):
		return "echo " + quoted(value) + " > " + path
	default:
		return path + " " + value
	}
}

// SysctlName returns the name that sysctl(8) has for a key below /proc/sys, and
// of others the key.
func SysctlName(k Key) string {
	name, ok := strings.CutPrefix(string(k), "/proc/sys/")
	if !ok {
		return string(k)
	}
	// A dot in a device's name and a slash between parts change places (sysctl.d(5)).
	return strings.NewReplacer("/", ".", ".", "/").Replace(name)
}

func quoted(s string) string {
	if s != "" && !strings.ContainsAny(s, " \t\"'$\\") {
		return s
	}
	return "'" + s + "'"
}

// Plan returns what to do with a machine, one row for each setting that there is
// an opinion about. It is a pure function.
func Plan(f Facts, w Wish) []Row {
	p := planner{f: f, w: w}
	for _, rule := range rules {
		rule(&p)
	}
	return p.rows
}

// planner collects rows.
type planner struct {
	f    Facts
	w    Wish
	rows []Row
}

func (p *planner) latency() bool    { return p.w.Profile == "latency" }
func (p *planner) throughput() bool { return p.w.Profile == "throughput" }

// skip adds a row that leaves a setting alone.
func (p *planner) skip(name, format string, args ...any) {
	p.rows = append(p.rows, Row{Key: Key(name), Verdict: Skip, Old: p.f.Values[Key(name)], Why: fmt.Sprintf(format, args...)})
}

// set adds a row for a setting that is to have a value.
func (p *planner) set(r Row) {
	old, ok := p.f.Values[r.Key]
	switch {
	case !ok:
		p.skip(string(r.Key), "this machine does not have it")
		return
	case old == r.New:
		r.Verdict = Good
	default:
		r.Verdict = Change
	}
	r.Old = old
	p.rows = append(p.rows, r)
}

// atLeast adds a row for a number that may be larger than New says.
func (p *planner) atLeast(r Row) { p.bound(r, func(old, want int64) bool { return old > want }) }

// atMost adds a row for a number that may be smaller than New says.
func (p *planner) atMost(r Row) { p.bound(r, func(old, want int64) bool { return old < want }) }

func (p *planner) bound(r Row, fine func(old, want int64) bool) {
	old, errOld := strconv.ParseInt(p.f.Values[r.Key], 10, 64)
	want, errWant := strconv.ParseInt(r.New, 10, 64)
	if errOld == nil && errWant == nil && fine(old, want) {
		r.New = p.f.Values[r.Key]
	}
	p.set(r)
}
