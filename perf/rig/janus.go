package rig

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"

	"sluice/perf/janus"
	"sluice/perf/lab"
	"sluice/perf/proc"
)

// startJanus runs Janus with a configuration of its own, and in this process the front that speaks WHIP and WHEP for it.
func startJanus(ctx context.Context, k Kind, place Place, log io.Writer) (s *Server, err error) {
	s = &Server{kind: k, lab: place.Lab}
	dir, err := os.MkdirTemp("", "janus")
	if err != nil {
		return nil, err
	}
	s.closing = func() { os.RemoveAll(dir) }
	defer func() {
		if err != nil {
			s.Stop()
		}
	}()
	a, err := place.addrs()
	if err != nil {
		return s, err
	}
	api, err := netip.ParseAddrPort(a.admin)
	if err != nil {
		return s, err
	}
	here, there, err := place.outward()
	if err != nil {
		return s, err
	}
	command, err := janus.Command(dir, api, there)
	if err != nil {
		return s, err
	}
	if s.Server, err = proc.Start(ctx, place.within(), a.admin, log, command...); err != nil {
		return s, err
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(here, 0).String())
	if err != nil {
		return s, err
	}
	living, end := context.WithCancel(context.WithoutCancel(ctx))
	front, err := janus.New(living, "http://"+a.admin+"/janus")
	if err != nil {
		end()
		return s, errors.Join(err, listener.Close())
	}
	server := &http.Server{Handler: front}
	go server.Serve(listener)
	s.http = listener.Addr().String()
	s.closing = func() {
		server.Close()
		end()
		os.RemoveAll(dir)
	}
	return s, nil
}

// outward are addresses that are not loopback ones: one of ours, and one of the server's.
func (p Place) outward() (here, there netip.Addr, err error) {
	if p.Lab != nil {
		return lab.Viewers, lab.Server, nil
	}
	own, err := net.InterfaceAddrs()
	if err != nil {
		return here, there, err
	}
	for _, a := range own {
		if n, ok := a.(*net.IPNet); ok && n.IP.To4() != nil && n.IP.IsGlobalUnicast() {
			addr, _ := netip.AddrFromSlice(n.IP.To4())
			return addr, addr, nil
		}
	}
	return here, there, errors.New("this machine has no IPv4 address but loopback ones, which Janus does not use: ip link add perf0 type veth, and give it one")
}
