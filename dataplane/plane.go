package dataplane

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sluice/dataplane/clock"
	"sluice/dataplane/engine"
	"sluice/dataplane/internal/arena"
	"sluice/dataplane/internal/shard"
	"sluice/dataplane/internal/tcp"
	"sluice/dataplane/internal/udp"
	"sluice/dataplane/msg"
	"sluice/netopt/attr"
)

// Plane is the running data plane. Its methods are safe for concurrent use.
type Plane struct {
	shards []*shard.Shard
	arenas [][]byte
	gate   *tcp.Gate // nil without ICE-TCP
	port   uint16
	cpus   []int
	able   udp.Abilities
	events sync.WaitGroup
	close  sync.Once

	steering steering
}

// Start opens the media port once for each shard and runs the shards. All
// events go to handle, which is called by one goroutine per shard and must not
// wait for commands to be carried out. The tree must hold Attrs, and is read
// now; attributes that can change later are followed.
func Start(listen netip.AddrPort, tree *attr.Tree, handle func(msg.Event)) (*Plane, error) {
	cpus := allowedCPUs()
	n := int(shardsAttr.Get(tree))
	if n == 0 {
		n = len(cpus)
	}
	p := &Plane{cpus: cpus, able: udp.SelfTest(), gate: newGate(tree)}
	// A shard's thread never yields its processor to others while it is busy:
	// the runtime and the control plane need theirs.
	runtime.GOMAXPROCS(max(runtime.GOMAXPROCS(0), n+2))
	epoch := time.Now().Add(-time.Second) // instants are above 0
	for i := range n {
		s, err := p.newShard(i, n, listen, epoch, tree)
		if err != nil {
			p.Close()
			return nil, err
		}
		p.shards = append(p.shards, s)
		// The first shard's choice of a port is everyone's.
		listen = netip.AddrPortFrom(listen.Addr(), p.port)
	}
	for _, s := range p.shards {
		s.Start(p.shards)
		p.events.Go(func() {
			for ev := range s.Events() {
				handle(ev)
			}
		})
	}
	p.follow(tree)
	return p, nil
}

func (p *Plane) newShard(i, n int, listen netip.AddrPort, epoch time.Time, tree *attr.Tree) (*shard.Shard, error) {
	socket, streams, err := p.listen(listen, tree)
	if err != nil {
		return nil, err
	}
	p.port = socket.Port()
	var seed [8]byte
	rand.Read(seed[:])
	eng := engine.New(engine.Config{
		Memory: p.memory,
		Shard:  i, Shards: n,
		Sessions:  int(MaxSessions.Get(tree)),
		Streams:   2 * int(MaxStreams.Get(tree)),
		Seed:      binary.NativeEndian.Uint64(seed[:]),
		NTPOrigin: clock.FromWall(epoch),
	}, p.settings(tree).Engine)
	cpu := -1
	if pinAttr.Get(tree) {
		cpu = p.cpus[i%len(p.cpus)]
	}
	s, err := shard.New(shard.Config{Index: i, Shards: n, CPU: cpu, Epoch: epoch, Engine: eng, Socket: socket, Streams: streams, Tx: p.memory(shard.TxBytes)})
	if err != nil {
		socket.Close()
		if streams != nil {
			streams.Close()
		}
		return nil, err
	}
	s.Configure(p.settings(tree))
	return s, nil
}

// memory gives state its place outside the Go heap. The process cannot go on
// without: its limits promised room for so many sessions.
func (p *Plane) memory(bytes int) []byte {
	m, err := arena.New(bytes)
	if err != nil {
		panic("dataplane: no memory for the limits that are set: " + err.Error())
	}
	p.arenas = append(p.arenas, m)
	return m
}

// Shards returns how many shards there are.
func (p *Plane) Shards() int { return len(p.shards) }

// Port returns the media port.
func (p *Plane) Port() uint16 { return p.port }

// Send hands a shard a command; it waits while the shard's mailbox is full.
// Commands of one caller are carried out in order.
func (p *Plane) Send(shard int, c msg.Command) { p.shards[shard].Command(c) }

// Inspect returns a picture of each shard; nil for one that did not answer
// within a second.
func (p *Plane) Inspect() []*engine.Stats { return gather(p, (*shard.Shard).Inspect) }

// Times returns the histograms of each shard; nil for one that did not answer
// within a second.
func (p *Plane) Times() []*engine.Times { return gather(p, (*shard.Shard).Times) }

// gather asks all shards at once.
func gather[T any](p *Plane, ask func(*shard.Shard) *T) []*T {
	answers := make([]*T, len(p.shards))
	var wg sync.WaitGroup
	for i, s := range p.shards {
		wg.Go(func() { answers[i] = ask(s) })
	}
	wg.Wait()
	return answers
}

// Session returns a picture of a session, nil when there is none or its shard
// does not answer.
func (p *Plane) Session(id msg.SessionID) *engine.SessionStats {
	if id.Shard() >= len(p.shards) {
		return nil
	}
	var st *engine.SessionStats
	if !p.shards[id.Shard()].Look(func(e *engine.Engine) { st = e.Session(id) }) {
		return nil
	}
	return st
}

// Heard returns how many sessions there are whose peers were heard of within a
// time, on shards that answer.
func (p *Plane) Heard(within time.Duration) int {
	sum := 0
	for _, s := range p.shards {
		n := 0
		if s.Look(func(e *engine.Engine) { n = e.Heard(within) }) {
			sum += n
		}
	}
	return sum
}

// Latency returns how long the packets of each of the routes took, all shards
// together. A shard that does not answer is left out.
func (p *Plane) Latency(routes []msg.RouteID) []engine.Latency {
	sum := make([]engine.Latency, len(routes))
	for _, s := range p.shards {
		own := make([]engine.Latency, len(routes))
		if !s.Look(func(e *engine.Engine) {
			for i, id := range routes {
				e.AddLatency(id, &own[i])
			}
		}) {
			continue
		}
		for i := range own {
			sum[i].Merge(&own[i])
		}
	}
	return sum
}

// Close stops the shards and closes the port; no event comes afterwards.
func (p *Plane) Close() {
	p.close.Do(func() {
		p.steering.mu.Lock()
		defer p.steering.mu.Unlock()
		p.stopSteering()
		for _, s := range p.shards {
			s.Stop()
		}
		p.events.Wait()
		for _, m := range p.arenas {
			arena.Free(m)
		}
	})
}

// allowedCPUs returns the CPUs that this process may run on.
func allowedCPUs() []int {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return []int{0} // cannot fail for the calling thread and a set this large
	}
	var cpus []int
	for i := range len(set) * 64 {
		if set.IsSet(i) {
			cpus = append(cpus, i)
		}
	}
	return cpus
}
