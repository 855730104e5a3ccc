package dataplane

import (
	"fmt"
	"time"

	"sluice/dataplane/engine"
	"sluice/dataplane/histogram"
	"sluice/netopt/attr"
)

// latencyBounds are the exported buckets of what takes from microseconds to a
// second. Inside, histograms are exact to 2 %.
var latencyBounds = []float64{
	0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
}

var (
	budgetAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/budget_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 10_000_000, Default: "0", Since: "0.1",
		Doc: `Latency budget of streams that have none of their own (streams/<name>/budget_us): how long a packet may take from the
			kernel's receive timestamp to the return of the call that sends it on. What takes longer is counted in late_packets;
			a stream in which too many do exceeds its budget. 0 is no budget.`,
	})
	lateDropAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/late_drop_us", Unit: "us", Mode: attr.RW, Min: 0, Max: 10_000_000, Default: "0", Since: "0.1",
		Doc: `Frames of streams that do not say otherwise (streams/<name>/late_drop_us) whose first packet waited longer than this
			are not sent, nor are retransmissions of what is older, but counted in dropped_packets, reason overdue. It must be
			longer than a round trip where lost packets are to be repaired. 0 sends however late.`,
	})
	shedAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/shed_ms", Unit: "ms", Mode: attr.RW, Min: 0, Max: 10_000, Default: "500", Since: "0.1",
		Doc: `How far behind a shard may be that has more to do than it can: video frames to viewers over UDP whose first packet
			waited longer are left out whole, oldest first, until an eighth of the time is won back, so that what is sent is never
			much older; sound and keyframes only when they waited four times as long. The shard where a stream comes in leaves
			out what waited 7/8 of the time, while other shards have viewers of it. Counted in dropped_packets, reason shed. 0 leaves nothing out, and latency grows until
			the kernel drops what does not fit into dataplane/receive_buffer_bytes.`,
	})
	lateCounter      = counter("late_packets", "packets", "Packets that took longer than their stream's latency budget.")
	latencyHistogram = Attrs.Histogram(attr.Decl{
		Path: "forward_latency_seconds", Unit: "seconds", Bounds: latencyBounds, Since: "0.1",
		Doc: `From the kernel's receive timestamp of a packet to the return of the system call that sent it on, once for each
			viewer. Packets that a viewer is given to begin with, and retransmissions, do not count.`,
	})
	stampAttr = Attrs.Int(attr.Decl{
		Path: "dataplane/transmit_stamp_every", Mode: attr.RW, Min: 0, Max: 1 << 20, Default: "1024", Since: "0.1",
		Doc: `The kernel is asked for its transmit timestamp of one viewer's packets out of so many, one at a time; 0 is never. An
			answer costs a system call.`,
	})
	stampHistogram = Attrs.Histogram(attr.Decl{
		Path: "transmit_latency_seconds", Unit: "seconds", Bounds: latencyBounds, Since: "0.1",
		Doc: `From the kernel's receive timestamp of a packet to its transmit timestamp, when the network device gets it, of a
			sample (dataplane/transmit_stamp_every).`,
	})
	turnHistogram = Attrs.Histogram(attr.Decl{
		Path: "loop_turn_seconds", Unit: "seconds", Bounds: latencyBounds, Since: "0.1",
		Doc: "Length of a turn of a shard's loop, sleep apart.",
	})
	stageCounter = Attrs.CounterVec(attr.Decl{
		Path: "loop_seconds", Unit: "seconds", Label: "stage", Values: names[engine.Stage](engine.NumStages), Since: "0.1",
		Doc: `Time that the shards spent in each stage of their loops: receive is taking datagrams from the kernel, decrypt is
			deciding about them and keeping them, fan_out is writing and protecting what viewers get, send is handing it to
			the kernel.`,
	})
	queueGauge = Attrs.GaugeVec(attr.Decl{
		Path: "queued_items", Unit: "items", Label: "queue", Values: names[engine.Queue](engine.NumQueues), Since: "0.1",
		Doc: "What waits in the queues between shards and others: commands to them, events from them, relays among them.",
	})
	receiveQueueGauge = gauge("receive_queue_bytes", "bytes", "What waits in the kernel's receive queues of the media port, with the kernel's bookkeeping.")
	receiveRoomGauge  = gauge("receive_queue_max_bytes", "bytes", "How much may wait there: the receive buffers that the kernel granted.")
	sendQueueGauge    = gauge("send_queue_bytes", "bytes", "What the kernel has of the media port and the network device has not sent yet.")
	sendRoomGauge     = gauge("send_queue_max_bytes", "bytes", "How much may wait there: the send buffers that the kernel granted.")
	rxMessages        = counter("rx_messages", "messages", "Messages received: single datagrams, and trains of them that the kernel merged.")
	txMessages        = counter("tx_messages", "messages", "Messages sent: single packets and trains. tx_packets / tx_messages is the mean length of a train.")
	gsoFallbacks      = counter("gso_fallbacks", "fallbacks", "Times that the kernel stopped taking trains from a shard.")
	gsoRefusals       = counter("gso_refusals", "refusals", "Trains that the kernel did not take, whose packets went alone: the path to their destination takes only smaller packets, or gso_fallbacks follows.")
	gsoShards         = gauge("gso_shards", "shards", "Shards that send trains as one message.")
	groShards         = gauge("gro_shards", "shards", "Shards that receive merged datagrams as one message.")
	busyPollShards    = gauge("busy_poll_shards", "shards", "Shards whose sockets busy poll, as dataplane/busy_poll_us says.")
	timestampsShards  = gauge("timestamps_shards", "shards", "Shards that get receive times from the kernel.")
	overflowCounter   = counter("receive_overflow_packets", "packets", "Datagrams that the kernel dropped because a receive buffer of the media port was full: what SO_RXQ_OVFL counts, asked for when it is read and not with each packet.")
)

// names are the words of an enumeration from 0 up to n.
func names[T interface {
	~uint8
	fmt.Stringer
}](n T) (words []string) {
	for i := T(0); i < n; i++ {
		words = append(words, i.String())
	}
	return words
}

// collectTimes adds a shard's histograms.
func collectTimes(s *attr.Sample, t *engine.Times) {
	observe(latencyHistogram, s, &t.Latency)
	observe(stampHistogram, s, &t.Stamped)
	observe(turnHistogram, s, &t.Turn)
}

// collectNumbers adds what else a shard measured of itself.
func collectNumbers(s *attr.Sample, st *engine.Stats) {
	lateCounter.Add(s, st.Late)
	for stage, d := range st.Loop.Stages {
		stageCounter.AddFloat(s, stage, d.Seconds())
	}
	for queue, n := range st.Loop.Queues {
		queueGauge.Add(s, queue, float64(n))
	}
	socket := &st.Loop.Socket
	receiveQueueGauge.Add(s, float64(socket.ReceiveQueue))
	receiveRoomGauge.Add(s, float64(socket.ReceiveBuffer))
	sendQueueGauge.Add(s, float64(socket.SendQueue))
	sendRoomGauge.Add(s, float64(socket.SendBuffer))
	busyPollShards.Add(s, oneIf(socket.BusyPolls))
	overflowCounter.Add(s, socket.Overflows)
	rxMessages.Add(s, socket.RxMessages)
	txMessages.Add(s, socket.TxMessages)
	gsoFallbacks.Add(s, socket.GSOFallbacks)
	gsoRefusals.Add(s, socket.GSORefusals)
	gsoShards.Add(s, oneIf(socket.Uses.GSO))
	groShards.Add(s, oneIf(socket.Uses.GRO))
	timestampsShards.Add(s, oneIf(socket.Uses.Timestamps))
}

// oneIf is what a shard adds to the number of those that do something.
func oneIf(does bool) float64 {
	if does {
		return 1
	}
	return 0
}

// observe exports a histogram. A bucket counts as what its middle is.
func observe(to attr.Histogram, s *attr.Sample, h *histogram.Histogram) {
	h.Each(func(d time.Duration, n uint64) { to.Observe(s, d.Seconds(), n) })
}
