package engine_test

import (
	"slices"
	"testing"
	"time"

	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/simnet"
	"sluice/dataplane/wire"
)

// restarted gives a peer's session new credentials, which the peer does not use
// yet, and returns them.
func (st *stage) restarted(p *peer) (ufrag, pwd string) {
	var random [ice.RandomLen]byte
	st.rand.Fill(random[:])
	ufrag, pwd = ice.NewUfrag(p.id.Shard(), &random)
	st.e.HandleCommand(st.net.Now(), msg.RestartICE{ID: p.id, Ufrag: ufrag, Pwd: pwd})
	return ufrag, pwd
}

// probe is a host of a peer's that notes what it is sent.
type probe struct {
	host *simnet.Host
	got  [][]byte
}

func (st *stage) probe(p *peer) *probe {
	pr := &probe{}
	pr.host = st.net.NewHost(st.newAddr(p), func(b []byte) { pr.got = append(pr.got, slices.Clone(b)) })
	return pr
}

// answered reports whether a check from the probe is, with a success.
func (st *stage) answered(pr *probe, check []byte) bool {
	before := len(pr.got)
	st.send(pr.host, check)
	return len(pr.got) > before && pr.got[before][0] == 1 && pr.got[before][1] == 1
}

// media counts what is no STUN.
func (pr *probe) media() (n int) {
	for _, b := range pr.got {
		if wire.Classify(b) == wire.ProtoRTP {
			n++
		}
	}
	return n
}

// notNominating takes USE-CANDIDATE out of a check.
func notNominating(ufrag, pwd string) []byte {
	b := append([]byte{0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 12)...)
	b = attribute(b, 0x0006, []byte(ufrag+":peer"))
	b = attribute(b, 0x802a, []byte("tiebreak"))
	return signed(attribute(b, 0x0024, []byte{0x6e, 0, 1, 0xff}), pwd)
}

// TestICERestart: both credentials are good until the peer nominates with the new
// ones, then only those are; the viewer misses nothing meanwhile.
func TestICERestart(t *testing.T) {
	st := newStage(t)
	p := st.v.peer
	pr := st.probe(p)
	ufrag, pwd := st.restarted(p)
	st.pass(time.Second)
	for name, check := range map[string][]byte{
		"the former credentials": p.checkPacket(), "the new ones, not nominating": notNominating(ufrag, pwd), "the former ones again": p.checkPacket(),
	} {
		if !st.answered(pr, check) {
			t.Errorf("a check with %s is not answered", name)
		}
	}
	if st.answered(pr, bindingRequest(ufrag, p.pwd, 1)) || st.answered(pr, bindingRequest(p.ufrag, pwd, 2)) {
		t.Error("a check with one's ufrag and the other's password is answered")
	}
	former := p.checkPacket()
	p.ufrag, p.pwd = ufrag, pwd
	st.send(p.host, p.checkPacket())
	if n := st.dropped(wire.DropSTUNUnknownUser, func() { st.answered(pr, former) }); n != 1 {
		t.Error("the former credentials are good after the new ones were used")
	}
	st.pass(40 * time.Second)
	st.settled() // every packet arrived, once
	for _, p := range st.live() {
		st.remove(p)
	}
	st.pass(time.Second)
	st.empty()
}

// TestICERestartMovesMedia: a peer that restarts from another network gets its
// media there with its first nominating check, before it has sent anything else;
// a replay of that check from elsewhere moves nothing.
func TestICERestartMovesMedia(t *testing.T) {
	st := newStage(t)
	p := st.v.peer
	ufrag, pwd := st.restarted(p)
	home, thief := st.probe(p), st.probe(p)
	st.answered(home, notNominating(ufrag, pwd))
	st.pass(500 * time.Millisecond)
	if home.media() != 0 {
		t.Fatal("media moved with a check that nominates nothing")
	}
	check := bindingRequest(ufrag, pwd, 1)
	changes := st.e.Counters.PathChanges
	st.answered(home, check)
	st.answered(thief, check)
	p.gone = true // its old network is: no report comes from there
	st.pass(500 * time.Millisecond)
	if home.media() == 0 || thief.media() != 0 || st.e.Counters.PathChanges != changes+1 {
		t.Errorf("%d packets to the new address, %d to where the check was replayed, %d changes of path",
			home.media(), thief.media(), st.e.Counters.PathChanges-changes)
	}
}

// TestICERestartUnused: a restart that the peer makes no use of leaves the session
// as it is for a while; then the former credentials are over.
func TestICERestartUnused(t *testing.T) {
	st := newStage(t)
	pr := st.probe(st.v.peer)
	first, firstPwd := st.restarted(st.v.peer)
	st.pass(time.Second)
	second, secondPwd := st.restarted(st.v.peer)
	if st.answered(pr, bindingRequest(first, firstPwd, 1)) {
		t.Error("credentials of a restart before the last one are good")
	}
	st.pass(25 * time.Second)
	if !st.answered(pr, st.v.checkPacket()) || !st.answered(pr, notNominating(second, secondPwd)) {
		t.Error("25 s after a restart one of its credentials is no good")
	}
	st.flows()
	st.pass(6 * time.Second)
	if st.answered(pr, st.v.checkPacket()) || !st.answered(pr, notNominating(second, secondPwd)) {
		t.Error("31 s after a restart the former credentials are good, or the new ones are not")
	}
}

// TestICERestartBeforeCheck: a session can restart before its first check, and one
// that is gone does nothing.
func TestICERestartBeforeCheck(t *testing.T) {
	st := newStage(t)
	v := st.watch(st.s)
	st.pass(20 * time.Millisecond) // its first check came before the session, the next one is due later
	v.ufrag, v.pwd = st.restarted(v.peer)
	st.pass(time.Second)
	if !v.keyed {
		t.Error("no session after a restart before the first check")
	}
	st.remove(v.peer)
	st.pass(time.Second)
	st.restarted(v.peer)
	for _, p := range st.live() {
		st.remove(p)
	}
	st.pass(time.Second)
	st.empty()
}
