package registry

import (
	"fmt"
	"slices"
	"testing"
)

// together returns a registry that keeps some viewers of a stream on a shard.
func together(shards, viewers, lead int) *Registry {
	r := New(shards, Limits{Sessions: 10000, Streams: 1000, Pending: 10000})
	r.Placement = Placement{Together: viewers, Lead: lead}
	return r
}

// places subscribes some viewers and returns where they went.
func places(t *testing.T, r *Registry, name string, n int) (shards []int) {
	t.Helper()
	for range n {
		shards = append(shards, subscribe(t, r, name).ID.Shard())
	}
	return shards
}

// Viewers fill the publisher's shard, then one shard after the other, and then all
// evenly.
func TestAStreamFillsShardAfterShard(t *testing.T) {
	r := together(3, 2, 100)
	publish(t, r, "s", vp8)
	want := []int{0, 0, 1, 1, 2, 2, 1, 2, 0, 1, 2, 0} // the publisher counts where all have as many
	if got := places(t, r, "s", len(want)); !slices.Equal(got, want) {
		t.Errorf("placed at %v, want %v", got, want)
	}
	if got, want := r.Placed(), [NumWheres]uint64{AtHome: 2, Further: 2, Near: 2, Full: 6}; got != want {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// Room at home is taken before room elsewhere: it costs no copy when the others
// have left.
func TestHomeComesFirst(t *testing.T) {
	r := together(2, 2, 100)
	publish(t, r, "s", vp8)
	var viewers []*Session
	for range 3 {
		viewers = append(viewers, subscribe(t, r, "s"))
	}
	r.Remove(viewers[0].ID)
	if got := places(t, r, "s", 2); !slices.Equal(got, []int{0, 1}) {
		t.Errorf("placed at %v", got)
	}
}

// Each of many small rooms is on one shard, and the shards share them.
func TestRoomsStayTogether(t *testing.T) {
	const shards, rooms, members = 4, 40, 5
	r := together(shards, 8, 2*members)
	for i := range rooms {
		name := fmt.Sprint(i)
		publisher, _ := publish(t, r, name, vp8)
		for _, at := range places(t, r, name, members-1) {
			if at != publisher.ID.Shard() {
				t.Fatalf("room %s is on shards %d and %d", name, publisher.ID.Shard(), at)
			}
		}
	}
	for shard, load := range r.loads {
		if load != rooms*members/shards {
			t.Errorf("shard %d has %d sessions of %d", shard, load, rooms*members)
		}
	}
}

// A shard that has many more sessions than another takes no more for nearness.
func TestAShardWithoutRoom(t *testing.T) {
	r := together(2, 100, 3)
	publish(t, r, "s", vp8)
	if got, want := places(t, r, "s", 8), []int{0, 0, 0, 1, 0, 1, 0, 1}; !slices.Equal(got, want) {
		t.Errorf("placed at %v, want %v", got, want)
	}
}

// A busy shard takes nobody while another is not busy; when all are, the stream's
// viewers are spread.
func TestABusyShard(t *testing.T) {
	r := together(3, 10, 100)
	publish(t, r, "s", vp8)
	r.SetBusy([]bool{true, false, true})
	if got, want := places(t, r, "s", 2), []int{1, 1}; !slices.Equal(got, want) {
		t.Errorf("placed at %v, want %v", got, want)
	}
	if p, _ := publish(t, r, "other", vp8); p.ID.Shard() != 1 {
		t.Errorf("a publisher is placed on shard %d", p.ID.Shard())
	}
	r.SetBusy([]bool{true, true, true})
	if got, want := places(t, r, "s", 3), []int{2, 0, 2}; !slices.Equal(got, want) {
		t.Errorf("placed at %v, want %v", got, want)
	}
	if n := r.Placed()[Crowded]; n != 3 {
		t.Errorf("%d viewers are counted as crowded", n)
	}
}

// A publisher that comes back comes to its viewers.
func TestAPublisherComesToItsViewers(t *testing.T) {
	r := together(2, 2, 100)
	publisher, _ := publish(t, r, "s", vp8)
	viewers := []*Session{subscribe(t, r, "s"), subscribe(t, r, "s"), subscribe(t, r, "s")} // at 0, 0, 1
	r.Remove(publisher.ID)
	r.Remove(viewers[0].ID)
	r.Remove(viewers[1].ID)
	publish(t, r, "elsewhere", vp8)
	publish(t, r, "elsewhere too", vp8)
	publish(t, r, "one more", vp8)
	if p, _ := publish(t, r, "s", vp8); p.ID.Shard() != 1 {
		t.Errorf("the publisher is on shard %d, its viewer on 1", p.ID.Shard())
	}
}
