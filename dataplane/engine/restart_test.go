package engine_test

import (
	"slices"
	"testing"
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/ice"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
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

// TestICERestartTwice: what the peer has begun to use stays good while it may not
// have heard of another restart, though it has not nominated with it yet.
func TestICERestartTwice(t *testing.T) {
	st := newStage(t)
	pr := st.probe(st.v.peer)
	first, firstPwd := st.restarted(st.v.peer)
	st.answered(pr, notNominating(first, firstPwd))
	second, secondPwd := st.restarted(st.v.peer)
	if !st.answered(pr, bindingRequest(first, firstPwd, 1)) || !st.answered(pr, bindingRequest(second, secondPwd, 2)) {
		t.Error("the credentials in use, or the new ones, are no good")
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

// TestCheckIsAnsweredWhereItLanded: a check that lands at another shard than its
// session's is answered by way of that shard, so that what the peer sends when it
// has the answer, maybe media of a session that moved, is not dropped there.
func TestCheckIsAnsweredWhereItLanded(t *testing.T) {
	var engines [2]*engine.Engine
	for i := range engines {
		engines[i] = engine.New(engine.Config{Shard: i, Shards: 2, Sessions: 1, Streams: 1}, engine.DefaultSettings())
	}
	landed, owner := engines[0], engines[1]
	ufrag, pwd := ice.NewUfrag(1, &[ice.RandomLen]byte{})
	owner.HandleCommand(1, msg.AddSession{ID: msg.NewSessionID(1, 1), Ufrag: ufrag, Pwd: pwd})
	path := pkt.Path{Remote: pkt.Addr{IP: [16]byte{15: 1}, Port: 9}, Local: local}
	arrive := func(b []byte) (m engine.Relay) {
		landed.HandleDatagrams(2, []pkt.Datagram{{Path: path, Data: b}})
		if !landed.PollRelay(1, &m) || m.Kind != engine.RelayDatagram {
			t.Fatalf("% x is not passed on", b[:2])
		}
		return m
	}
	sent := func(e *engine.Engine) []byte {
		tx := pkt.NewBatch(make([]byte, 4096), 4)
		e.PollTransmit(tx)
		if len(tx.Runs()) == 0 {
			return nil
		}
		return tx.Bytes(&tx.Runs()[0])
	}
	check := arrive(bindingRequest(ufrag, pwd, 1))
	owner.HandleRelay(3, 0, &check)
	if b := sent(owner); b != nil {
		t.Fatal("answered before the shard where the check landed knows whose the address is")
	}
	var known engine.Relay
	if !owner.PollRelay(0, &known) || known.Kind != engine.RelayOwner {
		t.Fatal("the shard where the check landed is not told")
	}
	landed.HandleRelay(4, 1, &known)
	if b := sent(landed); len(b) < 2 || b[0] != 1 || b[1] != 1 {
		t.Fatalf("answered by % x", b)
	}
	arrive([]byte{22, 0xfe, 0xfd, 1})
}

// TestReportsOfEachReign: an encoder that starts again takes a new SSRC. Its sender reports are taken as often as its media.
func TestReportsOfEachReign(t *testing.T) {
	b := newPublished(t, 1, 1, msg.Feedback{PLI: true})
	e := b.engines[0]
	for range 12 {
		b.ssrc++
		b.handle(0, b.frame(true))
		b.handle(0, []pkt.Datagram{b.publisher.rtcp(b.ssrc, wire.AppendSenderReport(nil, &wire.SenderReport{SSRC: b.ssrc, NTP: ntpOrigin}))})
	}
	if n := e.Counters.Drops[wire.DropReplay]; n != 0 {
		t.Errorf("%d of 12 sender reports were taken for replays", n)
	}
}
