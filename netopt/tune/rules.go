package tune

import (
	"fmt"
	"slices"
	"strconv"
)

// rules make the plan, in the order in which it is shown. Where their values
// come from: Documentation/admin-guide/sysctl/net.rst, networking/scaling.rst and
// networking/napi.rst of the kernel, and the profiles of tuned(8).
var rules = []func(*planner){
	socketBuffers, backlog, softirqBudget, busyPoll,
	devices,
	governor, sleepStates, hugePages, numaBalancing, swappiness, realtime, ticks, isolation,
	conntrack, pacing,
}

func socketBuffers(p *planner) {
	for _, b := range []struct {
		key  Key
		want int64
		room int64 // of the throughput profile
		what string
	}{
		{"/proc/sys/net/core/rmem_max", p.w.ReceiveBuffer, 32 << 20, "dataplane/receive_buffer_bytes"},
		{"/proc/sys/net/core/wmem_max", p.w.SendBuffer, 16 << 20, "dataplane/send_buffer_bytes"},
	} {
		want := b.want
		if p.throughput() {
			want = max(want, b.room)
		}
		have, err := strconv.ParseInt(p.f.Values[b.key], 10, 64)
		p.atLeast(Row{Key: b.key, New: strconv.FormatInt(want, 10), Budget: err == nil && have < b.want,
			Why:  "a socket gets no more than this of what " + b.what + " asks for, and a burst that does not fit is lost",
			Risk: "any process may let as much wait in a socket"})
	}
}

func backlog(p *planner) {
	want := "5000"
	if p.throughput() {
		want = "20000"
	}
	p.atLeast(Row{Key: "/proc/sys/net/core/netdev_max_backlog", New: want,
		Why:  "packets that wait for a CPU between device and protocol (RPS, loopback, veth); what does not fit is lost",
		Risk: "under overload packets wait longer before they are lost"})
}

func softirqBudget(p *planner) {
	budget, usecs := Key("/proc/sys/net/core/netdev_budget"), Key("/proc/sys/net/core/netdev_budget_usecs")
	if !p.throughput() {
		p.skip(string(budget), "the kernel's value serves latency: a round ends after two ticks, and it takes no less; profile throughput has its own")
		return
	}
	why, risk := "more packets a round, so fewer rounds end with work left (time_squeeze in softnet_stat)", "a round keeps its CPU from threads for up to 8 ms"
	p.atLeast(Row{Key: budget, New: "600", Why: why, Risk: risk})
	p.atLeast(Row{Key: usecs, New: "8000", Why: why, Risk: risk})
}

func busyPoll(p *planner) {
	keys := []Key{"/proc/sys/net/core/busy_read", "/proc/sys/net/core/busy_poll"}
	for _, k := range keys {
		switch {
		case p.latency() && p.f.Isolated != "":
			p.set(Row{Key: k, New: "50", Why: "a read or poll looks at the device for 50 µs before it sleeps: saves the wake-up", Risk: "burns the CPU of every process that polls a socket"})
		case p.latency():
			p.skip(string(k), "spinning takes a CPU from others, and none is set apart (isolcpus)")
		default:
			p.skip(string(k), "spinning is for profile latency on CPUs that are set apart")
		}
	}
}

// devices plans each network device.
func devices(p *planner) {
	if len(p.f.Devices) == 0 {
		p.skip("network devices", "none has hardware behind it: queues, rings, interrupts and offloads are for whoever owns the hardware")
	}
	for _, d := range p.f.Devices {
		p.channels(d)
		p.ring(d)
		p.coalescing(d)
		p.napi(d)
		p.steering(d)
		p.transmitQueues(d)
		p.interrupts(d)
		p.set(Row{Key: ethtool("-K", d, "rx-gro"), New: "on",
			Why: "bursts of a peer come as one packet through the stack", Risk: "none for media; a bridge or router may want it off"})
		p.skip(string(ethtool("-N", d, "rx-flow-hash udp4")), "the kernel takes it by ioctl or since 6.17 only; by hand, with udp6 too: ethtool -N %s rx-flow-hash udp4 sdfn", d.Name)
	}
}

func ethtool(flag string, d Device, what string) Key {
	return Key("ethtool " + flag + " " + d.Name + " " + what)
}

func (p *planner) channels(d Device) {
	key := ethtool("-L", d, "combined")
	if d.MostChan < 2 {
		p.skip(string(key), "the device has one queue")
		return
	}
	p.set(Row{Key: key, New: fmt.Sprint(min(d.MostChan, int64(p.f.CPUs))),
		Why: "a queue for each CPU that forwards", Risk: "the link is down for a moment"})
}

func (p *planner) ring(d Device) {
	key := ethtool("-G", d, "rx")
	if d.MostRing == 0 {
		p.skip(string(key), "the device does not say how large its ring may be")
		return
	}
	want := int64(1024)
	if p.throughput() {
		want = 2048
	}
	p.atLeast(Row{Key: key, New: fmt.Sprint(min(want, d.MostRing)),
		Why: "room for a burst while the CPU is elsewhere", Risk: "the link is down for a moment; a large ring falls out of the cache"})
}

func (p *planner) coalescing(d Device) {
	usecs, adaptive := ethtool("-C", d, "rx-usecs"), ethtool("-C", d, "adaptive-rx")
	switch _, can := p.f.Values[usecs]; {
	case !can:
		p.skip(string(usecs), "the device has no such setting")
	case p.latency():
		if p.f.Values[adaptive] != "" {
			p.set(Row{Key: adaptive, New: "off", Why: "the delay is what is set, and not what the device guesses", Risk: "more interrupts under load"})
		}
		p.atMost(Row{Key: usecs, New: "8", Why: "a packet waits at most 8 µs for its interrupt", Risk: "more interrupts under load"})
	case p.throughput():
		p.atLeast(Row{Key: usecs, New: "50", Why: "an interrupt for many packets", Risk: "a packet waits up to 50 µs for its interrupt"})
	default:
		p.skip(string(usecs), "the driver's value serves both ends; profiles latency and throughput have their own")
	}
}

// napi sets the software's own interrupt mitigation, which goes with busy
// polling only (Documentation/networking/napi.rst).
func (p *planner) napi(d Device) {
	dir := "/sys/class/net/" + d.Name + "/"
	defer_, flush, why := "0", "0", "no timer between a packet and its interrupt: right unless something polls"
	if p.latency() && p.f.Isolated != "" {
		defer_, flush, why = "2", "200000", "whoever polls keeps interrupts off; 200 µs after it stopped they are on again"
	}
	const risk = "a packet waits up to 200 µs if the poller sleeps"
	p.set(Row{Key: Key(dir + "napi_defer_hard_irqs"), New: defer_, Why: why, Risk: risk})
	p.set(Row{Key: Key(dir + "gro_flush_timeout"), New: flush, Why: why, Risk: risk})
}

// steering spreads what one receive queue brings over the CPUs.
func (p *planner) steering(d Device) {
	few := d.RxQueues < p.f.CPUs
	for q := range d.RxQueues {
		dir := fmt.Sprintf("/sys/class/net/%s/queues/rx-%d/", d.Name, q)
		switch {
		case !few:
			p.skip(dir+"rps_cpus", "the device has a queue for each CPU: spreading in software would only add interrupts between CPUs")
		case p.latency():
			p.skip(dir+"rps_cpus", "an interrupt to another CPU costs more than it saves while one CPU is enough")
		default:
			p.set(Row{Key: Key(dir + "rps_cpus"), New: mask(p.f.CPUs, p.f.Values[Key(dir+"rps_cpus")]),
				Why: fmt.Sprintf("%d queue(s) for %d CPUs: the protocol's work is spread by flow", d.RxQueues, p.f.CPUs), Risk: "an interrupt between CPUs for each burst"})
		}
		if few && p.throughput() {
			p.atLeast(Row{Key: Key(dir + "rps_flow_cnt"), New: "4096", Why: "the flow's packets go where its reader runs (RFS)", Risk: "memory: 16 bytes a flow"})
		}
	}
	if few && p.throughput() {
		p.atLeast(Row{Key: "/proc/sys/net/core/rps_sock_flow_entries", New: "32768", Why: "which CPU reads a flow is remembered for so many (RFS)", Risk: "memory: 4 bytes each"})
	}
}

func (p *planner) transmitQueues(d Device) {
	if d.TxQueues < p.f.CPUs || p.f.CPUs == 1 {
		p.skip(fmt.Sprintf("/sys/class/net/%s/queues/tx-0/xps_cpus", d.Name), "%d transmit queue(s) for %d CPUs: none can have its own", d.TxQueues, p.f.CPUs)
		return
	}
	for q := range d.TxQueues {
		key := Key(fmt.Sprintf("/sys/class/net/%s/queues/tx-%d/xps_cpus", d.Name, q))
		p.set(Row{Key: key, New: maskOf([]int{q % p.f.CPUs}, p.f.CPUs, p.f.Values[key]),
			Why: "each CPU sends through a queue of its own, without a lock between them", Risk: "none known"})
	}
}

func (p *planner) interrupts(d Device) {
	name := d.Name + " interrupts"
	switch {
	case p.f.CPUs == 1:
		p.skip(name, "there is one CPU")
	case len(d.IRQs) == 0:
		p.skip(name, "the device does not say which interrupts are its queues'")
	case p.f.IRQBalance:
		p.skip(name, "irqbalance runs and would move them again; stop it, or ban them there, and plan again")
	default:
		for i, irq := range d.IRQs {
			p.set(Row{Key: Key(fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq)), New: strconv.Itoa(i % p.f.CPUs),
				Why: "the interrupt of a queue stays on one CPU, that of the shard that reads it", Risk: "if that CPU is busy, the queue waits"})
		}
	}
}

func governor(p *planner) {
	keys := p.matching("/sys/devices/system/cpu/cpufreq/policy", "/scaling_governor")
	switch {
	case len(keys) == 0:
		p.skip("CPU frequency governor", "%s", map[bool]string{true: "the hypervisor decides", false: "this machine has none"}[p.f.Virtual])
	case p.f.Battery:
		p.skip(string(keys[0]), "the machine runs on a battery")
	case p.w.Profile == "default":
		p.skip(string(keys[0]), "costs energy; profiles latency and throughput set it")
	default:
		for _, k := range keys {
			p.set(Row{Key: k, New: "performance", Why: "the first packets after a pause do not meet a slow CPU", Risk: "energy, heat, fan"})
		}
	}
}

// sleepStates keeps CPUs from states that take long to wake from. The file is
// the per-CPU form of /dev/cpu_dma_latency, which would have to be held open.
func sleepStates(p *planner) {
	keys := p.matching("/sys/devices/system/cpu/cpu", "/power/pm_qos_resume_latency_us")
	switch {
	case p.f.Idle == "" || p.f.Idle == "none" || len(keys) == 0:
		p.skip("CPU sleep states", "%s", map[bool]string{true: "the hypervisor decides", false: "this machine has none"}[p.f.Virtual])
	case !p.latency():
		p.skip(string(keys[0]), "costs energy while nothing happens; profile latency sets it")
	case p.f.Battery:
		p.skip(string(keys[0]), "the machine runs on a battery")
	default:
		for _, k := range keys {
			p.set(Row{Key: k, New: "10", Why: "no sleep state from which waking takes more than 10 µs", Risk: "energy, heat, fan; less turbo for other cores"})
		}
	}
}

func hugePages(p *planner) {
	key := Key("/sys/kernel/mm/transparent_hugepage/enabled")
	if p.f.Values[key] == "never" {
		p.skip(string(key), "never is as good")
		return
	}
	p.set(Row{Key: key, New: "madvise", Why: "no stall while the kernel makes huge pages for a heap that did not ask", Risk: "programs that gain from huge pages and do not ask lose them"})
}

func numaBalancing(p *planner) {
	const key = "/proc/sys/kernel/numa_balancing"
	if p.f.Nodes < 2 {
		p.skip(key, "all memory is equally near")
		return
	}
	p.set(Row{Key: key, New: "0", Why: "no page faults to find out who uses which memory", Risk: "other programs may stay far from their memory"})
}

func swappiness(p *planner) {
	const key = "/proc/sys/vm/swappiness"
	if !p.f.Swap {
		p.skip(key, "there is no swap")
		return
	}
	p.atMost(Row{Key: key, New: "10", Why: "programs are swapped out late", Risk: "less file cache when memory is short"})
}

// realtime is about others too: a real-time thread that spins without a bound
// would freeze the machine.
func realtime(p *planner) {
	const key = "/proc/sys/kernel/sched_rt_runtime_us"
	if old := p.f.Values[key]; old != "" && old != "-1" {
		p.skip(key, "real-time threads already leave time for others")
		return
	}
	p.set(Row{Key: key, New: "950000", Why: "a real-time thread that spins leaves 5 % for whoever wants to stop it", Risk: "a program that wants all of a CPU gets 95 %"})
}

func ticks(p *planner) {
	for _, r := range []Row{
		{Key: "/proc/sys/vm/stat_interval", New: "10", Why: "statistics interrupt a CPU every 10 s and not every second", Risk: "free memory is known less exactly"},
		{Key: "/proc/sys/kernel/timer_migration", New: "0", Why: "timers stay on the CPU that set them", Risk: "idle CPUs wake more often"},
	} {
		if p.latency() {
			p.set(r)
		} else {
			p.skip(string(r.Key), "for profile latency only")
		}
	}
}

func isolation(p *planner) {
	switch {
	case p.f.Isolated != "":
		p.skip("isolcpus, nohz_full, rcu_nocbs", "CPUs %s are set apart", p.f.Isolated)
	case p.f.CPUs < 4:
		p.skip("isolcpus, nohz_full, rcu_nocbs", "too few CPUs to set any apart")
	case p.latency():
		p.skip("isolcpus, nohz_full, rcu_nocbs", "the kernel's command line only: isolcpus=managed_irq,domain,1-%d nohz_full=1-%[1]d rcu_nocbs=1-%[1]d keeps CPU 0 for the rest", p.f.CPUs-1)
	default:
		p.skip("isolcpus, nohz_full, rcu_nocbs", "for profile latency only, on the kernel's command line")
	}
}

func conntrack(p *planner) {
	const key = "/proc/sys/net/netfilter/nf_conntrack_max"
	if !p.f.Conntrack {
		p.skip("connection tracking", "not loaded: nothing to pay for")
		return
	}
	p.atLeast(Row{Key: key, New: "262144", Budget: true,
		Why:  "each peer is an entry; when the table is full its packets are dropped. Better still, have your firewall not track the media port (notrack)",
		Risk: "memory: 320 bytes an entry"})
}

func pacing(p *planner) {
	p.skip("/proc/sys/net/core/default_qdisc", "Sluice asks no queue to pace for it, so any will do")
}

// matching returns the keys with a prefix and a suffix, in order.
func (p *planner) matching(prefix, suffix string) []Key {
	var keys []Key
	for k := range p.f.Values {
		if s := string(k); len(s) > len(prefix)+len(suffix) && s[:len(prefix)] == prefix && s[len(s)-len(suffix):] == suffix {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}
