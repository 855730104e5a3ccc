package hostmetrics

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"sluice/netopt/attr"
)

// machine is a file system with what a small machine says of itself.
func machine(t *testing.T, files map[string]string) Host {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		file := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return Host{root}
}

func values(t *testing.T, h Host) map[string]string {
	t.Helper()
	tree := attr.NewTree(&Attrs)
	tree.Collect(h.Collect)
	got := map[string]string{}
	tree.Walk("", func(d *attr.Decl, text string) { got[d.Path] = text })
	return got
}

func TestFigures(t *testing.T) {
	got := values(t, machine(t, map[string]string{
		"proc/stat":             "cpu  100 20 300 4000 50 6 70 8 9 10\ncpu0 1 1 1 1 1 1 1 1 1 1\nintr 5\n",
		"proc/meminfo":          "MemTotal:        2048 kB\nMemFree: 1 kB\nMemAvailable:    1024 kB\n",
		"proc/net/softnet_stat": "0000ffff 00000010 00000002 00000000\n00000001 00000001 0000000a 00000000\n",
		"proc/net/dev": `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo: 999 9 9 9 0 0 0 0 999 9 9 9 0 0 0 0
  eth0: 1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
  eth1:1000 10 1 2 0 0 0 0 2000 20 3 4 0 0 0 0
`,
		"sys/class/hwmon/hwmon0/temp1_input": "41000\n",
		"sys/class/hwmon/hwmon3/temp2_input": "52500\n",
	}))
	for path, want := range map[string]string{
		"host/cpu_seconds":             "user 1\nnice 0.2\nsystem 3\nidle 40\niowait 0.5\nirq 0.06\nsoftirq 0.7\nsteal 0.08",
		"host/memory_bytes":            "total 2097152\navailable 1048576",
		"host/softnet_events":          "dropped 17\nsqueezed 12",
		"host/network_bytes":           "receive 2000\ntransmit 4000",
		"host/network_error_packets":   "receive 2\ntransmit 6",
		"host/network_dropped_packets": "receive 4\ntransmit 8",
		"host/temperature_celsius":     "52.5",
	} {
		if got[path] != want {
			t.Errorf("%s: %q, want %q", path, got[path], want)
		}
	}
}

// Files that lie, break off or are not there leave figures at 0, no more.
func TestBadFiles(t *testing.T) {
	for name, files := range map[string]map[string]string{
		"none":  {},
		"empty": {"proc/stat": "", "proc/meminfo": "\n\n", "proc/net/softnet_stat": "\n", "proc/net/dev": ":\n"},
		"cut off": {"proc/stat": "cpu", "proc/meminfo": "MemTotal:", "proc/net/softnet_stat": "ff", "proc/net/dev": "eth0: 1 2 3",
			"sys/class/hwmon/hwmon0/temp1_input": ""},
		"nonsense": {"proc/stat": "cpu x y", "proc/meminfo": "MemTotal: much", "proc/net/softnet_stat": "x y z", "proc/net/dev": "eth0: a b c d e f g h i j k l m n o p",
			"sys/class/hwmon/hwmon0/temp1_input": "warm"},
	} {
		for path, text := range values(t, machine(t, files)) {
			if path != "host/disk_bytes" && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz 0\n") != "" {
				t.Errorf("%s: %s is %q", name, path, text)
			}
		}
	}
}

// On this machine there are figures.
func TestThisMachine(t *testing.T) {
	got := values(t, Host{"/"})
	for _, path := range []string{"host/cpu_seconds", "host/memory_bytes", "host/disk_bytes"} {
		if strings.Contains(got[path]+"\n", "total 0\n") || strings.HasPrefix(got[path], "user 0\n") {
			t.Errorf("%s: %q", path, got[path])
		}
	}
}
