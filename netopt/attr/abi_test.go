package attr

import "testing"

func TestABI(t *testing.T) {
	var table Table
	table.Int(Decl{Path: "plane/shards", Unit: "shards", Mode: Boot, Max: 64, Since: "0.1", Doc: `
		How many threads forward media, each on a CPU of its own; 0 is one for each CPU.

		More threads than CPUs only cost.`})
	table.CounterVec(Decl{Path: "plane/dropped_packets", Unit: "packets", Label: "reason", Values: []string{"malformed", "replayed"}, Since: "0.1", Doc: "Datagrams that ended here."})
	table.Enum(Decl{Path: "log/level", Values: []string{"info", "debug"}, Stability: Stable, Since: "0.1", Doc: "What is logged."})
	table.List(Decl{Path: "plane/listen", Default: ":1 :2", Max: 3, Since: "0.2", Doc: "Where."})

	want := map[string]string{
		"testing/plane": `What:       plane/dropped_packets
Since:      0.1
Kind:       counter
Range:      reason is one of malformed, replayed
Unit:       packets
Metric:     sluice_plane_dropped_packets_total
Mode:       0444
Description:
            Datagrams that ended here.

What:       plane/listen
Since:      0.2
Kind:       list
Range:      0..3 entries
Default:    :1 :2
Mode:       0644
Description:
            Where.

What:       plane/shards
Since:      0.1
Kind:       integer
Range:      0..64
Unit:       shards
Default:    0
Mode:       0644, fixed at start
Description:
            How many threads forward media, each on a CPU of its own; 0 is one
            for each CPU.

            More threads than CPUs only cost.
`,
		"stable/log": `What:       log/level
Since:      0.1
Kind:       enumeration
Range:      info, debug
Default:    info
Mode:       0644
Description:
            What is logged.
`,
	}
	got := ABI(&table)
	if len(got) != len(want) {
		t.Errorf("%d files", len(got))
	}
	for name := range want {
		if got[name] != want[name] {
			t.Errorf("%s:\n%s\nwant:\n%s", name, got[name], want[name])
		}
	}
}
