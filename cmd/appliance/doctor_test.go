package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/dataplane"
	"sluice/netopt/attr"
	"sluice/netopt/host"
	"sluice/netopt/tune"
)

// patient is a doctor for a machine that is a directory.
func patient(t *testing.T, files map[string]string) (*doctor, *bytes.Buffer, func(name string) string) {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		name = filepath.Join(root, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	machine, err := host.OpenMachine(root)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { machine.Close() })
	out := new(bytes.Buffer)
	floor := func(int) ([]time.Duration, error) {
		return []time.Duration{40 * time.Microsecond, 90 * time.Microsecond}, nil
	}
	d := &doctor{out: out, machine: machine, floor: floor, journalDir: filepath.Join(t.TempDir(), "state"),
		wish: tune.Wish{Profile: "latency", ReceiveBuffer: 8 << 20, SendBuffer: 8 << 20}}
	return d, out, func(name string) string {
		text, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Error(err)
		}
		return strings.TrimSpace(string(text))
	}
}

const (
	rmem = "proc/sys/net/core/rmem_max"
	stat = "proc/sys/vm/stat_interval"
)

// Sick, treated, well, and as before.
func TestDoctor(t *testing.T) {
	d, out, file := patient(t, map[string]string{rmem: "212992\n", stat: "1\n"})
	if err := d.audit(); !errors.Is(err, errUnhealthy) || status(err) != 1 {
		t.Error(err)
	}
	for _, want := range []string{
		"! needed  net.core.rmem_max: 212992 -> 8388608\n", "why:  a socket gets", "risk: any process", "undo: sysctl -w net.core.rmem_max=212992\n",
		"change  vm.stat_interval: 1 -> 10\n", "skip    net.core.wmem_max: this machine does not have it\n", "2 to change",
		"receive times; dataplane/timestamps turns it off\n",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if file(rmem) != "212992" {
		t.Error("looking changed something")
	}
	if err := d.runApply(); err != nil || file(rmem) != "8388608" || file(stat) != "10" {
		t.Error(err, file(rmem), file(stat), out)
	}
	out.Reset()
	if err := d.audit(); err != nil || !strings.Contains(out.String(), "ok      net.core.rmem_max is 8388608\n") {
		t.Error(err, out)
	}
	if err := d.runUndo(); err != nil || file(rmem) != "212992" || file(stat) != "1" {
		t.Error(err, file(rmem), file(stat))
	}
	out.Reset()
	if err := d.runUndo(); err != nil || !strings.Contains(out.String(), "nothing to change") {
		t.Error(err, out)
	}
}

// A machine that takes longer for nothing than a stream may for everything.
func TestDoctorBudgets(t *testing.T) {
	tree := attr.NewTree(tables()...)
	for _, set := range [][2]string{{"dataplane/budget_us", "100"}, {"streams/gate/budget_us", "50"}, {"streams/gate/budget_quantile_permille", "999"},
		{"streams/lenient/budget_us", "50"}, {"streams/lenient/budget_quantile_permille", "500"}} {
		tree.Mkdir(filepath.Dir(set[0]))
		if err := tree.Set(set[0], set[1]); err != nil {
			t.Fatal(err)
		}
	}
	d, out, _ := patient(t, nil)
	d.budgets = budgets(tree)
	err := d.latency()
	if !errors.Is(err, errUnhealthy) || !strings.Contains(err.Error(), "streams/gate/budget_us is 50µs, and the machine alone takes 90µs") || strings.Contains(err.Error(), "lenient") {
		t.Error(err)
	}
	for _, want := range []string{"takes this machine 40µs now, 90µs at the 99th", "dataplane/budget_us leaves 10µs", "streams/lenient/budget_us leaves 10µs"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
}

// A machine that does not let itself be tuned.
func TestDoctorCannot(t *testing.T) {
	d, out, _ := patient(t, map[string]string{"proc/sys/net/core/rmem_max": "212992"})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(d.journalDir, 0o777))
	must(os.Chmod(d.journalDir, 0o777))
	if err := d.runApply(); err == nil || !strings.Contains(err.Error(), "nobody else may write") {
		t.Error(err, out)
	}
}

func TestDoctorTellsWhatIsBroken(t *testing.T) {
	d, out, _ := patient(t, nil)
	d.accelerators([]dataplane.Finding{{Name: "trains", Err: errors.New("arrive as one"), Switch: "dataplane/gso"}})
	if out.String() != "  lacks   trains: arrive as one; it is not used\n" {
		t.Error(out)
	}
}

func TestDoctorCommandLine(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	for _, c := range []struct {
		args []string
		exit []int
		says string
	}{
		{[]string{"--config", none}, []int{0, 1}, "Profile default."},
		{[]string{"--config", none, "--profile", "latency"}, []int{0, 1}, "Profile latency."},
		{[]string{"--config", none, "--undo"}, []int{0}, "nothing to change"}, // in the state directory of the test
		{[]string{"--profile", "warp"}, []int{2}, "not one of default, latency, throughput"},
		{[]string{"--apply", "--undo"}, []int{2}, "one of --apply and --undo"},
		{[]string{"loose"}, []int{2}, "takes flags only"},
		{[]string{"-h"}, []int{0}, "-profile"},
	} {
		cmd := command(t, append([]string{"doctor"}, c.args...)...)
		out, _ := cmd.CombinedOutput()
		exit := cmd.ProcessState.ExitCode()
		if exit != c.exit[0] && exit != c.exit[len(c.exit)-1] || !strings.Contains(string(out), c.says) {
			t.Errorf("%q: exit %d\n%s", c.args, exit, out)
		}
	}
}
