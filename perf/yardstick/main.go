// Command yardstick does the least that a forwarder of SRTP must do, as fast as Go can: it opens each packet once, seals it for each
// viewer with the viewer's key, and sends each viewer's packets of a frame as one train (UDP_SEGMENT), several trains in one
// sendmmsg. It has no ICE, DTLS, RTCP, history, reordering or loss: it is what a server's cost is compared with. With -floor it does
// not even seal: it sends what it received, which is what the kernel alone costs for the same messages. With -spin it never sleeps.
//
// PUT to /attr/calls says with which system calls it moves packets: sendto (one for each), mmsg (recvmmsg and sendmmsg), gso (the
// same, and trains) or gro, the start, which receives trains too. The effect table stands on that: Sluice has no way without batches.
//
// POST to /whip/… or /whep/… with one's own UDP address joins (client.DialBare); there is one publisher.
package main

import (
	"flag"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
)

func main() {
	addr := flag.String("http", "127.0.0.1:8082", "`address` to listen on")
	media := flag.String("media", "127.0.0.1:8192", "UDP `address` for media, IPv4")
	floor := flag.Bool("floor", false, "send what comes in as it is, without a cipher")
	paced := flag.Bool("paced", false, "send each packet when it comes, make no trains")
	spin := flag.Bool("spin", false, "ask for packets all the time, never sleep")
	flag.Parse()
	if err := run(*addr, *media, options{floor: *floor, paced: *paced, spin: *spin}); err != nil {
		log.Fatal(err)
	}
}

func run(addr, media string, o options) error {
	at, err := netip.ParseAddrPort(media)
	if err != nil {
		return err
	}
	r := newRoom(at)
	f, err := newForwarder(at, r, o)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	failed := make(chan error, 2)
	go func() { failed <- f.run() }()
	mux := r.handler(o.floor)
	mux.HandleFunc("PUT /attr/calls", f.putCalls)
	go func() { failed <- http.Serve(l, mux) }()
	return <-failed
}

func (f *forwarder) putCalls(w http.ResponseWriter, q *http.Request) {
	text, err := io.ReadAll(io.LimitReader(q.Body, 64))
	if err == nil {
		err = f.setCalls(string(text))
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}
