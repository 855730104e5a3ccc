package e2e

import (
	"flag"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

var wholeFlag = flag.Bool("whole", false, "TestNetworks plays all of its matrix, which takes a quarter of an hour")

// network is what the way between clients and server is like.
type network struct {
	tcp  bool // media has to go by ICE-TCP, otherwise by UDP: the other does not pass
	loss int  // percent of the packets that do not arrive, each way
}

func (n network) String() string {
	protocol := "UDP"
	if n.tcp {
		protocol = "ICE-TCP"
	}
	return fmt.Sprintf("%s %d %%", protocol, n.loss)
}

func (n network) losses() losses {
	if n.tcp {
		return losses{udp: 100, iceTCP: n.loss, tcp: n.loss}
	}
	return losses{udp: n.loss, iceTCP: 100, tcp: n.loss}
}

// act is a publisher on a network; viewers of all kinds watch it.
type act struct {
	network
	publisher string
}

// publishes is what each publisher sends: what its kind mostly sends.
var publishes = map[string]string{
	"chromium": "video/VP8", "firefox": "video/VP8", "gstreamer": "video/VP8", "ffmpeg": "video/H264",
}

// acts are all of the matrix, or those that stand for it.
func acts(whole bool) (list []act) {
	if !whole {
		return []act{
			{network{loss: 2}, "chromium"}, {network{tcp: true, loss: 2}, "firefox"},
			{network{loss: 10}, "gstreamer"}, {network{loss: 2}, "ffmpeg"},
		}
	}
	for _, tcp := range []bool{false, true} {
		for _, loss := range []int{0, 2, 10} {
			for _, publisher := range []string{"chromium", "firefox", "gstreamer", "ffmpeg"} {
				if publisher == "ffmpeg" && tcp {
					continue // it has no ICE-TCP
				}
				list = append(list, act{network{tcp, loss}, publisher})
			}
		}
	}
	return list
}

// stretch is for how long viewers must play.
func (a act) stretch(whole bool) time.Duration {
	switch {
	case !whole:
		return 8 * time.Second
	case a.loss == 2:
		return time.Minute
	}
	return 10 * time.Second
}

// TestNetworks: each client publishes over each network, and each client watches
// it, on decoded frames. The links lose at random a part of all that passes, media,
// checks and HTTP alike. Retransmissions repair that: up to 2 % of loss no picture
// stands for half a second; at 10 % pictures go on. A machine that is busy with other
// things has time to come to a good stretch.
func TestNetworks(t *testing.T) {
	l := theatre(t)
	s := l.serve(t, hostV4)
	var table []cell
	t.Cleanup(func() { l.printTable(t, "networks", table) })
	for i, a := range acts(*wholeFlag) {
		t.Run(fmt.Sprintf("%s %v", a.publisher, a.network), func(t *testing.T) {
			table = append(table, l.play(t, s, a, fmt.Sprintf("act-%d", i))...)
		})
	}
}

// play lets all viewers watch one publisher.
func (l *lab) play(t *testing.T, s *server, a act, stream string) (cells []cell) {
	links := []*lossyLink{l.servers.lose(t, a.losses()), l.clients.lose(t, a.losses())}
	codec := publishes[a.publisher]
	// GStreamer's libnice gives a check three tries by UDP, and two seconds by TCP: what
	// is lost defeats that in one session of some hundred. A user would call again.
	again := a.loss > 0
	l.publisher(t, a, peerSpec{role: "publish", url: s.whip(stream), codec: codec, again: again})
	var viewers []*peer
	for _, name := range []string{"chromium", "firefox", "gstreamer"} {
		c := cell{a.network.String(), a.publisher, name, "failed"}
		viewer := l.viewer(t, name, peerSpec{role: "watch", url: s.whep(stream), codec: codec, again: again})
		if viewer == nil {
			c.result = "skipped: it cannot receive " + codec
		} else {
			viewers = append(viewers, viewer)
		}
		cells = append(cells, c)
	}
	stretch := a.stretch(*wholeFlag)
	starved := starvation()
	judge(t, cells, viewers, func(p *peer) (string, error) {
		err := p.waitFor(patience+2*stretch, steady(stretch, a.network))
		return fmt.Sprintf("%s; starved for %.0f %%", p.over(stretch), starved()), err
	})
	for i, direction := range []string{"to the server", "from it"} {
		if n := links[i].packets(t); n == 0 && a.loss > 0 {
			t.Errorf("%v: nothing was lost on the way %s", a.network, direction)
		}
	}
	return cells
}

// publisher opens one. FFmpeg's muxer sends nothing again, so nothing is lost on
// its way: it runs beside the server.
func (l *lab) publisher(t *testing.T, a act, spec peerSpec) {
	switch a.publisher {
	case "chromium":
		l.chromium.open(t, spec)
	case "firefox":
		l.firefox.open(t, spec)
	case "gstreamer":
		l.gstreamer(t, spec)
	case "ffmpeg":
		l.ffmpeg(t, l.servers, hostV4, spec)
	}
}

// viewer opens one, nil where it cannot receive what it is to watch.
func (l *lab) viewer(t *testing.T, name string, spec peerSpec) *peer {
	if name == "gstreamer" {
		return l.gstreamer(t, spec)
	}
	b := l.browsers()[slices.Index([]string{"chromium", "firefox"}, name)]
	if !b.receives(spec.codec) {
		return nil
	}
	spec.codec = "" // it takes what comes
	return b.open(t, spec)
}

// starvation returns a function that says for how much of the time since, in percent,
// something on this machine waited for a processor (Documentation/accounting/psi.rst),
// 0 where the kernel does not tell: pictures that stand then may be nobody's fault but that.
func starvation() func() float64 {
	begun, before := time.Now(), stalled()
	return func() float64 { return 100 * (stalled() - before).Seconds() / time.Since(begun).Seconds() }
}

func stalled() time.Duration {
	b, err := os.ReadFile("/proc/pressure/cpu")
	if err != nil {
		return 0
	}
	_, total, _ := strings.Cut(string(b), "total=")
	total, _, _ = strings.Cut(total, "\n")
	us, _ := strconv.ParseInt(total, 10, 64)
	return time.Duration(us) * time.Microsecond
}

// since returns the reports of a stretch up to the newest, nil where they do not
// reach so far back or media did not flow yet.
func since(reports []report, stretch time.Duration) []report {
	last := reports[len(reports)-1]
	for i := len(reports) - 1; i >= 0 && reports[i].Video != nil && reports[i].Video.FramesDecoded > 0; i-- {
		if last.At.Sub(reports[i].At) >= stretch {
			return reports[i:]
		}
	}
	return nil
}

// steady is playing over the last stretch: pictures are decoded and move, and there
// is sound. There are five a second at least (a Firefox that has to share a small
// machine encodes seven), and up to 2 % of loss none stands for half a second.
func steady(stretch time.Duration, n network) func([]report) string {
	return func(reports []report) string {
		reports = since(reports, stretch)
		if reports == nil {
			return "it has not played for long enough"
		}
		a, b := reports[0], reports[len(reports)-1]
		protocol := "udp"
		if n.tcp {
			protocol = "tcp"
		}
		frames, least := b.Video.FramesDecoded-a.Video.FramesDecoded, 5*int(stretch.Seconds())
		switch {
		case b.State != "connected":
			return "state is " + b.State
		case b.Protocol != "" && b.Protocol != protocol:
			return fmt.Sprintf("it goes by %q", b.Protocol)
		case frames < least:
			return fmt.Sprintf("%d frames in %v, want %d", frames, stretch, least)
		case n.loss <= 2 && b.Shown.Freezes > a.Shown.Freezes:
			return fmt.Sprintf("%d freezes of %d ms in sum", b.Shown.Freezes-a.Shown.Freezes, b.Shown.Frozen-a.Shown.Frozen)
		case b.Pixels.Moved-a.Pixels.Moved < 3:
			return "the picture does not move"
		case b.Audio == nil || value(a.Audio).decoded() >= b.Audio.decoded():
			return "there is no sound"
		}
		return ""
	}
}

// over says in one line what the viewer saw in the last stretch, and before it.
func (p *peer) over(stretch time.Duration) string {
	all := p.reports()
	if len(all) == 0 {
		return "nothing"
	}
	reports := since(all, stretch)
	if reports == nil {
		return "nothing for so long; " + all[len(all)-1].summary()
	}
	a, b := reports[0], reports[len(reports)-1]
	longest := 0
	for _, r := range reports[1:] {
		longest = max(longest, r.Shown.Longest)
	}
	return fmt.Sprintf("%.0f s: %d pictures, one stood for %d ms; %d lost, %d nack, %d pli; in the %.0f s before: %d freezes",
		b.At.Sub(a.At).Seconds(), b.Video.FramesDecoded-a.Video.FramesDecoded, longest,
		b.Video.PacketsLost-a.Video.PacketsLost, b.Video.NackCount-a.Video.NackCount, b.Video.PLICount-a.Video.PLICount,
		a.At.Sub(all[0].At).Seconds(), a.Shown.Freezes)
}

// reports returns all reports of the peer so far.
func (p *peer) reports() []report {
	p.b.director.mu.Lock()
	defer p.b.director.mu.Unlock()
	return slices.Clone(p.b.director.reports[p.id])
}
