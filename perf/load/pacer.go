package load

import (
	"container/heap"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// pacer lets the publishers send on schedule, all from one thread: with a thread each, hundreds of them would keep half of a machine
// busy with switching.
type pacer struct {
	queue   queue
	wanted  chan wanted
	pausing atomic.Bool
	paused  chan struct{}
	resumed chan struct{}
	stop    chan struct{}
	done    chan struct{}
	failure error // why it is done
}

// wanted is a packet that a server asked a publisher for again.
type wanted struct {
	by  *publisher
	seq uint16
}

func newPacer() *pacer {
	return &pacer{
		wanted: make(chan wanted, historySize), paused: make(chan struct{}), resumed: make(chan struct{}),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
}

// start lets publishers, at least one, send until close.
func (p *pacer) start(pubs []*publisher) {
	p.queue = pubs
	zero := now(unix.CLOCK_MONOTONIC)
	for _, pub := range pubs {
		pub.zero, pub.report = zero, zero+int64(reportEvery)
	}
	go p.run()
}

// want notes a request. What does not fit is forgotten: the server asks again.
func (p *pacer) want(by *publisher, seq uint16) {
	select {
	case p.wanted <- wanted{by, seq}:
	default:
	}
}

func (p *pacer) run() {
	defer close(p.done)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	p.failure = p.schedule()
}

// schedule sends until it is stopped.
func (p *pacer) schedule() error {
	p.begin()
	for {
		first := p.queue[0]
		sleepUntil(first.due())
		if err := p.retransmitWanted(); err != nil {
			return err
		}
		if p.pausing.Load() {
			if p.finished() {
				if resumed, err := p.rest(); !resumed {
					return err
				}
				p.begin()
				continue
			}
			first = p.queue[0]
			sleepUntil(first.due())
		}
		select {
		case <-p.stop:
			return nil
		default:
		}
		if err := first.send(); err != nil {
			return err
		}
		heap.Fix(&p.queue, 0)
	}
}

// begin starts everyone's schedule from now.
func (p *pacer) begin() {
	at := now(unix.CLOCK_MONOTONIC)
	for _, pub := range p.queue {
		pub.begin(at)
	}
	heap.Init(&p.queue)
}

// finished lets nobody begin anything, and reports whether all frames that were begun are out.
func (p *pacer) finished() bool {
	for _, pub := range p.queue {
		pub.finish()
	}
	heap.Init(&p.queue)
	return p.queue[0].due() == never
}

// retransmitWanted sends again what was asked for since the last time.
func (p *pacer) retransmitWanted() error {
	for {
		select {
		case w := <-p.wanted:
			if err := w.by.retransmit(w.seq); err != nil {
				return err
			}
		default:
			return nil
		}
	}
}

// pause returns when what was being sent is out and nothing else follows.
func (p *pacer) pause() error {
	p.pausing.Store(true)
	select {
	case <-p.paused:
		return nil
	case <-p.done:
		return p.failure
	}
}

// rest waits for resume and retransmits meanwhile; it is false when the pacer was stopped or failed instead.
func (p *pacer) rest() (bool, error) {
	select {
	case p.paused <- struct{}{}:
	case <-p.stop:
		return false, nil
	}
	for {
		select {
		case <-p.resumed:
			return true, nil
		case <-p.stop:
			return false, nil
		case w := <-p.wanted:
			if err := w.by.retransmit(w.seq); err != nil {
				return false, err
			}
		}
	}
}

// resume starts the schedule anew from now.
func (p *pacer) resume() {
	p.pausing.Store(false)
	select {
	case p.resumed <- struct{}{}:
	case <-p.done:
	}
}

// close ends the sending, if it has begun.
func (p *pacer) close() {
	close(p.stop)
	if p.queue != nil {
		<-p.done
	}
}

// queue is a heap of publishers (container/heap), the one that sends next at the front.
type queue []*publisher

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due() < q[j].due() }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push and Pop are not used: publishers come and go all at once.
func (q queue) Push(any) {}
func (q queue) Pop() any { return nil }

func now(clock int32) int64 {
	var ts unix.Timespec
	unix.ClockGettime(clock, &ts)
	return ts.Nano()
}

func sleepUntil(monotonic int64) {
	ts := unix.NsecToTimespec(monotonic)
	for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &ts, nil) == unix.EINTR {
	}
}
