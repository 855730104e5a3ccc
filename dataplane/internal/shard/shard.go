// Package shard is the loop of one pinned thread: it moves datagrams between
// the kernel and an engine, and messages between the engine, the control plane
// and other shards. It decides nothing.
package shard

import (
	"fmt"
	"runtime"
	"time"

	"golang.org/x/sys/cpu"
	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/internal/poll"
	"sluice/dataplane/internal/ring"
	"sluice/dataplane/internal/tcp"
	"sluice/dataplane/internal/udp"
	"sluice/dataplane/msg"
	"sluice/dataplane/pkt"
	"sluice/dataplane/wire"
)

// Sizes of a shard's queues.
const (
	// TxBytes is the size of a transmit batch: what stays in the second-level cache.
	TxBytes      = 128 << 10
	txRuns       = engine.MaxAnswers // they leave in one batch
	relayItems   = 128
	commandItems = 256
	eventItems   = 1024
)

// receiveBudget is how many receive batches one turn takes before commands,
// timers and other shards get their turn. Data that is left keeps the loop from
// sleeping: edge-triggered must not mean stalled.
const receiveBudget = 4

// Shard is one thread's loop. Only the methods that say so may be called from
// other goroutines.
type Shard struct {
	_        cpu.CacheLinePad // what follows is written once, and read by others while they pass us something
	poller   *poll.Poller
	inbox    []*ring.SPSC[relayItem] // from each other shard
	commands chan any                // msg.Command, look, Settings or a connection that is ours
	events   chan msg.Event
	stop     chan struct{}
	done     chan struct{}

	_       cpu.CacheLinePad // and this is the loop's alone
	index   int
	cpu     int // pinned to, -1 for none
	engine  *engine.Engine
	socket  *udp.Socket
	streams *tcp.Socket // nil without ICE-TCP
	peers   []*Shard    // all shards, by index
	epoch   time.Time   // clock.Time 0
	origin  time.Time   // wall clock at clock.Time 0, read once a turn
	lapped  clock.Time  // when the current stage began
	tx      *pkt.Batch
	unsent  bool // tx waits for the socket to take more
	more    bool // the engine has more for the next batch
	joined  int  // datagrams, and messages of other shards, since it had not
	set     Settings
	polls   bool // busily, as far as the kernel lets it
	spin    spinner
	steerer Steerer // nil for none
}

// relayItem is a message to another shard with room for its bytes.
type relayItem struct {
	relay engine.Relay
	data  [2048]byte
}

// look is to be called in the loop, between batches; done is closed then.
type look struct {
	f    func()
	done chan<- struct{}
}

// Config of a shard.
type Config struct {
	Index, Shards int
	CPU           int // to pin the thread to, -1 for none
	Epoch         time.Time
	Engine        *engine.Engine
	Socket        *udp.Socket
	Streams       *tcp.Socket // nil without ICE-TCP
	Tx            []byte      // memory of TxBytes for the transmit batch
}

// New returns a shard; Start makes it run. It owns the sockets.
func New(c Config) (*Shard, error) {
	poller, err := poll.New()
	if err != nil {
		return nil, err
	}
	if err := poller.Add(c.Socket.FD()); err != nil {
		poller.Close()
		return nil, err
	}
	if c.Streams != nil {
		if err := poller.Add(c.Streams.FD()); err != nil {
			poller.Close()
			return nil, err
		}
	}
	s := &Shard{
		index: c.Index, cpu: c.CPU, engine: c.Engine, socket: c.Socket, streams: c.Streams, poller: poller, epoch: c.Epoch,
		tx:       pkt.NewBatch(c.Tx, txRuns),
		set:      Settings{NoDelay: true}, // what the sockets begin with
		inbox:    make([]*ring.SPSC[relayItem], c.Shards),
		commands: make(chan any, commandItems),
		events:   make(chan msg.Event, eventItems),
		stop:     make(chan struct{}),
		done:     make(chan struct{}),
	}
	for i := range s.inbox {
		if i != c.Index {
			s.inbox[i] = ring.New[relayItem](relayItems)
		}
	}
	return s, nil
}

// Start runs the loop. peers are all shards of the plane, by index.
func (s *Shard) Start(peers []*Shard) {
	s.peers = peers
	go s.run()
}

// Command hands the shard a command; it waits while the mailbox is full, and
// does nothing once the shard has stopped. Safe for concurrent use.
func (s *Shard) Command(c msg.Command) { s.post(c) }

// Settings can change at any time.
type Settings struct {
	Engine engine.Settings
	Accel  pkt.Accel     // what is wished of the kernel
	Spin   time.Duration // how long to ask for work before sleeping; 0 is not at all
	// NoDelay has small writes to TCP connections leave at once.
	NoDelay bool
	// ReceiveBuffer and SendBuffer are the socket's, in bytes.
	ReceiveBuffer, SendBuffer int
	BusyPoll                  pkt.BusyPoll
}

// Configure changes the settings. Safe for concurrent use.
func (s *Shard) Configure(set Settings) { s.post(set) }

// Inspect returns a picture of the engine, nil when the shard does not answer
// within a second or has stopped. Safe for concurrent use.
func (s *Shard) Inspect() *engine.Stats {
	var st *engine.Stats
	if !s.do(func() { st = s.stats() }) {
		return nil
	}
	return st
}

// Times returns the engine's histograms, nil when the shard does not answer within a
// second or has stopped. Safe for concurrent use.
func (s *Shard) Times() *engine.Times {
	t := new(engine.Times)
	if !s.do(func() { *t = s.engine.Times }) {
		return nil
	}
	return t
}

// Look calls f with the engine, in the loop, where f must be quick and only
// read. It returns false when the shard does not answer within a second or has
// stopped; f may be called yet. Safe for concurrent use.
func (s *Shard) Look(f func(*engine.Engine)) bool { return s.do(func() { f(s.engine) }) }

func (s *Shard) do(f func()) bool {
	done := make(chan struct{})
	s.post(look{f, done})
	select {
	case <-done:
		return true
	case <-s.done:
	case <-time.After(time.Second):
	}
	return false
}

func (s *Shard) post(m any) {
	select {
	case s.commands <- m:
		s.stir(m)
		return
	default:
		s.poller.Wake() // full: whoever could wait for a turn cannot any more
	}
	select {
	case s.commands <- m:
		s.stir(m)
	case <-s.done:
	}
}

// stir wakes the shard for a message. What a session or route is made with can
// wait: whatever needs it brings a turn about, in which commands come first.
func (s *Shard) stir(m any) {
	switch m.(type) {
	case msg.AddRoute, msg.AddSession:
		s.poller.Nudge()
	default:
		s.poller.Wake()
	}
}

// Events returns what the engine reports; closed when the shard has stopped.
func (s *Shard) Events() <-chan msg.Event { return s.events }

// Stop ends the loop, if Start was called, and waits for it; the sockets are
// closed then. Safe for concurrent use, once.
func (s *Shard) Stop() {
	close(s.stop)
	if s.peers == nil {
		s.release()
		return
	}
	s.poller.Wake()
	<-s.done
}

// release gives back what the shard owns.
func (s *Shard) release() {
	s.socket.Close()
	if s.streams != nil {
		s.streams.Close()
	}
	s.poller.Close()
	close(s.events)
	close(s.done)
}

func (s *Shard) run() {
	// Not unlocked at the end: the thread, with its affinity, dies with the loop.
	runtime.LockOSThread()
	s.pin()
	defer s.release()
	s.lapped = s.now()
	for !s.stopping() {
		if s.turn() || s.spun() {
			continue
		}
		began := s.lapped
		if err := s.poller.Sleep(s.lapped, s.due(), s.idle); err != nil {
			panic(fmt.Sprintf("shard %d: %v", s.index, err))
		}
		s.lap(engine.StageSleep)
		s.spin.slept(s.lapped.Sub(began))
	}
}

func (s *Shard) pin() {
	if s.cpu < 0 {
		return
	}
	var set unix.CPUSet
	set.Set(s.cpu)
	// Refused where a cgroup changed the allowed set meanwhile: then the
	// scheduler places the thread, which costs speed only.
	_ = unix.SchedSetaffinity(0, &set)
}

func (s *Shard) stopping() bool {
	select {
	case <-s.stop:
		return true
	default:
		return false
	}
}

func (s *Shard) now() clock.Time { return clock.Time(time.Since(s.epoch)) }

// turn does one round of everything that waits; it reports whether more may. A
// full socket is no reason to go round again: epoll tells when it takes more.
func (s *Shard) turn() (busy bool) {
	began := s.lapped
	wall := time.Now()
	s.origin = wall.Add(-wall.Sub(s.epoch))
	if !s.closed() {
		busy = s.receive()
		busy = s.takeRelays() || busy
		busy = s.takeCommands() || busy
		busy = s.serveStreams() || busy
	}
	if s.lapped >= s.engine.PollTimeout() {
		s.engine.HandleTimeout(s.lapped)
		s.lap(engine.StageTimers)
	}
	busy = !s.drain() || busy
	s.engine.Times.Turn.Record(s.lapped.Sub(began), 1)
	return busy
}

// lap ends a stage of the loop and returns the instant. What little happens
// between stages is counted to the next one.
func (s *Shard) lap(stage engine.Stage) clock.Time {
	now := s.now()
	s.engine.Loop.Stages[stage] += now.Sub(s.lapped)
	s.lapped = now
	return now
}

// idle reports whether nothing waits that another thread brought.
func (s *Shard) idle() bool {
	if len(s.commands) > 0 || s.stopping() {
		return false
	}
	for _, in := range s.inbox {
		if in != nil && in.Peek() != nil {
			return false
		}
	}
	return true
}

// due is when the loop has something to do at the latest.
func (s *Shard) due() clock.Time {
	due := s.engine.PollTimeout()
	if s.streams != nil {
		due = min(due, s.streams.Timeout())
	}
	return due
}

// receive reads the socket until it is empty, the budget is used up or nothing more
// may join what is being sent; it reports the latter two. What commands and other
// shards said before a datagram was sent, which may be about its sender, comes before
// it: there it is, once the datagram is.
func (s *Shard) receive() (more bool) {
	for range receiveBudget {
		if s.closed() {
			return true
		}
		rx, truncated := s.socket.Receive(s.origin, s.lapped)
		s.lap(engine.StageReceive)
		s.joined += len(rx)
		s.engine.Counters.Drops[wire.DropTruncated] += uint64(truncated)
		if len(rx)+truncated == 0 {
			return false
		}
		s.takeRelays()
		s.takeCommands()
		s.engine.HandleDatagrams(s.lapped, rx)
		s.lap(engine.StageDecrypt)
		s.drain()
	}
	return true
}

// stats is a picture of the engine, with what only the shell can see.
func (s *Shard) stats() *engine.Stats {
	st := s.engine.Stats()
	m, c := s.socket.Memory(), &s.socket.Counters
	st.Loop.Socket = engine.Socket{
		Uses: s.socket.Uses(), BusyPolls: s.polls, RxMessages: c.RxMessages, TxMessages: c.TxMessages, GSOFallbacks: c.Fallbacks, GSORefusals: c.Refusals,
		ReceiveQueue: int(m.ReceiveQueue), ReceiveBuffer: int(m.ReceiveBuffer),
		SendQueue: int(m.SendQueue), SendBuffer: int(m.SendBuffer), Overflows: uint64(m.Overflows),
	}
	st.Loop.Queues[engine.QueueCommands] = len(s.commands)
	st.Loop.Queues[engine.QueueEvents] = len(s.events)
	for _, in := range s.inbox {
		if in != nil {
			st.Loop.Queues[engine.QueueRelays] += in.Len()
		}
	}
	return st
}

func (s *Shard) takeCommands() (some bool) {
	for range len(s.commands) {
		switch c := (<-s.commands).(type) {
		case msg.Command:
			s.engine.HandleCommand(s.lapped, c)
		case Settings:
			s.configure(&c)
		case *tcp.Conn:
			s.streams.Adopt(s.lapped, c)
		case steering:
			s.steerer = c.to
			s.engine.SetSteering(c.to != nil)
		case look:
			c.f()
			close(c.done)
		}
		s.lap(engine.StageCommands)
		s.drain()
		some = true
	}
	return some
}

// configure leaves what is wished as before alone: accelerators that the kernel
// stopped taking are not tried again because something else changed.
func (s *Shard) configure(set *Settings) {
	was := s.set
	s.set = *set
	s.engine.Configure(set.Engine)
	s.spin.limit = set.Spin
	if s.streams != nil && set.NoDelay != was.NoDelay {
		s.streams.SetNoDelay(set.NoDelay)
	}
	if set.Accel != was.Accel {
		s.socket.Use(set.Accel)
	}
	if set.ReceiveBuffer != was.ReceiveBuffer || set.SendBuffer != was.SendBuffer {
		s.socket.SetBuffers(set.ReceiveBuffer, set.SendBuffer)
	}
	if b := set.BusyPoll; b != was.BusyPoll {
		s.polls = s.socket.BusyPoll(b)
		s.poller.BusyPoll(b.For, b.Budget, b.Prefer) // older kernels cannot; reads poll all the same
	}
}

// takeRelays takes what other shards said, and before it what they may have known
// of commands.
func (s *Shard) takeRelays() (some bool) {
	for from, in := range s.inbox {
		if in == nil || in.Peek() == nil {
			continue
		}
		there := in.Len()
		s.joined += there
		s.takeCommands()
		for range there {
			s.engine.HandleRelay(s.lapped, from, &in.Peek().relay)
			in.Release()
		}
		some = true
	}
	if some {
		s.lap(engine.StageRelay)
		s.drain()
	}
	return some
}

// drain takes what the engine wants out, as far as the socket and the other shards'
// rings take it, and a batch of what is sent: the rest stays in the engine. False
// when there is more, or a budget is used up. Other shards come first: they work
// while this one sends.
func (s *Shard) drain() (done bool) {
	done = s.sendRelays()
	done = s.transmit() && done
	s.hangUp()
	for len(s.events) < cap(s.events) {
		var ev msg.Event
		if !s.engine.PollEvent(&ev) {
			break
		}
		s.events <- ev
	}
	return s.steer() && done
}

// joinable is how much may come in while the engine has more to send. A frame does;
// under overload, where what waits is read in greater pieces, nothing: sending
// would not end, and each viewer get less at a time.
const joinable = 16

// closed reports whether nothing more is taken in before the engine has sent all.
func (s *Shard) closed() bool {
	if !s.more {
		s.joined = 0
	}
	return s.joined >= joinable && !s.unsent
}

// transmit sends one batch, so that what came meanwhile has its turn before the next.
// It reports whether that was all, or the socket is full.
func (s *Shard) transmit() (done bool) {
	if s.unsent {
		s.more = true // perhaps: something may have come since
	} else {
		s.more = s.engine.PollTransmit(s.tx)
		if s.tx.Empty() {
			s.more = false
			return true
		}
		s.lap(engine.StageFanOut)
		s.more = s.sendStreams() || s.more
	}
	before := s.socket.Counters.Fallbacks
	sent, dropped := s.socket.Send(s.tx)
	if s.socket.Counters.Fallbacks != before {
		s.tell(msg.SegmentationLost{Shard: s.index})
	}
	s.engine.Counters.Drops[wire.DropTransmit] += uint64(dropped)
	now := s.lap(engine.StageSend)
	if s.unsent == sent { // it was not full and is, or the other way round
		s.unsent = !sent
		s.poller.AwaitRoom(s.socket.FD(), s.unsent)
	}
	if s.unsent {
		return true
	}
	s.engine.HandleSent(now)
	s.readStamp()
	s.tx.Reset()
	return !s.more
}

// readStamp asks the kernel when the run that the engine marked was handed to the
// network device: mostly that was before the call that sent it returned.
func (s *Shard) readStamp() {
	if !s.engine.AwaitsStamp() {
		return
	}
	if at, ok := s.socket.Sent(s.origin); ok {
		s.engine.HandleStamp(at)
	}
}

// tell reports an event that may be lost.
func (s *Shard) tell(ev msg.Event) {
	select {
	case s.events <- ev:
	default:
	}
}

// sendRelays hands each other shard what the engine has for it, and wakes it if
// it sleeps and has anything to do. False when a ring is full: what is left goes
// in one of the next turns, which follow at once.
func (s *Shard) sendRelays() (done bool) {
	done = true
	some := false
	for to, peer := range s.peers {
		if to != s.index && s.engine.RelayPending(to) {
			all, work := s.sendRelaysTo(to, peer.inbox[s.index])
			done = all && done
			if work {
				peer.poller.Wake()
			} else {
				peer.poller.Nudge()
			}
			some = true
		}
	}
	if some {
		s.lap(engine.StageRelay)
	}
	return done
}

// sendRelaysTo fills a ring. It reports whether that was all, and whether there is
// work in it: who owns a peer, the other shard has to know no sooner than it gets a
// datagram from there, unless it is to answer one.
func (s *Shard) sendRelaysTo(to int, out *ring.SPSC[relayItem]) (done, work bool) {
	for {
		item := out.Reserve()
		if item == nil {
			return false, true
		}
		if !s.engine.PollRelay(to, &item.relay) {
			return true, work
		}
		work = work || item.relay.Kind != engine.RelayOwner || len(item.relay.Data) > 0
		item.relay.Data = item.data[:copy(item.data[:], item.relay.Data)]
		out.Publish()
	}
}
