package load

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// Report is what a run found. Durations are in the unit that the JSON name ends with, memory is in bytes.
type Report struct {
	Plan          Scenario `json:"plan"`
	Profile       string   `json:"srtp_profile"`
	Counts        Counts   `json:"window"`
	FirstVideo    Spread   `json:"post_to_first_video"`    // kernel receive time of the first video packet, from the start of the POST
	FirstKeyframe Spread   `json:"post_to_first_keyframe"` // the same for the first packet of a keyframe
	ConnectCPU    float64  `json:"connect_cpu_ms"`         // server CPU of one viewer's connect, with no media flowing
	RSS           Memory   `json:"rss"`
	Refused       int      `json:"refused,omitempty"` // viewers of a storm who found no way in
	StormS        float64  `json:"storm_s,omitempty"` // from the first POST of a storm until all viewers had media
	Answer        Spread   `json:"http_answer"`       // to OPTIONS during the window, with Plan.Ask
	Feedback      Feedback `json:"publisher_feedback"`
	Retransmitted uint64   `json:"publisher_retransmitted"` // packets that the server missed and got again, in the whole run
	Ended         []string `json:"ended_early"`             // sessions that the server ended
}

// Scenario is the part of a Plan that a reader of the figures needs.
type Scenario struct {
	Viewers  int     `json:"viewers"`
	Full     int     `json:"full"`
	Streams  int     `json:"streams"`
	FPS      int     `json:"fps"`
	PPF      int     `json:"packets_per_frame"`
	Size     int     `json:"video_rtp_packet_bytes"` // before SRTP
	SpreadMs float64 `json:"spread_ms"`
	Silent   bool    `json:"silent"`            // no audio
	Clients  int     `json:"clients,omitempty"` // of Requests; the others are 0 then
	WindowS  float64 `json:"window_s"`
	RSSWaitS float64 `json:"rss_wait_s"`
}

// Spread is the middle and the worst of some readings.
type Spread struct {
	Median float64 `json:"median_ms"`
	Max    float64 `json:"max_ms"`
}

// Memory is the resident memory of the server at the stages of a run.
type Memory struct {
	Idle      int64 `json:"idle"`
	Publisher int64 `json:"publisher"`  // with a publisher only
	Joined    int64 `json:"joined"`     // RSSWait after the last join
	End       int64 `json:"end"`        // after the window
	PerViewer int64 `json:"per_viewer"` // (Joined - Publisher) / viewers
}

func (p Plan) describe() Scenario {
	return Scenario{
		Viewers: p.Viewers, Full: min(p.Full, p.Viewers), Streams: max(p.Streams, 1), FPS: p.FPS, PPF: p.PPF, Size: p.Size,
		SpreadMs: ms(p.Spread), Silent: p.Silent, WindowS: p.Window.Seconds(), RSSWaitS: p.RSSWait.Seconds(),
	}
}

func spread(list []time.Duration) Spread {
	if len(list) == 0 {
		return Spread{}
	}
	slices.Sort(list)
	mid := (list[(len(list)-1)/2] + list[len(list)/2]) / 2
	return Spread{Median: ms(mid), Max: ms(list[len(list)-1])}
}

// Table prints the report for people.
func (r Report) Table(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	c, m := r.Counts, r.RSS
	row := func(name, format string, args ...any) { fmt.Fprintf(w, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	row("workload", "%d viewers (%d full), %d streams of %d frames/s of %d packets of %d bytes, spread %.0f ms, %.1f s, %s",
		r.Plan.Viewers, r.Plan.Full, r.Plan.Streams, r.Plan.FPS, r.Plan.PPF, r.Plan.Size, r.Plan.SpreadMs, c.Seconds, r.Profile)
	row("delivered", "%.0f packets/s, %d packets", c.PPS(), c.Delivered)
	row("frames", "%d whole, %d broken, %d missing at the full viewers", c.Frames.Whole, c.Frames.Broken, c.Frames.Missing)
	row("loss", "%d packets (%.4f %%), worst viewer %d", c.Lost, 100*c.LossShare(), c.Worst)
	row("markers", "%d duplicates, %d reordered, %d corrupt", c.Duplicates, c.Reordered, c.Corrupt)
	row("latency", "p50 %.2f  p90 %.2f  p99 %.2f  p99.9 %.2f  max %.2f ms", c.Latency.P50, c.Latency.P90, c.Latency.P99, c.Latency.P999, c.Latency.Max)
	row("server CPU", "%.2f us/packet (user %.2f, sys %.2f), %.3f cores", c.MicrosPerPacket(),
		c.MicrosPerPacket()*c.UserShare, c.MicrosPerPacket()*(1-c.UserShare), c.Cores())
	row("connect", "%.2f ms of server CPU", r.ConnectCPU)
	row("first video", "median %.1f, worst %.1f ms after the POST", r.FirstVideo.Median, r.FirstVideo.Max)
	row("first keyframe", "median %.1f, worst %.1f ms after the POST", r.FirstKeyframe.Median, r.FirstKeyframe.Max)
	row("server RSS", "idle %.1f, publisher %.1f, all joined %.1f, end %.1f MiB; %.1f KiB per viewer",
		mib(m.Idle), mib(m.Publisher), mib(m.Joined), mib(m.End), float64(m.PerViewer)/1024)
	row("generator", "%.2f cores, %d drops, publisher late by %.1f ms at worst", c.OwnCores, c.GeneratorDrops, c.Late)
	row("publisher got", "%d PLI/FIR, %d NACK, %d transport-cc, %d receiver reports", r.Feedback.PLI, r.Feedback.NACK, r.Feedback.TWCC, r.Feedback.Reports)
	row("publisher sent again", "%d packets", r.Retransmitted)
	row("other load", "%.2f cores", c.OtherCores)
	for _, reason := range r.Ended {
		row("ended early", "%s", reason)
	}
	return w.Flush()
}

func mib(n int64) float64 { return float64(n) / (1 << 20) }
