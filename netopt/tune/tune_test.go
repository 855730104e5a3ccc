package tune

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// box is a machine with everything that a plan asks about, as a distribution
// leaves it.
func box() Facts {
	f := Facts{
		CPUs: 8, Nodes: 2, Swap: true, Idle: "intel_idle", Conntrack: true,
		Devices: []Device{{Name: "eth0", RxQueues: 2, TxQueues: 8, IRQs: []int{40, 41}, MostRing: 4096, MostChan: 16}},
		Values: map[Key]string{
			"/proc/sys/net/core/rmem_max": "212992", "/proc/sys/net/core/wmem_max": "212992", "/proc/sys/net/core/netdev_max_backlog": "1000",
			"/proc/sys/net/core/netdev_budget": "300", "/proc/sys/net/core/netdev_budget_usecs": "8000", "/proc/sys/net/core/busy_read": "0",
			"/proc/sys/net/core/busy_poll": "0", "/proc/sys/net/core/rps_sock_flow_entries": "0", "/proc/sys/net/core/default_qdisc": "fq_codel",
			"/proc/sys/vm/swappiness": "60", "/proc/sys/vm/stat_interval": "1", "/proc/sys/kernel/numa_balancing": "1",
			"/proc/sys/kernel/sched_rt_runtime_us": "-1", "/proc/sys/kernel/timer_migration": "1", "/proc/sys/net/netfilter/nf_conntrack_max": "65536",
			"/sys/kernel/mm/transparent_hugepage/enabled": "always",
			"/sys/class/net/eth0/napi_defer_hard_irqs":    "0", "/sys/class/net/eth0/gro_flush_timeout": "0",
			"ethtool -L eth0 combined": "2", "ethtool -G eth0 rx": "512", "ethtool -C eth0 rx-usecs": "20", "ethtool -C eth0 adaptive-rx": "on",
			"ethtool -K eth0 rx-gro": "on", "/proc/irq/40/smp_affinity_list": "0-7", "/proc/irq/41/smp_affinity_list": "0-7",
		},
	}
	for i := range 8 {
		f.Values[Key(fmt.Sprintf("/sys/devices/system/cpu/cpufreq/policy%d/scaling_governor", i))] = "powersave"
		f.Values[Key(fmt.Sprintf("/sys/devices/system/cpu/cpu%d/power/pm_qos_resume_latency_us", i))] = "0"
		f.Values[Key(fmt.Sprintf("/sys/class/net/eth0/queues/tx-%d/xps_cpus", i))] = "00"
	}
	for i := range 2 {
		f.Values[Key(fmt.Sprintf("/sys/class/net/eth0/queues/rx-%d/rps_cpus", i))] = "00"
		f.Values[Key(fmt.Sprintf("/sys/class/net/eth0/queues/rx-%d/rps_flow_cnt", i))] = "0"
	}
	return f
}

func wish(profile string) Wish { return Wish{profile, 8 << 20, 8 << 20} }

// find returns the row of a key.
func find(rows []Row, k Key) Row {
	i := slices.IndexFunc(rows, func(r Row) bool { return r.Key == k })
	if i < 0 {
		return Row{}
	}
	return rows[i]
}

// Each setting in each profile: its new value, "=" if it is good as it is, "-" if
// it is left alone.
func TestProfiles(t *testing.T) {
	for key, want := range map[Key][3]string{
		"/proc/sys/net/core/rmem_max":                                 {"8388608", "8388608", "33554432"},
		"/proc/sys/net/core/wmem_max":                                 {"8388608", "8388608", "16777216"},
		"/proc/sys/net/core/netdev_max_backlog":                       {"5000", "5000", "20000"},
		"/proc/sys/net/core/netdev_budget":                            {"-", "-", "600"},
		"/proc/sys/net/core/netdev_budget_usecs":                      {"", "", "="},
		"/proc/sys/net/core/busy_read":                                {"-", "-", "-"},
		"ethtool -L eth0 combined":                                    {"8", "8", "8"},
		"ethtool -G eth0 rx":                                          {"1024", "1024", "2048"},
		"ethtool -C eth0 rx-usecs":                                    {"-", "8", "50"},
		"ethtool -C eth0 adaptive-rx":                                 {"", "off", ""},
		"ethtool -K eth0 rx-gro":                                      {"=", "=", "="},
		"/sys/class/net/eth0/gro_flush_timeout":                       {"=", "=", "="},
		"/sys/class/net/eth0/queues/rx-1/rps_cpus":                    {"ff", "-", "ff"},
		"/sys/class/net/eth0/queues/rx-1/rps_flow_cnt":                {"", "", "4096"},
		"/proc/sys/net/core/rps_sock_flow_entries":                    {"", "", "32768"},
		"/sys/class/net/eth0/queues/tx-3/xps_cpus":                    {"08", "08", "08"},
		"/proc/irq/41/smp_affinity_list":                              {"1", "1", "1"},
		"/sys/devices/system/cpu/cpufreq/policy0/scaling_governor":    {"-", "performance", "performance"},
		"/sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us": {"-", "10", "-"},
		"/sys/kernel/mm/transparent_hugepage/enabled":                 {"madvise", "madvise", "madvise"},
		"/proc/sys/kernel/numa_balancing":                             {"0", "0", "0"},
		"/proc/sys/vm/swappiness":                                     {"10", "10", "10"},
		"/proc/sys/kernel/sched_rt_runtime_us":                        {"950000", "950000", "950000"},
		"/proc/sys/vm/stat_interval":                                  {"-", "10", "-"},
		"/proc/sys/kernel/timer_migration":                            {"-", "0", "-"},
		"isolcpus, nohz_full, rcu_nocbs":                              {"-", "-", "-"},
		"/proc/sys/net/netfilter/nf_conntrack_max":                    {"262144", "262144", "262144"},
		"/proc/sys/net/core/default_qdisc":                            {"-", "-", "-"},
	} {
		for i, profile := range Profiles {
			r := find(Plan(box(), wish(profile)), key)
			got := map[Verdict]string{Good: "=", Skip: "-", Change: r.New}[r.Verdict]
			if r.Key == "" {
				got = ""
			}
			if got != want[i] {
				t.Errorf("%s, %s: %q, want %q", key, profile, got, want[i])
			}
		}
	}
}

// What a machine is, and what follows.
func TestMachines(t *testing.T) {
	for name, c := range map[string]struct {
		change  func(*Facts)
		profile string
		key     Key
		want    string // the new value, or a part of why not
	}{
		"isolated CPUs":      {func(f *Facts) { f.Isolated = "2-7" }, "latency", "/proc/sys/net/core/busy_poll", "50"},
		"isolated, napi":     {func(f *Facts) { f.Isolated = "2-7" }, "latency", "/sys/class/net/eth0/napi_defer_hard_irqs", "2"},
		"isolated, default":  {func(f *Facts) { f.Isolated = "2-7" }, "default", "/proc/sys/net/core/busy_poll", "profile latency"},
		"larger is fine":     {func(f *Facts) { f.Values["/proc/sys/net/core/rmem_max"] = "999999999" }, "default", "/proc/sys/net/core/rmem_max", "999999999"},
		"shorter is fine":    {func(f *Facts) { f.Values["ethtool -C eth0 rx-usecs"] = "3" }, "latency", "ethtool -C eth0 rx-usecs", "3"},
		"battery":            {func(f *Facts) { f.Battery = true }, "latency", "/sys/devices/system/cpu/cpufreq/policy0/scaling_governor", "battery"},
		"virtual":            {func(f *Facts) { f.Virtual = true; f.Idle = "none" }, "latency", "CPU sleep states", "hypervisor"},
		"irqbalance":         {func(f *Facts) { f.IRQBalance = true }, "default", "eth0 interrupts", "irqbalance"},
		"one CPU":            {func(f *Facts) { f.CPUs = 1 }, "default", "eth0 interrupts", "one CPU"},
		"small ring":         {func(f *Facts) { f.Devices[0].MostRing = 600 }, "default", "ethtool -G eth0 rx", "600"},
		"few channels":       {func(f *Facts) { f.Devices[0].MostChan = 4 }, "default", "ethtool -L eth0 combined", "4"},
		"no coalescing":      {func(f *Facts) { delete(f.Values, "ethtool -C eth0 rx-usecs") }, "latency", "ethtool -C eth0 rx-usecs", "no such setting"},
		"queues enough":      {func(f *Facts) { f.Devices[0].RxQueues = 8 }, "default", "/sys/class/net/eth0/queues/rx-0/rps_cpus", "a queue for each CPU"},
		"one transmit queue": {func(f *Facts) { f.Devices[0].TxQueues = 1 }, "default", "/sys/class/net/eth0/queues/tx-0/xps_cpus", "none can have its own"},
		"no device":          {func(f *Facts) { f.Devices = nil }, "default", "network devices", "none has hardware"},
		"no swap":            {func(f *Facts) { f.Swap = false }, "default", "/proc/sys/vm/swappiness", "no swap"},
		"one node":           {func(f *Facts) { f.Nodes = 1 }, "default", "/proc/sys/kernel/numa_balancing", "equally near"},
		"never huge":         {func(f *Facts) { f.Values["/sys/kernel/mm/transparent_hugepage/enabled"] = "never" }, "default", "/sys/kernel/mm/transparent_hugepage/enabled", "as good"},
		"no conntrack":       {func(f *Facts) { f.Conntrack = false }, "default", "connection tracking", "not loaded"},
		"not there":          {func(f *Facts) { delete(f.Values, "/proc/sys/net/core/rmem_max") }, "default", "/proc/sys/net/core/rmem_max", "does not have it"},
		"command line":       {func(f *Facts) {}, "latency", "isolcpus, nohz_full, rcu_nocbs", "isolcpus=managed_irq,domain,1-7 nohz_full=1-7 rcu_nocbs=1-7"},
	} {
		f := box()
		c.change(&f)
		r := find(Plan(f, wish(c.profile)), c.key)
		if r.Key == "" || r.Verdict != Skip && r.New != c.want || r.Verdict == Skip && !strings.Contains(r.Why, c.want) {
			t.Errorf("%s: %+v, want %q", name, r, c.want)
		}
	}
}

// Whatever the machine: what a plan says once carried out is good, it changes
// only what is there and only what differs, every row says what people need, and
// the plan of the same facts is the same.
func TestEveryPlan(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		f := box()
		for _, k := range slices.Sorted(maps.Keys(f.Values)) {
			switch random.IntN(6) {
			case 0:
				delete(f.Values, k)
			case 1:
				f.Values[k] = []string{"", "0", "7", "99999999999", "garbage", "on", "-3", "ff,ffffffff"}[random.IntN(8)]
			}
		}
		f.CPUs = 1 + random.IntN(70)
		d := &f.Devices[0]
		d.RxQueues, d.TxQueues, d.MostRing, d.MostChan = random.IntN(4), random.IntN(80), random.Int64N(9000), random.Int64N(80)
		if random.IntN(2) == 0 {
			f.Isolated, f.Battery, f.IRQBalance, f.Virtual = "1", random.IntN(2) == 0, random.IntN(2) == 0, random.IntN(2) == 0
		}
		w := wish(Profiles[random.IntN(3)])
		rows := Plan(f, w)
		if !reflect.DeepEqual(rows, Plan(f, w)) {
			t.Fatal("two plans of the same facts differ")
		}
		seen := map[Key]bool{}
		for _, r := range rows {
			old, there := f.Values[r.Key]
			switch {
			case r.Why == "", r.Old != old, seen[r.Key], r.Verdict != Skip && (!there || r.Risk == ""), r.Verdict != Skip && (r.Verdict == Change) == (r.Old == r.New):
				t.Fatalf("%+v of %q", r, old)
			}
			seen[r.Key] = true
			if r.Verdict == Change {
				f.Values[r.Key] = r.New
			}
		}
		for _, r := range Plan(f, w) {
			if r.Verdict == Change {
				t.Fatalf("carried out, and still %+v", r)
			}
		}
	}
}

// A socket that asks for more than there is room is what does not meet a budget;
// what would be better and is enough does not.
func TestBudget(t *testing.T) {
	f := box()
	if !find(Plan(f, wish("throughput")), "/proc/sys/net/core/rmem_max").Budget {
		t.Error("too small a buffer is within the budget")
	}
	f.Values["/proc/sys/net/core/rmem_max"] = "8388608"
	if r := find(Plan(f, wish("throughput")), "/proc/sys/net/core/rmem_max"); r.Budget || r.Verdict != Change {
		t.Errorf("%+v", r)
	}
}

func TestCommand(t *testing.T) {
	for _, c := range [][3]string{
		{"/proc/sys/net/core/rmem_max", "212992", "sysctl -w net.core.rmem_max=212992"},
		{"/proc/sys/net/ipv4/conf/eth0.1/x", "a b", "sysctl -w net.ipv4.conf.eth0/1.x='a b'"},
		{"/sys/kernel/mm/transparent_hugepage/enabled", "always", "echo always > /sys/kernel/mm/transparent_hugepage/enabled"},
		{"/proc/irq/1/smp_affinity_list", "", "echo '' > /proc/irq/1/smp_affinity_list"},
		{"ethtool -C eth0 rx-usecs", "20", "ethtool -C eth0 rx-usecs 20"},
	} {
		if got := Command(Key(c[0]), c[1]); got != c[2] {
			t.Errorf("%q, want %q", got, c[2])
		}
	}
}

func TestMask(t *testing.T) {
	for _, c := range []struct {
		cpus []int
		n    int
		like string
		want string
	}{
		{[]int{0, 1}, 2, "0", "3"}, {[]int{3}, 8, "00", "08"}, {[]int{33}, 40, "00,00000000", "02,00000000"},
		{[]int{0}, 64, "00000000,00000000", "00000000,00000001"}, {[]int{1}, 2, "", "2"}, {[]int{64}, 65, "0,00000000,00000000", "1,00000000,00000000"},
	} {
		if got := maskOf(c.cpus, c.n, c.like); got != c.want {
			t.Errorf("%v of %d like %q: %q, want %q", c.cpus, c.n, c.like, got, c.want)
		}
	}
	if got := mask(8, "00"); got != "ff" {
		t.Error(got)
	}
}
