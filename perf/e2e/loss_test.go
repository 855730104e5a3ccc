package e2e

import (
	"fmt"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
)

// lossStretch is for how long a viewer on a lossy link must play.
const lossStretch = 10 * time.Second

// lossyLink is a program of the kernel that loses UDP over IPv4 at random as it
// comes in by a namespace's link.
type lossyLink struct {
	lost *ebpf.Map // packets so far
	prog *ebpf.Program
	link link.Link
}

// lose attaches the program; percent is 0 to 100.
func (ns *netns) lose(t *testing.T, percent int) *lossyLink {
	t.Helper()
	var err error
	must := func(e error) {
		if e != nil {
			t.Fatalf("losing %d %% of UDP: %v", percent, e)
		}
	}
	// A train of segments counts as one packet, so there are to be none.
	must(ns.ip("link set eth0 gso_max_segs 1"))
	l := &lossyLink{}
	l.lost, err = ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	must(err)
	l.prog, err = ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.SchedCLS, License: "GPL", Instructions: lossProgram(l.lost, percent)})
	must(err)
	must(ns.do(func() error {
		eth0, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		l.link, err = link.AttachTCX(link.TCXOptions{Interface: eth0.Index, Program: l.prog, Attach: ebpf.AttachTCXIngress})
		return err
	}))
	t.Cleanup(func() {
		l.link.Close()
		l.prog.Close()
		l.lost.Close()
	})
	return l
}

// lossProgram drops a part of what has EtherType IPv4 and protocol UDP.
func lossProgram(lost *ebpf.Map, percent int) asm.Instructions {
	const (
		etherType, protocol = 12, 23 // offsets in the frame
		next, drop          = -1, 2  // enum tcx_action_base, linux/bpf.h
		key                 = -4     // on the stack
	)
	return asm.Instructions{
		asm.Mov.Reg(asm.R6, asm.R1), // where the loads below look for the packet
		asm.LoadAbs(etherType, asm.Half),
		asm.JNE.Imm(asm.R0, 0x0800, "pass"),
		asm.LoadAbs(protocol, asm.Byte),
		asm.JNE.Imm(asm.R0, 17, "pass"),
		asm.FnGetPrandomU32.Call(),
		asm.Mod.Imm(asm.R0, 100),
		asm.JGE.Imm(asm.R0, int32(percent), "pass"),
		asm.StoreImm(asm.RFP, key, 0, asm.Word),
		asm.LoadMapPtr(asm.R1, lost.FD()),
		asm.Mov.Reg(asm.R2, asm.RFP),
		asm.Add.Imm(asm.R2, key),
		asm.FnMapLookupElem.Call(),
		asm.JEq.Imm(asm.R0, 0, "pass"),
		asm.Mov.Imm(asm.R1, 1),
		asm.StoreXAdd(asm.R0, asm.R1, asm.DWord),
		asm.Mov.Imm(asm.R0, drop),
		asm.Return(),
		asm.Mov.Imm(asm.R0, next).WithSymbol("pass"),
		asm.Return(),
	}
}

// packets is how many were lost.
func (l *lossyLink) packets(t *testing.T) (n uint64) {
	t.Helper()
	if err := l.lost.Lookup(uint32(0), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

// lossy is a lab of its own whose link loses UDP both ways, with a Chromium.
func lossy(t *testing.T, percent int) (*lab, [2]*lossyLink) {
	t.Helper()
	l := theatre(t)
	f := &lab{dir: t.TempDir(), binary: l.binary, director: l.director}
	var err error
	if f.servers, f.clients, err = joinNamespaces(); err != nil {
		t.Fatal(err)
	}
	links := [2]*lossyLink{f.servers.lose(t, percent), f.clients.lose(t, percent)}
	if err := f.serveStage(f.clients); err != nil {
		t.Fatal(err)
	}
	f.chromium, err = l.director.launch(f.clients, f.dir, fmt.Sprintf("chromium-loss-%d", percent))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.chromium.proc.stop(patience) })
	return f, links
}

// TestLoss: Chromium watches what Chromium publishes where the link loses a part of
// all UDP, media and checks alike, on the way to the server and on the way from it.
// Retransmissions repair that: at 0 and 2 % there is no freeze of half a second; at
// 10 % pictures go on.
func TestLoss(t *testing.T) {
	for _, percent := range []int{0, 2, 10} {
		t.Run(strconv.Itoa(percent), func(t *testing.T) {
			l, links := lossy(t, percent)
			s := l.serve(t, hostV4)
			l.chromium.open(t, peerSpec{role: "publish", url: s.whip("lossy"), codec: "video/VP8"})
			viewer := l.chromium.open(t, peerSpec{role: "watch", url: s.whep("lossy")})
			err := viewer.wait(repaired(lossStretch, percent))
			up, down := links[0].packets(t), links[1].packets(t)
			t.Logf("%d and %d packets lost on the way up and down; %s", up, down, viewer.newest().summary())
			if err != nil {
				t.Fatal(err)
			}
			if lost := up > 0 && down > 0; lost != (percent > 0) {
				t.Errorf("at %d %% the links lost %d and %d packets", percent, up, down)
			}
		})
	}
}

// repaired is playing over a stretch of a lossy link: pictures are decoded and
// move; up to 2 % of loss there are ten a second and none waits for half a second;
// where there is loss, the viewer asked for packets again.
func repaired(stretch time.Duration, percent int) func([]report) string {
	return func(reports []report) string {
		last := reports[len(reports)-1]
		if last.State != "connected" || last.Video == nil {
			return "state is " + last.State
		}
		if percent > 0 && last.Video.NackCount == 0 {
			return "it asked for no packet again"
		}
		for i := len(reports) - 1; i > 0; i-- {
			if reports[i-1].Video == nil {
				break
			}
			before, after := reports[i-1].Video, reports[i].Video
			// A freeze counts when it is over, whole.
			froze := value(after.FreezesDuration) - value(before.FreezesDuration)
			if percent <= 2 && (froze > 0.5 || after.FramesDecoded == before.FramesDecoded) {
				return fmt.Sprintf("a freeze of up to %.2f s, %v ago", froze, last.At.Sub(reports[i].At))
			}
			if last.At.Sub(reports[i-1].At) < stretch {
				continue
			}
			frames := last.Video.FramesDecoded - before.FramesDecoded
			least := int(stretch.Seconds() * 2)
			if percent <= 2 {
				least = int(stretch.Seconds() * 10)
			}
			if frames < least || last.Pixels.Moved-reports[i-1].Pixels.Moved < 3 {
				return fmt.Sprintf("%d frames in %v, want %d", frames, stretch, least)
			}
			return ""
		}
		return "no stretch of that length yet"
	}
}
