// Package scenario is the list of what perf/ measures: for each name the load, where it runs, and which servers take part. It is
// data; package compare carries it out.
package scenario

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"sluice/perf/load"
)

// Setup is where a scenario runs.
type Setup string

const (
	// Loopback has real receivers on this machine; the kernel's receiving half is in the server's cost.
	Loopback Setup = "loopback"
	// Transmit discards media at the server's egress, so that the cost is the server's alone (package lab).
	Transmit Setup = "transmit"
)

// Mode is what is done with the load.
type Mode string

const (
	Measure  Mode = ""         // each arm, run by run in turn
	Largest  Mode = "largest"  // look for the most viewers that an arm carries
	Overload Mode = "overload" // look for the peak, then offer twice that
)

// Arm is one of the competitors of a scenario. The first one is what the others are compared with.
type Arm struct {
	Name   string   // unique in the scenario
	Server string   // as rig.Lookup knows it
	Args   []string // further arguments of the server
	CM     bool     // with AES128_CM_HMAC_SHA1_80 instead of AEAD_AES_128_GCM
	TCP    bool     // viewers come by ICE-TCP
	Apart  bool     // on a processor of its own

	Scrape time.Duration // how often the server's metrics are read meanwhile; 0 for never
}

// Scenario is one load on some servers.
type Scenario struct {
	Name  string
	About string
	Setup Setup
	Mode  Mode
	Plan  load.Plan // without target and times
	Arms  []Arm
}

// pacing is the time over which a paced frame's packets leave.
const pacing = 25 * time.Millisecond

// sampled is how many viewers decrypt and time every packet where not all do.
const sampled = 10

var (
	sluice   = Arm{Name: "sluice", Server: "sluice"}
	baseline = Arm{Name: "baseline", Server: "baseline"}
	janus    = Arm{Name: "janus", Server: "janus"}
)

// set is Sluice with attributes, each PATH=VALUE.
func set(name string, attributes ...string) Arm {
	a := Arm{Name: name, Server: "sluice"}
	for _, s := range attributes {
		a.Args = append(a.Args, "--set", s)
	}
	return a
}

// spinning is what waking costs: the same server with and without, where nothing else needs its processor, and no work at all that
// spins too.
func spinning(name, about string, p load.Plan) Scenario {
	arms := append([]Arm{sluice, set("spin 50 ms", "dataplane/spin_us=50000"), {Name: "floor spin", Server: "floor", Args: []string{"-spin"}}}, yardsticks(p.Media)...)
	for i := range arms {
		arms[i].Apart = true
	}
	return Scenario{Name: name, About: about, Setup: Transmit, Plan: p, Arms: arms}
}

// scraped is Sluice whose metrics are read.
func scraped(name string, every time.Duration) Arm {
	return Arm{Name: name, Server: "sluice", Scrape: every}
}

// yardsticks are the least work, in Go and in C, and no work at all, on the messages that the media allows.
func yardsticks(m load.Media) []Arm {
	var args []string
	if m.Spread > 0 {
		args = []string{"-paced"}
	}
	return []Arm{
		{Name: "yardstick", Server: "yardstick", Args: args}, {Name: "yardstick-c", Server: "yardstick-c", Args: args},
		{Name: "floor", Server: "floor", Args: args},
	}
}

// baselineMost is how many viewers the baseline is given: it has broken down, or filled the memory, at a few times that.
const baselineMost = 200

// janusMost likewise.
const janusMost = 100

// against adds the rivals and the yardsticks to arms.
func against(p load.Plan, arms ...Arm) []Arm {
	if p.Viewers <= baselineMost {
		arms = append(arms, baseline)
	}
	return append(arms, yardsticks(p.Media)...)
}

// andJanus adds Janus where it can take part.
func andJanus(s Scenario) Scenario {
	if s.Plan.Viewers <= janusMost {
		s.Arms = append(s.Arms, janus)
	}
	return s
}

// video is the load that most scenarios have: a stream of 2.5 Mbit/s with 50 audio packets a second beside it.
var video = load.Media{FPS: 30, PPF: 9, Size: 1150}

func paced(m load.Media) load.Media {
	m.Spread = pacing
	return m
}

// frames is video alone, for the cost of one kind of train: 30 frames a second of some packets.
func frames(fps, ppf int) load.Media { return load.Media{FPS: fps, PPF: ppf, Size: 1200, Silent: true} }

func plan(m load.Media, viewers int) load.Plan {
	return load.Plan{Media: m, Viewers: viewers, Full: min(sampled, viewers), Serial: min(sampled, viewers)}
}

// Table is every scenario, in the order in which `all` runs them.
func Table() (list []Scenario) {
	list = append(list, transmit()...)
	list = append(list, loopback()...)
	list = append(list, variants()...)
	return append(list, extremes()...)
}

// viewers makes a scenario of its plan, Sluice against all others.
func viewers(name, about string, setup Setup, p load.Plan) Scenario {
	return Scenario{Name: name, About: about, Setup: setup, Plan: p, Arms: against(p, sluice)}
}

func transmit() (list []Scenario) {
	for _, n := range []int{10, 100, 1000, 2000} {
		list = append(list, viewers(fmt.Sprintf("tx-%d", n), "8 packets a frame, transmit side", Transmit, plan(frames(30, 8), n)))
	}
	list = append(list, viewers("tx-5000", "8 packets a frame at 96 packets/s, transmit side", Transmit, plan(frames(12, 8), 5000)))
	for _, ppf := range []int{4, 32} {
		about := fmt.Sprintf("%d packets a frame, transmit side", ppf)
		list = append(list, viewers(fmt.Sprintf("tx-ppf%d", ppf), about, Transmit, plan(frames(30, ppf), 100)))
	}
	for _, ppf := range []int{4, 8, 32} {
		list = append(list, busy(ppf))
	}
	return list
}

// busy has a frame of so many packets every 4 ms: what a packet costs where nothing sleeps for long, rather than how late and how cold
// a processor wakes. The yardsticks wait for the end of a frame, so in one arm Sluice does too.
func busy(ppf int) Scenario {
	s := Scenario{Name: fmt.Sprintf("busy-ppf%d", ppf), About: fmt.Sprintf("%d packets a frame, 250 frames/s, transmit side", ppf), Setup: Transmit}
	s.Plan = plan(frames(250, ppf), 100)
	s.Arms = append([]Arm{sluice, set("hold 1 ms", "dataplane/train_hold_us=1000")}, yardsticks(s.Plan.Media)...)
	return s
}

func loopback() (list []Scenario) {
	for _, n := range []int{10, 100, 200, 500, 1000} {
		list = append(list, andJanus(viewers(fmt.Sprintf("burst-%d", n), "a frame's packets in one burst, audio beside it", Loopback, plan(video, n))))
	}
	for _, n := range []int{10, 100, 200} {
		list = append(list, andJanus(viewers(fmt.Sprintf("paced-%d", n), "a frame's packets over 25 ms, audio beside it", Loopback, plan(paced(video), n))))
	}
	for _, n := range []int{10, 100, 1000, 3000} {
		list = append(list, andJanus(viewers(fmt.Sprintf("audio-%d", n), "audio alone, 50 packets/s", Loopback, plan(load.Media{}, n))))
	}
	return list
}

// Holds are the waits for the end of a frame, in microseconds, whose cost and latency are compared.
var Holds = []int{0, 1000, 2000, 5000}

func variants() []Scenario {
	var holds []Arm
	for _, us := range Holds {
		holds = append(holds, set(fmt.Sprintf("hold %d ms", us/1000), fmt.Sprintf("dataplane/train_hold_us=%d", us)))
	}
	steady, burst, spread := plan(frames(30, 8), 100), plan(video, 100), plan(paced(video), 100)
	few := plan(video, 10)
	tcp := set("tcp")
	tcp.TCP = true
	cm := set("sluice CM")
	cm.CM = true
	slow := Arm{Name: "baseline CM", Server: "baseline", CM: true}
	return []Scenario{
		{
			Name: "hold-paced", About: "paced packets over the time for which a train may wait", Setup: Loopback,
			Plan: spread, Arms: against(spread, slices.Clone(holds)...),
		},
		{
			Name: "hold-burst", About: "bursts over the time for which a train may wait", Setup: Loopback,
			Plan: burst, Arms: against(burst, slices.Clone(holds)...),
		},
		{
			Name: "accelerators", About: "each accelerator off, transmit side", Setup: Transmit, Plan: steady,
			Arms: append([]Arm{
				sluice, set("gso off", "dataplane/gso=0"), set("gro off", "dataplane/gro=0"),
				set("no padding", "dataplane/pad_max_bytes=0"), set("spin 50 us", "dataplane/spin_us=50"),
			}, yardsticks(steady.Media)...),
		},
		spinning("spin-10", "few viewers of a server that spins, on a processor of its own", plan(frames(30, 8), 10)),
		spinning("spin-100", "the same of 100 viewers", plan(frames(30, 8), 100)),
		spinning("spin-audio", "the same of audio alone", plan(load.Media{}, 10)),
		{
			Name: "ciphers", About: "GCM and CM, transmit side", Setup: Transmit, Plan: steady,
			Arms: []Arm{sluice, cm, baseline, slow},
		},
		{
			Name: "tcp", About: "all of few viewers timed, by UDP and by ICE-TCP", Setup: Loopback, Plan: few,
			Arms: []Arm{sluice, tcp},
		},
		{
			Name: "scrape", About: "2,000 viewers of audio while nobody reads the metrics, or somebody does once or ten times a second", Setup: Loopback,
			Plan: plan(load.Media{}, 2000), Arms: []Arm{sluice, scraped("each second", time.Second), scraped("each 100 ms", 100*time.Millisecond)},
		},
		{
			Name: "shards", About: "a shard for each processor, or one, 120 frames/s, transmit side", Setup: Transmit, Plan: plan(frames(120, 8), 1000),
			Arms: append([]Arm{sluice, set("one shard", "dataplane/shards=1")}, yardsticks(frames(120, 8))...),
		},
		{
			Name: "steering", About: "datagrams to any shard, or to their own", Setup: Loopback, Plan: burst,
			Arms: against(burst, sluice, set("steered", "steer/mode=reuseport")),
		},
	}
}

func extremes() []Scenario {
	storm := load.Plan{Media: video, Viewers: 500, Full: sampled, Storm: true}
	wall := load.Plan{Media: load.Media{Streams: 600, FPS: 10, PPF: 8, Size: 1150, Silent: true}, Viewers: 240, Full: sampled}
	unwatched := wall
	unwatched.Viewers = sampled
	return []Scenario{
		{Name: "storm", About: "500 viewers join at once while media flows", Setup: Loopback, Plan: storm, Arms: []Arm{sluice, baseline}},
		{
			Name: "wall", About: "600 publishers at 80 packets/s, 240 viewers of one each; Sluice alone", Setup: Loopback, Plan: wall,
			Arms: []Arm{sluice, set("steered", "steer/mode=reuseport")},
		},
		{
			Name: "ingress", About: "the same publishers, 10 viewers: what is paid once for a packet", Setup: Loopback, Plan: unwatched,
			Arms: []Arm{sluice},
		},
		{
			Name: "largest", About: "the most viewers with loss below 0.1 % and p99 below 20 ms", Setup: Loopback, Mode: Largest,
			Plan: plan(video, 100), Arms: []Arm{sluice, baseline, janus},
		},
		{
			Name: "overload", About: "twice what the machine can", Setup: Loopback, Mode: Overload,
			Plan: plan(video, 1000), Arms: []Arm{sluice},
		},
	}
}

// Quick are the scenarios whose figures say most, for a run of about a quarter of an hour.
var Quick = []string{"tx-10", "tx-100", "tx-1000", "tx-5000", "burst-100", "hold-paced", "largest"}

// Select picks scenarios by patterns (path.Match), separated by commas, in the order of the table; "all" and "quick" are lists.
func Select(patterns string) (list []Scenario, err error) {
	wanted := strings.Split(patterns, ",")
	for _, s := range Table() {
		hit, err := matches(wanted, s.Name)
		if err != nil {
			return nil, err
		}
		if hit {
			list = append(list, s)
		}
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("no scenario is named %q; there are %s", patterns, strings.Join(Names(), ", "))
	}
	return list, nil
}

func matches(wanted []string, name string) (bool, error) {
	for _, p := range wanted {
		hit, err := path.Match(p, name)
		if errors.Is(err, path.ErrBadPattern) {
			return false, fmt.Errorf("scenario %q: %w", p, err)
		}
		if hit || p == "all" || p == "quick" && slices.Contains(Quick, name) {
			return true, nil
		}
	}
	return false, nil
}

// Restrict leaves of each scenario the arms that are named, and adds a server of its own for each NAME=….
func Restrict(list []Scenario, names []string) error {
	for i := range list {
		s := &list[i]
		var arms []Arm
		for _, name := range names {
			at := slices.IndexFunc(s.Arms, func(a Arm) bool { return a.Name == name })
			short, _, other := strings.Cut(name, "=")
			switch {
			case other:
				arms = append(arms, Arm{Name: short, Server: name})
			case at >= 0:
				arms = append(arms, s.Arms[at])
			default:
				return fmt.Errorf("%s has no server %q", s.Name, name)
			}
		}
		s.Arms = arms
	}
	return nil
}

// Names lists the scenarios.
func Names() (names []string) {
	for _, s := range Table() {
		names = append(names, s.Name)
	}
	return names
}
