package controlplane_test

import (
	"fmt"
	"testing"

	"sluice/perf/client"
)

// moved publishes streams until a publisher has moved to where its datagrams land,
// and returns that and a viewer of it.
func (r *rig) moved() (publisher, viewer *mover) {
	r.Helper()
	for i := range 40 {
		name := fmt.Sprintf("live%d", i)
		publisher = r.mover("/whip/"+name, client.Offer{Publish: &moverSSRCs})
		if r.metric("moved_publishers") == 0 {
			continue
		}
		viewer = r.mover("/whep/"+name, client.Offer{})
		r.begins(publisher, viewer)
		return publisher, viewer
	}
	r.Fatal("of 40 publishers none has moved")
	return nil, nil
}

// A publisher moves to the shard where its datagrams land, and nothing is handed over
// any more. Its ufrag names the shard where it was, which passes on its checks from
// other addresses.
func TestPublisherFollows(t *testing.T) {
	r := start(t)
	publisher, viewer := r.moved()
	before := r.metric("misplaced_packets")
	r.flow(100, publisher, viewer)
	viewer.complete(viewer.first(), publisher)
	if n := r.metric("misplaced_packets") - before; n > 20 {
		t.Errorf("%v of 100 packets were handed over", n)
	}
	for range 6 {
		must(t, publisher.conn.Rebind())
		publisher.check()
		r.flow(10, publisher, viewer)
	}
	viewer.complete(viewer.first(), publisher)
	must(t, publisher.conn.Restart(t.Context()))
	publisher.check()
	r.flow(10, publisher, viewer)
	viewer.complete(viewer.first(), publisher)
}

func TestPublisherStays(t *testing.T) {
	r := start(t, "dataplane/follow_publishers=0")
	for i := range 10 {
		r.mover(fmt.Sprintf("/whip/live%d", i), client.Offer{Publish: &moverSSRCs})
	}
	if n := r.metric("moved_publishers"); n != 0 {
		t.Errorf("%v moved", n)
	}
}
