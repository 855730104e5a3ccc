package scenario

import (
	"slices"
	"testing"

	"sluice/perf/rig"
)

// TestTable holds the table to what compare relies on.
func TestTable(t *testing.T) {
	names := map[string]bool{}
	for _, s := range Table() {
		if names[s.Name] || s.Name == "all" || s.Name == "quick" {
			t.Errorf("%s: the name is taken", s.Name)
		}
		names[s.Name] = true
		if s.About == "" || len(s.Arms) == 0 || s.Plan.Viewers < s.Plan.Full {
			t.Errorf("%s: incomplete: %+v", s.Name, s)
		}
		arms := map[string]bool{}
		for _, a := range s.Arms {
			if _, err := rig.Lookup(a.Server); err != nil || arms[a.Name] {
				t.Errorf("%s, arm %q: twice, or %v", s.Name, a.Name, err)
			}
			arms[a.Name] = true
		}
	}
	for _, q := range Quick {
		if !names[q] {
			t.Errorf("quick names %s, which the table lacks", q)
		}
	}
}

func TestSelect(t *testing.T) {
	for patterns, want := range map[string][]string{
		"burst-100": {"burst-100"}, "tx-ppf*,storm": {"tx-ppf4", "tx-ppf32", "storm"}, "all": Names(),
	} {
		list, err := Select(patterns)
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range list {
			names = append(names, s.Name)
		}
		if !slices.Equal(names, want) {
			t.Errorf("%q selects %v, want %v", patterns, names, want)
		}
	}
	for _, bad := range []string{"nothing", "[", ""} {
		if _, err := Select(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAdHoc(t *testing.T) {
	list, err := AdHoc("5,200", "burst,paced", "10,all", []string{"sluice", "floor", "rival=http://host"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	var full []int
	for _, s := range list {
		names, full = append(names, s.Name), append(full, s.Plan.Full)
	}
	if want := []string{
		"n5-burst-full-10", "n200-burst-full-10", "n5-paced-full-10", "n200-paced-full-10",
		"n5-burst-full-all", "n200-burst-full-all", "n5-paced-full-all", "n200-paced-full-all",
	}; !slices.Equal(names, want) {
		t.Errorf("scenarios are %v", names)
	}
	if want := []int{5, 10, 5, 10, 5, 200, 5, 200}; !slices.Equal(full, want) {
		t.Errorf("full viewers are %v", full)
	}
	if a := list[3].Arms; list[3].Plan.Spread == 0 || !slices.Equal(a[1].Args, []string{"-paced"}) || a[2].Name != "rival" {
		t.Errorf("paced scenario is %+v", list[3])
	}
	for _, bad := range [][3]string{{"0", "burst", "1"}, {"x", "burst", "1"}, {"1", "slow", "1"}, {"1", "burst", "none"}, {"1", "burst", "0"}} {
		if _, err := AdHoc(bad[0], bad[1], bad[2], nil); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
