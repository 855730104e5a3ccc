package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"

	"sluice/netopt/ethtool"
	"sluice/netopt/tune"
)

// Machine reads and writes settings of a machine: files below a root directory,
// and network devices by ethtool. It belongs to one goroutine.
type Machine struct {
	root *os.Root
	net  devices
}

// devices is what an ethtool.Conn does.
type devices interface {
	Get(option, device, what string) (string, error)
	Set(option, device, what, value string) error
}

// OpenMachine returns the machine whose files are below root, which is "/" but
// in tests. Without ethtool its devices have no settings.
func OpenMachine(root string) (*Machine, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	m := &Machine{root: r, net: noDevices{}}
	if conn, err := ethtool.Dial(); err == nil {
		m.net = conn
	}
	return m, nil
}

// Close closes the machine.
func (m *Machine) Close() error {
	if conn, ok := m.net.(*ethtool.Conn); ok {
		conn.Close()
	}
	return m.root.Close()
}

// noDevices has no devices.
type noDevices struct{}

func (noDevices) Get(option, device, what string) (string, error) { return "", ethtool.ErrUnsupported }
func (noDevices) Set(option, device, what, value string) error    { return ethtool.ErrUnsupported }

// errForeign refuses a key that no plan has: what a damaged or forged journal
// says must not make root write it.
var errForeign = errors.New("is no setting that Sluice tunes")

// tunable are the files that a plan may have (path.Match).
var tunable = []string{
	"/proc/sys/net/core/*", "/proc/sys/net/netfilter/nf_conntrack_max", "/proc/sys/vm/swappiness", "/proc/sys/vm/stat_interval",
	"/proc/sys/kernel/numa_balancing", "/proc/sys/kernel/sched_rt_runtime_us", "/proc/sys/kernel/timer_migration",
	"/proc/irq/*/smp_affinity_list",
	"/sys/class/net/*/napi_defer_hard_irqs", "/sys/class/net/*/gro_flush_timeout",
	"/sys/class/net/*/queues/rx-*/rps_cpus", "/sys/class/net/*/queues/rx-*/rps_flow_cnt", "/sys/class/net/*/queues/tx-*/xps_cpus",
	"/sys/devices/system/cpu/cpufreq/policy*/scaling_governor", "/sys/devices/system/cpu/cpu*/power/pm_qos_resume_latency_us",
	"/sys/kernel/mm/transparent_hugepage/enabled",
}

// Get returns the present value of a setting.
func (m *Machine) Get(k tune.Key) (string, error) {
	if option, device, what, ok := ethtoolKey(k); ok {
		return m.net.Get(option, device, what)
	}
	if err := checkFile(k); err != nil {
		return "", err
	}
	return m.text(string(k))
}

// Set sets a setting and returns what it came to.
func (m *Machine) Set(k tune.Key, value string) (string, error) {
	if option, device, what, ok := ethtoolKey(k); ok {
		if err := m.net.Set(option, device, what, value); err != nil {
			return "", err
		}
		return m.Get(k)
	}
	if err := checkFile(k); err != nil {
		return "", err
	}
	f, err := m.root.OpenFile(strings.TrimPrefix(string(k), "/"), os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return "", plain(err)
	}
	_, err = f.WriteString(value + "\n") // one write: sysfs takes each as a value
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return "", plain(err)
	}
	return m.Get(k)
}

func checkFile(k tune.Key) error {
	s := string(k)
	if path.Clean(s) == s && slices.ContainsFunc(tunable, func(p string) bool { ok, _ := path.Match(p, s); return ok }) {
		return nil
	}
	return errForeign
}

// ethtoolKey takes apart a key such as "ethtool -C eth0 rx-usecs".
func ethtoolKey(k tune.Key) (option, device, what string, ok bool) {
	f := strings.Split(string(k), " ")
	if len(f) != 4 || f[0] != "ethtool" {
		return "", "", "", false
	}
	return f[1], f[2], f[3], true
}

// text returns the content of a file without white space around it, and of a
// choice such as "always [madvise] never" what is chosen.
func (m *Machine) text(name string) (string, error) {
	b, err := m.root.ReadFile(strings.TrimPrefix(name, "/"))
	if err != nil {
		return "", plain(err)
	}
	s := strings.TrimSpace(string(b))
	if _, rest, ok := strings.Cut(s, "["); ok {
		if chosen, _, ok := strings.Cut(rest, "]"); ok {
			return chosen, nil
		}
	}
	return s, nil
}

// plain strips the path from err, since whoever tells it names the setting.
func plain(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	return err
}

// Facts reads what there is to know of the machine. What cannot be read is not
// there.
func (m *Machine) Facts() tune.Facts {
	f := tune.Facts{
		Values:     map[tune.Key]string{},
		CPUs:       countCPUs(m.maybe("/sys/devices/system/cpu/online")),
		Isolated:   m.maybe("/sys/devices/system/cpu/isolated"),
		Nodes:      countCPUs(m.maybe("/sys/devices/system/node/online")),
		Virtual:    strings.Contains(" "+m.maybe("/proc/cpuinfo")+" ", " hypervisor "),
		Idle:       m.maybe("/sys/devices/system/cpu/cpuidle/current_driver"),
		Swap:       strings.Count(m.maybe("/proc/swaps"), "\n") > 0,
		Battery:    m.onBattery(),
		IRQBalance: m.runs("irqbalance"),
	}
	_, err := m.text("/proc/sys/net/netfilter/nf_conntrack_max")
	f.Conntrack = err == nil
	for _, pattern := range tunable {
		m.read(&f, pattern)
	}
	for _, name := range m.glob("/sys/class/net/*") {
		if d, ok := m.device(path.Base(name), &f); ok {
			f.Devices = append(f.Devices, d)
		}
	}
	return f
}

// read adds what matches a pattern, but for devices and interrupts: of those the
// plan asks for few, and a machine has many.
func (m *Machine) read(f *tune.Facts, pattern string) {
	if strings.HasPrefix(pattern, "/sys/class/net/") || strings.HasPrefix(pattern, "/proc/irq/") {
		return
	}
	for _, name := range m.glob(pattern) {
		m.value(f, tune.Key(name))
	}
}

func (m *Machine) value(f *tune.Facts, k tune.Key) (string, bool) {
	v, err := m.Get(k)
	if err == nil {
		f.Values[k] = v
	}
	return v, err == nil
}

// device reads one network device. It is none of ours to tune if no hardware is
// behind it.
func (m *Machine) device(name string, f *tune.Facts) (tune.Device, bool) {
	dir := "/sys/class/net/" + name
	if _, err := m.root.Stat(dir[1:] + "/device"); err != nil {
		return tune.Device{}, false
	}
	d := tune.Device{Name: name, IRQs: m.queueIRQs(name)}
	for _, key := range []string{"-L %s combined", "-G %s rx", "-C %s rx-usecs", "-C %s adaptive-rx", "-K %s rx-gro"} {
		m.value(f, tune.Key("ethtool "+fmt.Sprintf(key, name)))
	}
	d.MostChan = m.most("-L", name, "combined-max")
	d.MostRing = m.most("-G", name, "rx-max")
	m.value(f, tune.Key(dir+"/napi_defer_hard_irqs"))
	m.value(f, tune.Key(dir+"/gro_flush_timeout"))
	for _, q := range m.glob(dir + "/queues/rx-*") {
		d.RxQueues++
		m.value(f, tune.Key(q+"/rps_cpus"))
		m.value(f, tune.Key(q+"/rps_flow_cnt"))
	}
	for _, q := range m.glob(dir + "/queues/tx-*") {
		d.TxQueues++
		m.value(f, tune.Key(q+"/xps_cpus"))
	}
	for _, irq := range d.IRQs {
		m.value(f, tune.Key(fmt.Sprintf("/proc/irq/%d/smp_affinity_list", irq)))
	}
	return d, true
}

func (m *Machine) most(option, device, what string) int64 {
	s, err := m.net.Get(option, device, what)
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}

// queueIRQs returns the message-signalled interrupts of a device whose handlers
// are named after its queues, in the order of the queues. A virtio device has
// those of the PCI device above it.
func (m *Machine) queueIRQs(name string) (irqs []int) {
	for _, dir := range []string{"/device/msi_irqs", "/device/../msi_irqs"} {
		for _, entry := range m.list("/sys/class/net/" + name + dir) {
			irq, err := strconv.Atoi(entry)
			if err == nil && slices.ContainsFunc(m.list("/proc/irq/"+entry), func(handler string) bool { return ofQueue(handler, name) }) {
				irqs = append(irqs, irq)
			}
		}
	}
	slices.Sort(irqs)
	return irqs
}

// ofQueue reports whether a handler's name is that of a queue that receives:
// "eth0-TxRx-0", "virtio0-input.0".
func ofQueue(handler, device string) bool {
	return strings.HasPrefix(handler, device+"-") || strings.HasPrefix(handler, "virtio") && strings.Contains(handler, "-input.")
}

// list returns the names in a directory.
func (m *Machine) list(dir string) []string {
	f, err := m.root.Open(dir[1:])
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(-1)
	return names
}

func (m *Machine) onBattery() bool {
	mains, battery := false, false
	for _, supply := range m.glob("/sys/class/power_supply/*") {
		switch m.maybe(supply + "/type") {
		case "Mains", "USB":
			mains = mains || m.maybe(supply+"/online") == "1"
		case "Battery":
			battery = battery || m.maybe(supply+"/scope") != "Device" && m.maybe(supply+"/status") == "Discharging"
		}
	}
	return battery && !mains
}

// runs reports whether a process of that name is there.
func (m *Machine) runs(name string) bool {
	return slices.ContainsFunc(m.glob("/proc/[0-9]*/comm"), func(file string) bool { return m.maybe(file) == name })
}

func (m *Machine) maybe(name string) string {
	s, _ := m.text(name)
	return s
}

// glob returns the paths that match, in the order of the numbers in them.
func (m *Machine) glob(pattern string) []string {
	found, _ := fs.Glob(m.root.FS(), pattern[1:])
	for i := range found {
		found[i] = "/" + found[i]
	}
	slices.SortFunc(found, func(a, b string) int {
		if len(a) != len(b) {
			return len(a) - len(b)
		}
		return strings.Compare(a, b)
	})
	return found
}

// countCPUs counts what a list such as "0-3,8" holds.
func countCPUs(list string) (n int) {
	for part := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(part, "-")
		from, err := strconv.Atoi(first)
		if err != nil {
			continue
		}
		to := from
		if isRange {
			if to, err = strconv.Atoi(last); err != nil {
				continue
			}
		}
		n += to - from + 1
	}
	return n
}
