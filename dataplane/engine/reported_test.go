package engine_test

import (
	"testing"
	"time"

	"github.com/pion/rtcp"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/msg"
)

// TestReportsOfViewers: the picture of a session has what its viewer reports, and
// how long the way there and back is; nobody else's report gets in.
func TestReportsOfViewers(t *testing.T) {
	st := newStage(t)
	video := func() *engine.ReportedStats {
		for _, eg := range st.e.Session(st.v.id).Egresses {
			if eg.SSRC == st.v.streams[msg.Video].ssrc {
				return eg.Reported
			}
		}
		return nil
	}
	if r := video(); r != nil {
		t.Fatalf("nothing was reported, and yet %+v", r)
	}
	const there, back, held = 20 * time.Millisecond, 30 * time.Millisecond, 40 * time.Millisecond
	st.v.host.Down.Delay, st.v.host.Up.Delay = there, back
	check := st.v.onRTCP
	st.v.onRTCP = func(packets []rtcp.Packet) {
		check(packets)
		for _, p := range packets {
			sr, ok := p.(*rtcp.SenderReport)
			if !ok {
				continue
			}
			st.net.After(held, func() {
				st.v.sendRTCP(&rtcp.ReceiverReport{SSRC: st.v.ssrc, Reports: []rtcp.ReceptionReport{{
					SSRC: sr.SSRC, FractionLost: 64, TotalLost: 5, Jitter: st.v.streams[msg.Video].track.rate / 100,
					LastSenderReport: clock.NTP(sr.NTPTime).Mid(), Delay: uint32(held << 16 / time.Second),
				}}})
			})
		}
	}
	st.pass(5 * time.Second)
	r := video()
	if r == nil {
		t.Fatal("nothing is reported")
	}
	if off := r.RTT - there - back; off < -time.Millisecond || off > time.Millisecond {
		t.Errorf("there and back takes %v, want %v", r.RTT, there+back)
	}
	if r.Fraction != 0.25 || r.Lost != 5 || r.Jitter != 10*time.Millisecond || r.Age < 0 || r.Age > 5*time.Second {
		t.Errorf("%+v", r)
	}
	mallory := st.watch(st.s)
	st.pass(time.Second)
	before := video()
	mallory.sendRTCP(&rtcp.ReceiverReport{SSRC: st.v.ssrc, Reports: []rtcp.ReceptionReport{{SSRC: st.v.streams[msg.Video].ssrc, TotalLost: 99}}})
	st.net.Run(st.net.Now())
	if r := video(); r.Lost != before.Lost {
		t.Errorf("another one's report counts: %+v", r)
	}
}

// TestHeard: a peer that goes away without a word is counted for as long as asked
// for, one that stays is.
func TestHeard(t *testing.T) {
	st := newStage(t)
	const within = 10 * time.Second
	if n := st.e.Heard(within); n != 2 {
		t.Fatalf("%d of two were heard", n)
	}
	st.v.host.Up.Loss = 1
	st.pass(within - 3*time.Second)
	if n := st.e.Heard(within); n != 2 {
		t.Errorf("%d were heard of, one a while ago", n)
	}
	st.pass(4 * time.Second)
	if n := st.e.Heard(within); n != 1 {
		t.Errorf("%d were heard of, want one", n)
	}
	st.e.HandleCommand(st.net.Now(), msg.AddSession{ID: msg.NewSessionID(0, 1<<40), Ufrag: "0new", Pwd: "password"})
	if n := st.e.Heard(within); n != 2 {
		t.Errorf("%d were heard of, one by its request", n)
	}
}
