// Package hostmetrics reads the few figures of a machine that one asks a node
// exporter for, on a box that has none: processors, memory, the network's queues
// and drops, temperature, disk. Their number is fixed: what the machine has
// several of is summed up, or the worst one told.
package hostmetrics

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sluice/netopt/attr"
)

// Attrs declares the figures.
var Attrs attr.Table

// modes are the columns of a cpu line of /proc/stat (proc_stat(5)).
var modes = []string{"user", "nice", "system", "idle", "iowait", "irq", "softirq", "steal"}

var (
	cpuCounter = Attrs.CounterVec(attr.Decl{
		Path: "host/cpu_seconds", Unit: "seconds", Label: "mode", Values: modes, Since: "0.1",
		Doc: "Time that all CPUs together spent, by what they did. softirq is where the kernel receives packets.",
	})
	memoryGauge = Attrs.GaugeVec(attr.Decl{
		Path: "host/memory_bytes", Unit: "bytes", Label: "state", Values: []string{"total", "available"}, Since: "0.1",
		Doc: "Memory that there is, and that programs could still have without swapping.",
	})
	backlogCounter = Attrs.CounterVec(attr.Decl{
		Path: "host/softnet_events", Unit: "events", Label: "event", Values: []string{"dropped", "squeezed"}, Since: "0.1",
		Doc: `What went short where the kernel receives: packets dropped because a CPU's backlog was full
			(net.core.netdev_max_backlog), and rounds that ended with work left (net.core.netdev_budget).`,
	})
	droppedCounter = Attrs.CounterVec(attr.Decl{
		Path: "host/network_dropped_packets", Unit: "packets", Label: "direction", Values: directions, Since: "0.1",
		Doc: "Packets that network devices, loopback apart, dropped.",
	})
	errorCounter = Attrs.CounterVec(attr.Decl{
		Path: "host/network_error_packets", Unit: "packets", Label: "direction", Values: directions, Since: "0.1",
		Doc: "Packets that network devices, loopback apart, received damaged or could not send.",
	})
	bytesCounter = Attrs.CounterVec(attr.Decl{
		Path: "host/network_bytes", Unit: "bytes", Label: "direction", Values: directions, Since: "0.1",
		Doc: "Bytes that network devices, loopback apart, received and sent.",
	})
	temperatureGauge = Attrs.Gauge(attr.Decl{
		Path: "host/temperature_celsius", Unit: "celsius", Since: "0.1",
		Doc: "The hottest sensor of the machine; 0 where there is none.",
	})
	diskGauge = Attrs.GaugeVec(attr.Decl{
		Path: "host/disk_bytes", Unit: "bytes", Label: "state", Values: []string{"total", "available"}, Since: "0.1",
		Doc: "Size of the root file system, and what of it can still be written.",
	})
)

var directions = []string{"receive", "transmit"}

// Host is where the figures are read. A figure that cannot be read stays 0: not
// every kernel has every file.
type Host struct {
	Root string // of the file system, "/" but in tests
}

// Collect fills a sample. Safe for concurrent use.
func (h Host) Collect(s *attr.Sample) {
	h.lines("proc/stat", func(f []string) { cpu(s, f) })
	h.lines("proc/meminfo", func(f []string) { memory(s, f) })
	h.lines("proc/net/softnet_stat", func(f []string) { backlog(s, f) })
	h.lines("proc/net/dev", func(f []string) { device(s, f) })
	h.temperature(s)
	h.disk(s)
}

// lines calls f with the words of each line of a file.
func (h Host) lines(name string, f func(fields []string)) {
	file, err := os.Open(filepath.Join(h.Root, name))
	if err != nil {
		return
	}
	defer file.Close()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		if fields := strings.Fields(lines.Text()); len(fields) > 0 {
			f(fields)
		}
	}
}

// ticks is how many there are in a second, in /proc on all of Linux (USER_HZ).
const ticks = 100

func cpu(s *attr.Sample, fields []string) {
	if fields[0] != "cpu" {
		return
	}
	for i := range min(len(modes), len(fields)-1) {
		cpuCounter.AddFloat(s, i, float64(number(fields[i+1]))/ticks)
	}
}

func memory(s *attr.Sample, fields []string) {
	if len(fields) < 2 {
		return
	}
	switch kib := float64(number(fields[1])); fields[0] {
	case "MemTotal:":
		memoryGauge.Set(s, 0, kib*1024)
	case "MemAvailable:":
		memoryGauge.Set(s, 1, kib*1024)
	}
}

// backlog reads the line of a CPU: hexadecimal, of which the second and third are
// the drops and the squeezes (net/core/net-procfs.c softnet_seq_show).
func backlog(s *attr.Sample, fields []string) {
	if len(fields) < 3 {
		return
	}
	for i, word := range fields[1:3] {
		n, _ := strconv.ParseUint(word, 16, 64)
		backlogCounter.Add(s, i, n)
	}
}

// device reads the line of a network device: eight figures of what it received,
// then eight of what it sent, of which the first are bytes, packets, errors and
// drops (proc_pid_net(5)).
func device(s *attr.Sample, fields []string) {
	name, first, ok := strings.Cut(strings.Join(fields, " "), ":")
	figures := strings.Fields(first)
	if !ok || name == "lo" || len(figures) < 12 {
		return
	}
	for i := range directions {
		own := figures[8*i:]
		bytesCounter.Add(s, i, number(own[0]))
		errorCounter.Add(s, i, number(own[2]))
		droppedCounter.Add(s, i, number(own[3]))
	}
}

// temperature reads the sensors in thousandths of a degree
// (Documentation/hwmon/sysfs-interface).
func (h Host) temperature(s *attr.Sample) {
	names, _ := filepath.Glob(filepath.Join(h.Root, "sys/class/hwmon/hwmon*/temp*_input"))
	hottest := 0.0
	for _, name := range names {
		text, _ := os.ReadFile(name)
		if milli, err := strconv.ParseFloat(strings.TrimSpace(string(text)), 64); err == nil {
			hottest = max(hottest, milli/1000)
		}
	}
	temperatureGauge.Set(s, hottest)
}

func (h Host) disk(s *attr.Sample) {
	var fs syscall.Statfs_t
	if syscall.Statfs(h.Root, &fs) != nil {
		return
	}
	diskGauge.Set(s, 0, float64(fs.Blocks)*float64(fs.Bsize))
	diskGauge.Set(s, 1, float64(fs.Bavail)*float64(fs.Bsize))
}

// number reads a figure, 0 if it is none.
func number(word string) uint64 {
	n, _ := strconv.ParseUint(word, 10, 64)
	return n
}
