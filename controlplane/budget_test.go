package controlplane_test

import (
	"bytes"
	"fmt"
	"testing"
)

// A stream that an operator gave a budget it cannot keep is over it, one without
// is not; and what is later than late_drop_us is not sent.
func TestBudgetOfAStream(t *testing.T) {
	r := start(t)
	must(t, r.tree.Mkdir("streams/tight"))
	must(t, r.tree.Set("streams/tight/budget_us", "1"))
	must(t, r.tree.Set("streams/tight/budget_window_ms", "1000"))
	tight, free := r.publish("tight", settings{}, vp8), r.publish("free", settings{}, vp8)
	sees := []*viewer{r.watch("tight", settings{}, vp8), r.watch("free", settings{}, vp8)}
	tight.video().run(20, sees[0])
	free.video().run(20, sees[1])
	r.eventually(func() string {
		if tight.video().send(false, 1); r.metric("budget_exceeded") == 0 || r.metric("over_budget_streams") != 1 {
			return fmt.Sprintf("%d windows exceeded, %d streams over", r.metric("budget_exceeded"), r.metric("over_budget_streams"))
		}
		return ""
	})
	if r.metric("late_packets") == 0 {
		t.Error("no packet is late")
	}
	late := r.metric("late_packets")
	free.video().run(20, sees[1])
	if n := r.metric("late_packets"); n > late+20 { // the tight stream's last ones may still be on the way
		t.Errorf("%d packets are late, %d were", n, late)
	}

	must(t, r.tree.Set("streams/tight/late_drop_us", "1"))
	r.eventually(func() string {
		if tight.video().send(true, 1); r.metric("dropped_packets/overdue") == 0 {
			return "nothing is overdue"
		}
		return ""
	})
	must(t, r.tree.Rmdir("streams/tight"))
	removed := len(tight.video().sent)
	r.eventually(func() string {
		tight.video().send(true, 1)
		for _, got := range sees[0].packets(videoKind) {
			for _, sent := range tight.video().sent[removed:] {
				if bytes.Equal(got.Payload, sent.Payload) {
					return ""
				}
			}
		}
		return "the limit still holds"
	})
}
