package deploy

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// metric is what the description of an attribute or metric says of its series.
type metric struct {
	histogram bool
	label     string
	values    []string
}

// metrics returns what docs/abi describes, by name; a test of the appliance holds
// it to what is declared.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	files, err := filepath.Glob("../docs/abi/*/*")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]metric{}
	for _, file := range files {
		for entry := range strings.SplitSeq(read(t, file), "\nWhat:") {
			name := regexp.MustCompile(`(?m)^Metric:\s+(\S+)$`).FindStringSubmatch(entry)
			if name == nil {
				continue
			}
			m := metric{histogram: regexp.MustCompile(`(?m)^Kind:\s+histogram$`).MatchString(entry)}
			if r := regexp.MustCompile(`(?s)\nRange:\s+(\w+) is one of (.*?)\n\w`).FindStringSubmatch(entry); r != nil {
				m.label, m.values = r[1], strings.Fields(strings.ReplaceAll(r[2], ",", " "))
			}
			all[name[1]] = m
		}
	}
	if len(all) < 40 {
		t.Fatalf("docs/abi describes %d metrics: has its form changed?", len(all))
	}
	return all
}

var (
	selector = regexp.MustCompile(`\b(sluice_\w+)(?:\{([^}]*)\})?`)
	matcher  = regexp.MustCompile(`(\w+)\s*(=~|!~|!=|=)\s*"([^"]*)"`)
)

// check reports what an expression names that no scrape has.
func check(t *testing.T, known map[string]metric, where, expr string) {
	t.Helper()
	for _, s := range selector.FindAllStringSubmatch(expr, -1) {
		name := s[1]
		m, ok := known[name]
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if base, cut := strings.CutSuffix(name, suffix); cut && !ok {
				m, ok = known[base], known[base].histogram
			}
		}
		if !ok {
			t.Errorf("%s names %s, which is no metric", where, name)
			continue
		}
		for _, l := range matcher.FindAllStringSubmatch(s[2], -1) {
			switch {
			case l[1] == "instance" || l[1] == "job":
			case l[1] != m.label:
				t.Errorf("%s asks %s for the label %s", where, name, l[1])
			default:
				for value := range strings.SplitSeq(l[3], "|") {
					if !slices.Contains(m.values, value) {
						t.Errorf("%s asks %s for %s=%q, which it never has", where, name, l[1], value)
					}
				}
			}
		}
	}
}

// Every query of the dashboard names what there is, and panels do not overlap.
func TestDashboard(t *testing.T) {
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, Y, W, H int }
			Targets []struct{ Expr string }
		}
		Templating struct {
			List []struct{ Query struct{ Query string } }
		}
	}
	if err := json.Unmarshal([]byte(read(t, "grafana.json")), &board); err != nil {
		t.Fatal(err)
	}
	known := metrics(t)
	taken := map[[2]int]string{}
	for _, p := range board.Panels {
		if len(p.Targets) == 0 {
			t.Errorf("panel %q asks for nothing", p.Title)
		}
		for _, target := range p.Targets {
			if !strings.Contains(target.Expr, "_") {
				t.Errorf("panel %q asks for %q", p.Title, target.Expr)
			}
			check(t, known, "panel "+p.Title, target.Expr)
		}
		at := p.GridPos
		for x := at.X; x < at.X+at.W; x++ {
			for y := at.Y; y < at.Y+at.H; y++ {
				if other := taken[[2]int{x, y}]; other != "" || x >= 24 {
					t.Fatalf("panel %q lies over %q, or beside the board", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
	for _, v := range board.Templating.List {
		check(t, known, "the variable", v.Query.Query)
	}
}

// Every alert names what there is, and attributes that there are, and has a test
// in which it fires; promtool finds that they do.
func TestAlerts(t *testing.T) {
	rules, tests := read(t, "alerts.yml"), read(t, "alerts_test.yml")
	check(t, metrics(t), "alerts.yml", rules)
	alerts := regexp.MustCompile(`- alert: (\w+)`).FindAllStringSubmatch(rules, -1)
	if len(alerts) == 0 || len(alerts) != strings.Count(rules, "runbook:") || len(alerts) != strings.Count(rules, "severity:") {
		t.Errorf("%d alerts, %d runbooks, %d severities", len(alerts), strings.Count(rules, "runbook:"), strings.Count(rules, "severity:"))
	}
	for _, a := range alerts {
		if !regexp.MustCompile(`alertname: ` + a[1] + `\n\s+exp_alerts:\n\s+- exp_labels`).MatchString(tests) {
			t.Errorf("no test makes %s fire", a[1])
		}
	}
	var abi strings.Builder
	files, err := filepath.Glob("../docs/abi/*/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		abi.WriteString(read(t, file))
	}
	for _, path := range regexp.MustCompile(`\b(?:dataplane|limits|admin)/\w+`).FindAllString(rules, -1) {
		if !regexp.MustCompile(`(?m)^What:\s+` + path + `$`).MatchString(abi.String()) {
			t.Errorf("alerts.yml names the attribute %s, which does not exist", path)
		}
	}
	promtool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool: make deps installs it (Debian package prometheus)")
	}
	run(t, exec.Command(promtool, "check", "rules", "alerts.yml"))
	run(t, exec.Command(promtool, "test", "rules", "alerts_test.yml"))
}
