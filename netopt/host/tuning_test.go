package host

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"sluice/netopt/ethtool"
	"sluice/netopt/host/hosttest"
	"sluice/netopt/tune"
)

// files are those of a machine with one network card of two queues.
var files = map[string]string{
	"proc/cpuinfo": "flags\t\t: fpu vme hypervisor lahf_lm\n", "proc/swaps": "Filename\tType\n/dev/sda2\tpartition\n",
	"proc/77/comm": "irqbalance\n", "proc/78/comm": "sluice\n",
	"proc/sys/net/core/rmem_max": "212992\n", "proc/sys/net/core/wmem_max": "212992\n", "proc/sys/net/core/netdev_max_backlog": "1000\n",
	"proc/sys/net/core/netdev_budget": "300\n", "proc/sys/net/core/netdev_budget_usecs": "8000\n",
	"proc/sys/net/core/busy_read": "0\n", "proc/sys/net/core/busy_poll": "0\n", "proc/sys/net/core/rps_sock_flow_entries": "0\n",
	"proc/sys/vm/swappiness": "60\n", "proc/sys/vm/stat_interval": "1\n", "proc/sys/kernel/timer_migration": "1\n",
	"proc/sys/kernel/numa_balancing": "1\n", "proc/sys/kernel/sched_rt_runtime_us": "-1\n",
	"proc/irq/40/smp_affinity_list": "0-3\n", "proc/irq/40/eth0-TxRx-0/x": "", "proc/irq/41/smp_affinity_list": "0-3\n", "proc/irq/41/eth0-TxRx-1/x": "",
	"proc/irq/42/smp_affinity_list": "0-3\n", "proc/irq/42/eth1-0/x": "",
	"sys/devices/system/cpu/online": "0-3\n", "sys/devices/system/cpu/isolated": "2-3\n", "sys/devices/system/node/online": "0-1\n",
	"sys/devices/system/cpu/cpuidle/current_driver":              "intel_idle\n",
	"sys/devices/system/cpu/cpufreq/policy0/scaling_governor":    "schedutil\n",
	"sys/devices/system/cpu/cpu0/power/pm_qos_resume_latency_us": "n/a\n",
	"sys/kernel/mm/transparent_hugepage/enabled":                 "[always] madvise never\n",
	"sys/class/power_supply/BAT0/type":                           "Battery\n", "sys/class/power_supply/BAT0/status": "Discharging\n",
	"sys/class/power_supply/AC/type": "Mains\n", "sys/class/power_supply/AC/online": "1\n",
	"sys/class/net/lo/mtu":                  "65536\n",
	"sys/class/net/eth0/device/msi_irqs/40": "msi\n", "sys/class/net/eth0/device/msi_irqs/41": "msi\n", "sys/class/net/eth0/device/msi_irqs/42": "msi\n",
	"sys/class/net/eth0/napi_defer_hard_irqs": "0\n", "sys/class/net/eth0/gro_flush_timeout": "0\n",
	"sys/class/net/eth0/queues/rx-0/rps_cpus": "0\n", "sys/class/net/eth0/queues/rx-0/rps_flow_cnt": "0\n",
	"sys/class/net/eth0/queues/rx-1/rps_cpus": "0\n", "sys/class/net/eth0/queues/rx-1/rps_flow_cnt": "0\n",
	"sys/class/net/eth0/queues/tx-0/xps_cpus": "0\n", "sys/class/net/eth0/queues/tx-1/xps_cpus": "0\n",
	"sys/class/net/eth0/queues/tx-2/xps_cpus": "0\n", "sys/class/net/eth0/queues/tx-3/xps_cpus": "0\n",
}

// card is a network card's ethtool.
type card map[string]string

func (c card) Get(option, device, what string) (string, error) {
	v, ok := c[option+" "+device+" "+what]
	if !ok {
		return "", ethtool.ErrUnsupported
	}
	return v, nil
}

func (c card) Set(option, device, what, value string) error {
	if _, err := c.Get(option, device, what); err != nil {
		return err
	}
	c[option+" "+device+" "+what] = value
	return nil
}

func newCard() card {
	return card{"-L eth0 combined": "2", "-L eth0 combined-max": "8", "-G eth0 rx": "256", "-G eth0 rx-max": "4096",
		"-C eth0 rx-usecs": "20", "-C eth0 adaptive-rx": "on", "-K eth0 rx-gro": "on"}
}

// fake makes the files below a new directory, which is the machine's root.
func fake(t *testing.T) (*Machine, string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return machineAt(t, root), root
}

func machineAt(t *testing.T, root string) *Machine {
	t.Helper()
	m, err := OpenMachine(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	m.net = newCard()
	return m
}

// contents returns every file below root, trimmed.
func contents(t *testing.T, root string) map[string]string {
	t.Helper()
	all := map[string]string{}
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(name)
		all[strings.TrimPrefix(name, root+"/")] = strings.TrimSpace(string(b))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func journal(t *testing.T, dir, boot string) *Journal {
	t.Helper()
	j, err := OpenJournal(dir, boot)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { j.Close() })
	return j
}

func TestFacts(t *testing.T) {
	m, _ := fake(t)
	f := m.Facts()
	if f.CPUs != 4 || f.Nodes != 2 || !f.Virtual || !f.Swap || f.Battery || !f.IRQBalance || f.Conntrack || f.Isolated != "2-3" || f.Idle != "intel_idle" {
		t.Errorf("%+v", f)
	}
	if len(f.Devices) != 1 {
		t.Fatalf("devices: %+v", f.Devices)
	}
	d := f.Devices[0]
	if d.Name != "eth0" || d.RxQueues != 2 || d.TxQueues != 4 || !slices.Equal(d.IRQs, []int{40, 41}) || d.MostChan != 8 || d.MostRing != 4096 {
		t.Errorf("%+v", d)
	}
	for k, want := range map[tune.Key]string{
		"/sys/kernel/mm/transparent_hugepage/enabled": "always", "/proc/irq/41/smp_affinity_list": "0-3", "/proc/sys/net/core/rmem_max": "212992",
		"ethtool -C eth0 adaptive-rx": "on", "/sys/class/net/eth0/queues/tx-3/xps_cpus": "0",
	} {
		if f.Values[k] != want {
			t.Errorf("%s is %q, want %q", k, f.Values[k], want)
		}
	}
	if _, ok := f.Values["/proc/irq/42/smp_affinity_list"]; ok {
		t.Error("the interrupt of another device was read")
	}
}

// Nothing in a machine need be there, and nothing need make sense.
func TestFactsOfNothing(t *testing.T) {
	m := machineAt(t, t.TempDir())
	f := m.Facts()
	for _, profile := range tune.Profiles {
		for _, r := range tune.Plan(f, tune.Wish{Profile: profile}) {
			if r.Verdict != tune.Skip {
				t.Errorf("%+v", r)
			}
		}
	}
}

// This machine's plans have only keys that can be set, and read.
func TestFactsOfThisMachine(t *testing.T) {
	m, err := OpenMachine("/")
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	f := m.Facts()
	if f.CPUs == 0 || f.Values["/proc/sys/vm/swappiness"] == "" {
		t.Errorf("%+v", f)
	}
	for _, profile := range tune.Profiles {
		for _, r := range tune.Plan(f, tune.Wish{Profile: profile, ReceiveBuffer: 1, SendBuffer: 1}) {
			if r.Verdict == tune.Skip {
				continue
			}
			if got, err := m.Get(r.Key); err != nil || got != r.Old {
				t.Errorf("%s: %q (%v), want %q", r.Key, got, err, r.Old)
			}
		}
	}
}

// Apply twice with different profiles, then undo: all is as it was.
func TestApplyAndUndo(t *testing.T) {
	m, root := fake(t)
	before, dir := contents(t, root), filepath.Join(t.TempDir(), "state")
	j := journal(t, dir, "boot 1")
	changed := 0
	for _, profile := range []string{"throughput", "latency", "latency"} {
		results, err := Apply(m, j, tune.Plan(m.Facts(), tune.Wish{Profile: profile, ReceiveBuffer: 8 << 20, SendBuffer: 8 << 20}))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil || r.Got != r.New {
				t.Errorf("%s: %+v", profile, r)
			}
		}
		changed = len(results)
	}
	if changed != 0 {
		t.Errorf("the same profile again changed %d settings", changed)
	}
	if got, _ := m.Get("/sys/kernel/mm/transparent_hugepage/enabled"); got != "madvise" {
		t.Errorf("huge pages: %s", got)
	}
	results, err := Undo(m, j)
	if err != nil || len(results) < 15 {
		t.Fatal(len(results), err)
	}
	for _, r := range results {
		if r.Err != nil {
			t.Error(r)
		}
	}
	after := contents(t, root)
	after["sys/kernel/mm/transparent_hugepage/enabled"] = "[always] madvise never" // a file does not put the brackets
	if !maps.Equal(after, before) || !maps.Equal(m.net.(card), newCard()) {
		t.Errorf("after undo:\n%v\nwant\n%v\n%v", after, before, m.net)
	}
	if again, err := Undo(m, j); len(again) != 0 || err != nil {
		t.Error(again, err)
	}
}

const dieAt = "SLUICE_TEST_DIE_AT"

// dying is a card whose settings outlive the process, which ends at the given
// moment: before a setting is set, or after.
type dying struct {
	dir  string
	left int
}

func (d *dying) Get(option, device, what string) (string, error) {
	b, err := os.ReadFile(filepath.Join(d.dir, option+" "+device+" "+what))
	return string(b), err
}

func (d *dying) Set(option, device, what, value string) error {
	d.moment()
	defer d.moment()
	return os.WriteFile(filepath.Join(d.dir, option+" "+device+" "+what), []byte(value), 0o644)
}

func (d *dying) moment() {
	if d.left--; d.left == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// Killed at any moment of an apply, and then of the undo, whatever was done can
// be undone.
func TestUndoAfterCrash(t *testing.T) {
	if how := strings.Fields(os.Getenv(dieAt)); len(how) > 0 {
		left, _ := strconv.Atoi(how[0])
		m := machineAt(t, t.TempDir())
		m.net = &dying{how[1], left}
		j := journal(t, how[2], "boot")
		var plan []tune.Row
		for name := range newCard() {
			plan = append(plan, tune.Row{Key: tune.Key("ethtool " + name), Verdict: tune.Change, New: "9"})
		}
		if _, err := Apply(m, j, plan); err != nil {
			t.Fatal(err)
		}
		if _, err := Undo(m, j); err != nil {
			t.Fatal(err)
		}
		return
	}
	for at := 1; ; at++ {
		dir, state := t.TempDir(), t.TempDir()
		for name, value := range newCard() {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command(os.Args[0], "-test.run=^TestUndoAfterCrash$")
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", dieAt, at, dir, state))
		err := cmd.Run()
		if status := cmd.ProcessState.Sys().(syscall.WaitStatus); err != nil && (!status.Signaled() || status.Signal() != syscall.SIGKILL) {
			t.Fatal(err)
		}
		m := machineAt(t, t.TempDir())
		m.net = &dying{dir, 0}
		if _, err := Undo(m, journal(t, state, "boot")); err != nil {
			t.Fatal(err)
		}
		if after := contents(t, dir); !maps.Equal(after, newCard()) {
			t.Fatalf("killed at moment %d:\n%v\nwant\n%v", at, after, newCard())
		}
		if err == nil { // it was not killed any more
			if at != 4*len(newCard())+1 {
				t.Errorf("%d moments", at)
			}
			return
		}
	}
}

// What is at the end of a journal when the power went, or another process was
// quicker, or the machine has started anew.
func TestJournal(t *testing.T) {
	line := func(v any) string { b, _ := json.Marshal(v); return string(b) + "\n" }
	head := line(map[string]string{"boot": "now"})
	entry := line(Entry{"/proc/sys/vm/swappiness", "60", "10"})
	for name, c := range map[string]struct {
		text    string
		entries int
		err     string
	}{
		"empty":            {"", 0, ""},
		"head":             {head, 0, ""},
		"head cut off":     {head[:9], 0, ""},
		"entry":            {head + entry, 1, ""},
		"second cut off":   {head + entry + entry[:20], 1, ""},
		"two of one key":   {head + entry + line(Entry{"/proc/sys/vm/swappiness", "10", "5"}), 1, ""},
		"another start":    {line(map[string]string{"boot": "before"}) + entry, 0, ""},
		"damaged":          {head + "{\"key\"\n" + entry, 0, "line 2 is damaged"},
		"not of ours":      {"hello\n", 0, ""},
		"entry without it": {head + "{}\n", 0, "line 2 is damaged"},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/journal", []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		j, err := OpenJournal(dir, "now")
		if c.err != "" {
			if err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("%s: %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		changed := j.Changed()
		if len(changed) != c.entries || c.entries == 1 && changed[0].Old != "60" {
			t.Errorf("%s: %v", name, changed)
		}
		if _, err := OpenJournal(dir, "now"); err == nil || !strings.Contains(err.Error(), "another process") {
			t.Errorf("%s: a second process: %v", name, err)
		}
		if err := j.Note(Entry{"k", "1", "2"}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		j.Close()
		again := journal(t, dir, "now")
		if len(again.Changed()) != c.entries+1 {
			t.Errorf("%s: read again: %v", name, again.Changed())
		}
	}
}

// Root does not do what others wrote: not through a link, not in a directory that
// they may write, not to files that are no settings.
func TestForeignJournals(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(dir, "now"); err == nil || !strings.Contains(err.Error(), "nobody else may write") {
		t.Error(err)
	}
	dir = t.TempDir()
	if err := os.Symlink("elsewhere", dir+"/journal"); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenJournal(dir, "now"); !errors.Is(err, unix.ELOOP) {
		t.Error(err)
	}
	m, root := fake(t)
	before := contents(t, root)
	for _, key := range []tune.Key{
		"/etc/passwd", "/proc/sys/kernel/core_pattern", "/proc/sys/net/core/../../kernel/core_pattern", "/proc/sys/net/core/", "/sys/class/net/eth0/../mtu",
		"proc/sys/net/core/rmem_max", "/proc/sys/net/core/rmem_max/x", "", "/", "ethtool", "ethtool -s eth0", "rm -rf x y",
	} {
		if _, err := m.Set(key, "x"); err == nil {
			t.Errorf("%q can be set", key)
		}
	}
	if !maps.Equal(contents(t, root), before) {
		t.Error("files changed")
	}
}

// A setting that cannot be set is told, and the rest goes on; one whose device
// is gone is nothing to undo.
func TestApplyGoesOn(t *testing.T) {
	m, root := fake(t)
	gro := tune.Key("ethtool -K eth0 tx-udp-segmentation")
	j := journal(t, t.TempDir(), "now")
	results, err := Apply(m, j, []tune.Row{
		{Key: gro, Verdict: tune.Change, Old: "off", New: "on"},
		{Key: "/proc/sys/vm/swappiness", Verdict: tune.Change, Old: "60", New: "10"},
		{Key: "/sys/class/net/eth0/gro_flush_timeout", Verdict: tune.Change, Old: "0", New: "1"},
	})
	if err != nil || len(results) != 3 || !results[0].Unsupported() || results[1].Err != nil {
		t.Fatal(results, err)
	}
	if err := os.RemoveAll(path.Join(root, "sys/class/net/eth0")); err != nil {
		t.Fatal(err)
	}
	results, err = Undo(m, j)
	if err != nil || len(results) != 2 || results[0].Got != "gone" || results[1].Got != "60" {
		t.Error(results, err)
	}
}

// On the real kernel, with a network and a view of /sys of the test's own.
func TestRealSettings(t *testing.T) {
	if !hosttest.Isolated(t, syscall.CLONE_NEWNET|syscall.CLONE_NEWNS) {
		return
	}
	root := t.TempDir()
	if err := errors.Join(os.Mkdir(root+"/sys", 0o755), syscall.Mount("sysfs", root+"/sys", "sysfs", 0, "")); err != nil {
		t.Fatal(err)
	}
	defer syscall.Unmount(root+"/sys", syscall.MNT_DETACH)
	if out, err := exec.Command("ip", strings.Fields("link add near numrxqueues 2 numtxqueues 2 type veth peer name far")...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	m, err := OpenMachine(root)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	j := journal(t, t.TempDir(), "now")
	var plan []tune.Row
	before := map[tune.Key]string{}
	for _, row := range [][2]string{
		{"/sys/class/net/near/napi_defer_hard_irqs", "2"},
		{"/sys/class/net/near/gro_flush_timeout", "200000"},
		{"/sys/class/net/near/queues/rx-1/rps_cpus", "1"},
		{"/sys/class/net/near/queues/rx-0/rps_flow_cnt", "4096"},
		{"/sys/class/net/near/queues/tx-0/xps_cpus", "1"},
		{"ethtool -K near rx-gro", "on"},
		{"ethtool -L near rx", "1"}, // takes rx-1 away, and what is said of it
	} {
		key, value := tune.Key(row[0]), row[1]
		old, err := m.Get(key)
		if err != nil {
			t.Fatal(key, err)
		}
		before[key] = old
		plan = append(plan, tune.Row{Key: key, Verdict: tune.Change, Old: old, New: value})
	}
	results, err := Apply(m, j, plan)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		// The mask is as wide as the machine's.
		if r.Err != nil || strings.TrimLeft(r.Got, "0,") != strings.TrimLeft(r.New, "0,") || r.Got == before[r.Key] {
			t.Errorf("%+v", r)
		}
	}
	results, err = Undo(m, j)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if got, err := m.Get(r.Key); r.Err != nil || got != before[r.Key] || err != nil {
			t.Errorf("%+v: is %q, was %q", r, got, before[r.Key])
		}
	}
	if len(results) != len(before) {
		t.Errorf("%d undone", len(results))
	}
	if _, err := m.Set("/sys/class/net/near/gro_flush_timeout", "many"); !errors.Is(err, unix.EINVAL) {
		t.Error(err)
	}
}
