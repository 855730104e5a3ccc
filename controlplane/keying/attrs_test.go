package keying

import (
	"reflect"
	"testing"
	"time"

	"sluice/netopt/attr"
)

func TestLimitsComeFromTheTree(t *testing.T) {
	tree := attr.NewTree(&Attrs)
	for path, value := range map[string]string{
		"keying/parallel": "7", "keying/queue": "8", "keying/source_percent": "9", "keying/timeout_ms": "1500",
	} {
		if err := tree.Set(path, value); err != nil {
			t.Fatal(err)
		}
	}
	var got Config
	got.Limit(tree)
	if got.Parallel != 7 || got.Queue != 8 || got.SourcePercent != 9 || got.Timeout != 1500*time.Millisecond {
		t.Errorf("got %+v", got)
	}
}

// The defaults of the attributes are those of New.
func TestDefaultLimits(t *testing.T) {
	var cfg Config
	cfg.Limit(attr.NewTree(&Attrs))
	fromTree, fromNew := newRig(t, cfg).keyer.cfg, newRig(t, Config{}).keyer.cfg
	if fromTree.Parallel != fromNew.Parallel || fromTree.Queue != fromNew.Queue || fromTree.SourcePercent != fromNew.SourcePercent || fromTree.Timeout != fromNew.Timeout {
		t.Errorf("the tree has %+v, New has %+v", fromTree, fromNew)
	}
}

// Every figure of Stats is a metric, under its own name.
func TestCollect(t *testing.T) {
	k := newRig(t, Config{}).keyer
	k.stats = Stats{
		KeptBytes: 4, Started: 5, Done: 6, Failed: 7, Replayed: 8,
		DroppedStray: 9, DroppedBusy: 10, DroppedShare: 11, DroppedKeyed: 12,
	}
	k.turns.taken = room{running: 1, waiting: 2}
	k.keyed[1], k.keyed[2], k.keyed[3] = &kept{}, &kept{}, &kept{}
	tree := attr.NewTree(&Attrs)
	tree.Collect(k.Collect)
	got := map[string]string{}
	for _, d := range Attrs.Decls() {
		if d.Kind.Metric() {
			text, err := tree.Get(d.Path)
			if err != nil {
				t.Fatal(err)
			}
			got[d.Path] = text
		}
	}
	want := map[string]string{
		"keying/running_handshakes": "1",
		"keying/queued_sessions":    "2",
		"keying/keyed_sessions":     "3",
		"keying/kept_bytes":         "4",
		"keying/started_handshakes": "5",
		"keying/ended_handshakes":   "keyed 6\nfailed 7",
		"keying/replayed_flights":   "8",
		"keying/dropped_datagrams":  "stray 9\nbusy 10\nsource 11\nkeyed 12",
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q", got)
	}
}
