package result

import (
	"math"

	"sluice/perf/load"
)

// Metric is one figure of a run.
type Metric struct {
	Key    string // names it in budgets and JSON
	Name   string
	Format string
	Value  func(load.Report) float64
}

// Metrics in the order of the table.
var Metrics = []Metric{
	{"cost_us", "server CPU, us/packet", "%.3f", func(r load.Report) float64 { return r.Counts.MicrosPerPacket() }},
	{"user_us", "- user", "%.3f", func(r load.Report) float64 { return r.Counts.MicrosPerPacket() * r.Counts.UserShare }},
	{"sys_us", "- sys", "%.3f", func(r load.Report) float64 { return r.Counts.MicrosPerPacket() * (1 - r.Counts.UserShare) }},
	{"received_us", "- us/packet of publishers", "%.3f", received},
	{"cycles", "cycles/packet", "%.0f", func(r load.Report) float64 { return r.Counts.PerPacket(r.Counts.Cycles) }},
	{"instructions", "instructions/packet", "%.0f", func(r load.Report) float64 { return r.Counts.PerPacket(r.Counts.Instructions) }},
	{"cores", "server cores", "%.3f", func(r load.Report) float64 { return r.Counts.Cores() }},
	{"pps", "delivered packets/s", "%.0f", func(r load.Report) float64 { return r.Counts.PPS() }},
	{"lost", "lost packets", "%.0f", func(r load.Report) float64 { return float64(r.Counts.Lost) }},
	{"loss", "loss, %", "%.4f", func(r load.Report) float64 { return 100 * r.Counts.LossShare() }},
	{"broken_frames", "broken frames", "%.0f", func(r load.Report) float64 { return float64(r.Counts.Frames.Broken) }},
	{"resent", "sent again on NACK", "%.0f", func(r load.Report) float64 { return float64(r.Retransmitted) }},
	{"mean_ms", "latency mean, ms", "%.3f", func(r load.Report) float64 { return r.Counts.Latency.Mean }},
	{"p50_ms", "latency p50, ms", "%.3f", func(r load.Report) float64 { return r.Counts.Latency.P50 }},
	{"p90_ms", "latency p90, ms", "%.3f", func(r load.Report) float64 { return r.Counts.Latency.P90 }},
	{"p99_ms", "latency p99, ms", "%.3f", func(r load.Report) float64 { return r.Counts.Latency.P99 }},
	{"p999_ms", "latency p99.9, ms", "%.3f", func(r load.Report) float64 { return r.Counts.Latency.P999 }},
	{"max_ms", "latency max, ms", "%.3f", func(r load.Report) float64 { return r.Counts.Latency.Max }},
	{"inside_p50_ms", "in the server: p50, ms", "%.3f", func(r load.Report) float64 { return told(r.Counts.InsideP50) }},
	{"inside_p99_ms", "- p99", "%.3f", func(r load.Report) float64 { return told(r.Counts.InsideP99) }},
	{"work_us", "- work of its loops, us/packet", "%.3f", func(r load.Report) float64 {
		return told(r.Counts.WorkSeconds * 1e6 / float64(max(r.Counts.Delivered, 1)))
	}},
	{"first_ms", "POST to first media, ms", "%.1f", func(r load.Report) float64 { return r.FirstVideo.Median }},
	{"first_max_ms", "- worst viewer", "%.1f", func(r load.Report) float64 { return r.FirstVideo.Max }},
	{"key_ms", "POST to first keyframe, ms", "%.1f", func(r load.Report) float64 { return r.FirstKeyframe.Median }},
	{"storm_s", "all of a storm served, s", "%.2f", func(r load.Report) float64 { return r.StormS }},
	{"refused", "viewers that did not get in", "%.0f", func(r load.Report) float64 { return float64(r.Refused) }},
	{"connect_ms", "server CPU per connect, ms", "%.2f", func(r load.Report) float64 { return r.ConnectCPU }},
	{"rss_publisher_mib", "RSS with publishers, MiB", "%.1f", func(r load.Report) float64 { return float64(r.RSS.Publisher) / (1 << 20) }},
	{"rss_end_mib", "RSS at the end, MiB", "%.1f", func(r load.Report) float64 { return float64(r.RSS.End) / (1 << 20) }},
	{"rss_viewer_kib", "RSS per viewer, KiB", "%.1f", func(r load.Report) float64 { return float64(r.RSS.PerViewer) / 1024 }},
	{"answer_ms", "HTTP answer, ms", "%.1f", func(r load.Report) float64 { return r.Answer.Median }},
	{"answer_max_ms", "- slowest", "%.1f", func(r load.Report) float64 { return r.Answer.Max }},
	{"generator_cores", "generator cores", "%.2f", func(r load.Report) float64 { return r.Counts.OwnCores }},
	{"generator_drops", "generator drops", "%.0f", func(r load.Report) float64 { return float64(r.Counts.GeneratorDrops) }},
	{"late_ms", "publisher late by, ms", "%.2f", func(r load.Report) float64 { return r.Counts.Late }},
	{"other_cores", "other load, cores", "%.2f", func(r load.Report) float64 { return r.Counts.OtherCores }},
}

// received is the server's CPU time for each packet that publishers sent, us; 0 where nobody counted them.
func received(r load.Report) float64 {
	if r.Counts.Sent == 0 {
		return 0
	}
	return r.Counts.CPUSeconds * 1e6 / float64(r.Counts.Sent)
}

// told is a figure that only some servers tell: 0 is none.
func told(v float64) float64 {
	if v == 0 {
		return math.NaN()
	}
	return v
}

// Lookup finds a metric by its key.
func Lookup(key string) (Metric, bool) {
	for _, m := range Metrics {
		if m.Key == key {
			return m, true
		}
	}
	return Metric{}, false
}
