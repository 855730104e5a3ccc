package controlplane_test

import (
	"strconv"
	"testing"

	"sluice/netopt/attr"
)

// Each attribute that can be changed while running is changed to its ends and
// back while media flows, and no packet is lost, doubled or changed by that.
func TestTuningLosesNothing(t *testing.T) {
	r := start(t)
	must(t, r.tree.Mkdir("streams/live"))
	publisher := r.publish("live", settings{}, vp8)
	viewer := r.watch("live", settings{}, vp8)
	publisher.video().run(1, viewer)
	begin := len(viewer.packets(videoKind))
	if begin == 0 {
		t.Fatal("nothing flows")
	}
	changed := 0
	for path, values := range tunings(r.tree) {
		for _, value := range values {
			must(t, r.tree.Set(path, value))
			if got, err := r.tree.Get(path); err != nil || got != value {
				t.Errorf("%s: %q was written, %q is read, %v", path, value, got, err)
			}
			publisher.video().send(false, 3)
			changed++
		}
	}
	if changed < 30 {
		t.Errorf("%d changes were made: is this still the whole table?", changed)
	}
	viewer.same(videoKind, publisher.video().sent)
}

// tunings returns what to write to each attribute that is RW, its own value last.
func tunings(tree *attr.Tree) map[string][]string {
	all := map[string][]string{}
	tree.Walk("", func(d *attr.Decl, value string) {
		if d.Kind.Metric() || d.Mode != attr.RW {
			return
		}
		if d.Path == "auth/mode" {
			return // it ends who was let in without a token, and that is what it is for
		}
		switch d.Kind {
		case attr.KindInt:
			least := d.Min
			if d.Path == "dataplane/mtu_bytes" {
				least = 1200 // what is longer is dropped, and that is what it is for
			}
			all[d.Path] = []string{strconv.FormatInt(least, 10), strconv.FormatInt(d.Max, 10), value}
		case attr.KindBool:
			all[d.Path] = []string{"0", "1", value}
		case attr.KindEnum:
			all[d.Path] = append(append([]string{}, d.Values...), value)
		default: // what a text or list may be is its Check's to know
			all[d.Path] = []string{value}
		}
	})
	return all
}
