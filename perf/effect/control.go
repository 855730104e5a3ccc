package main

import (
	"context"
	"fmt"
	"time"

	"sluice/perf/load"
	"sluice/perf/result"
	"sluice/perf/rig"
)

// field is what is quoted for default TCP, TCP_NODELAY and reused connections. Latency times throughput is 85 to 102 in all three: what
// about 100 clients see who each wait for an answer (Little's law).
var field = []quote{{12.4, 8200}, {6.1, 15600}, {3.8, 22300}}

const (
	reuse      = "+ connection reuse"
	nagleAlone = "the same with Nagle"
)

// standinSteps are all of them, on a server that one would write first.
var standinSteps = []step{
	{name: "default TCP", attrs: []string{"nodelay=0", "epoll=0"}, nagle: true},
	{name: "+ TCP_NODELAY", attrs: []string{"nodelay=1", "epoll=0"}},
	{name: reuse, attrs: []string{"nodelay=1", "epoll=0"}, reuse: true},
	{name: "+ edge-triggered epoll", attrs: []string{"nodelay=1", "epoll=1"}, reuse: true},
	{name: nagleAlone, attrs: []string{"nodelay=0", "epoll=0"}, nagle: true, reuse: true, than: reuse},
}

// sluiceSteps are those that Sluice can be set to.
var sluiceSteps = []step{
	{name: "default TCP", attrs: []string{"http/tcp_nodelay=0"}, nagle: true},
	{name: "+ TCP_NODELAY", attrs: []string{"http/tcp_nodelay=1"}},
	{name: reuse, attrs: []string{"http/tcp_nodelay=1"}, reuse: true},
	{name: nagleAlone, attrs: []string{"http/tcp_nodelay=0"}, nagle: true, reuse: true, than: reuse},
}

func (e *effect) standinControl(ctx context.Context) (*ladder, error) {
	l := newLadder(result.Scenario{
		Name: "control, stand-in", Setup: "loopback", Unit: "request",
		About: fmt.Sprintf("%d clients send small requests, head and body in two writes, to perf/standin, which answers in two writes", e.clients),
	}, standinSteps)
	l.quoted = field
	l.remark = "A thread for each connection before epoll, which Sluice cannot be set to: hence a stand-in. Latency times throughput says " +
		"that what the field quotes is of about 100 clients."
	return l, e.control(ctx, l, "standin", "none")
}

func (e *effect) sluiceControl(ctx context.Context) (*ladder, error) {
	l := newLadder(result.Scenario{
		Name: "control, Sluice", Setup: "loopback", Unit: "request",
		About: fmt.Sprintf("%d clients PUT an attribute of Sluice, head and body in two writes", e.clients),
	}, sluiceSteps)
	l.quoted = field
	l.remark = "Edge-triggered epoll is in every row: Go's runtime has nothing else."
	return l, e.control(ctx, l, "sluice", "admin/watches_max")
}

// control sends requests for an attribute whose writing does nothing.
func (e *effect) control(ctx context.Context, l *ladder, server, path string) error {
	stop, err := e.start(ctx, server, rig.Place{})
	if err != nil {
		return err
	}
	defer stop()
	return e.climb(ctx, l.Scenario, l.steps, func(ctx context.Context, st step) (load.Report, error) {
		return load.Requests{
			URL: e.server.AttrURL(path), Body: "32", PID: e.server.PID(), Clients: e.clients,
			Nagle: st.nagle, Reuse: st.reuse, Window: e.window,
		}.Run(ctx)
	})
}

// iceTCP shows sound, small packets at a steady pace, to viewers by TCP.
func (e *effect) iceTCP(ctx context.Context) (*ladder, error) {
	const viewers = 10
	l := newLadder(result.Scenario{
		Name: "ICE-TCP, Sluice", Setup: "loopback",
		About: fmt.Sprintf("%d viewers by TCP get sound, 50 packets/s", viewers),
	}, []step{
		{name: "default TCP", attrs: []string{"dataplane/tcp_nodelay=0"}},
		{name: "+ TCP_NODELAY", attrs: []string{"dataplane/tcp_nodelay=1"}},
	})
	l.remark = "Throughput is what is offered. Connections last as long as sessions, and all are in an edge-triggered epoll set."
	stop, err := e.start(ctx, "sluice", rig.Place{})
	if err != nil {
		return nil, err
	}
	defer stop()
	target := e.server.Target("effect")
	target.TCP = true
	return l, e.watched(ctx, target, load.Media{}, viewers, viewers, func(b *load.Bench, viewers []*load.Viewer) error {
		return e.climb(ctx, l.Scenario, l.steps, func(ctx context.Context, _ step) (load.Report, error) {
			c, err := b.Measure(ctx, viewers, max(e.window, time.Second))
			return load.Report{Plan: load.Scenario{Viewers: len(viewers), Full: len(viewers)}, Counts: c}, err
		})
	})
}

// watched calls f while a stream is published and watched.
func (e *effect) watched(ctx context.Context, t load.Target, m load.Media, viewers, full int, f func(*load.Bench, []*load.Viewer) error) error {
	b, err := load.Open(ctx, t, m)
	if err != nil {
		return err
	}
	defer b.Close(context.WithoutCancel(ctx))
	time.Sleep(load.Settling)
	all, err := b.JoinAll(ctx, viewers, full)
	if err != nil {
		return err
	}
	defer b.LeaveAll(ctx, all)
	return f(b, all)
}
