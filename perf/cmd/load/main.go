// Command load puts one publisher and many viewers on any WHIP/WHEP server and prints what arrived, how late, and what it cost.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sluice/perf/load"
)

func main() {
	var p load.Plan
	flag.StringVar(&p.WHIP, "whip", "http://127.0.0.1:8080/whip/load", "WHIP endpoint `URL`")
	flag.StringVar(&p.WHEP, "whep", "http://127.0.0.1:8080/whep/load", "WHEP endpoint `URL`")
	flag.IntVar(&p.PID, "pid", 0, "process id of the server, to measure its CPU time and memory")
	flag.IntVar(&p.Viewers, "n", 100, "number of viewers")
	flag.IntVar(&p.Full, "full", 10, "how many viewers decrypt every packet; -n of them: all")
	flag.IntVar(&p.Serial, "serial", 10, "how many viewers join one by one, for the time to first media")
	flag.IntVar(&p.FPS, "fps", 30, "frames per second")
	flag.IntVar(&p.PPF, "ppf", 9, "packets per frame")
	flag.IntVar(&p.Streams, "streams", 1, "number of publishers, whose streams are URL0, URL1 and so on; viewers watch one each, in turn")
	flag.IntVar(&p.Size, "size", 1150, "`bytes` of a video RTP packet: header, extensions and payload, before SRTP adds its tag")
	flag.DurationVar(&p.Spread, "spread", 0, "time over which a frame's packets leave; 0: one burst")
	flag.DurationVar(&p.Window, "window", 10*time.Second, "length of the measurement")
	flag.DurationVar(&p.Warm, "warm", 2*time.Second, "time for which media flows to all viewers before it")
	flag.DurationVar(&p.RSSWait, "rss-wait", 0, "time from the last join to the reading of memory")
	flag.Func("transport", "`udp` (the default) or tcp: ICE-TCP, with which all viewers decrypt everything", func(s string) error {
		p.TCP, p.TCPPublish = s == "tcp", s == "tcp"
		if s != "tcp" && s != "udp" {
			return errors.New("want udp or tcp")
		}
		return nil
	})
	flag.BoolVar(&p.MID, "mid", false, "viewers offer the sdes:mid header extension")
	file := flag.String("json", "", "write the report to this `file` too")
	flag.Parse()
	if err := run(p, *file); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(p load.Plan, file string) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	report, err := load.Run(ctx, p)
	if err != nil {
		return err
	}
	if file != "" {
		text, err := json.MarshalIndent(report, "", "\t")
		if err != nil {
			return err
		}
		if err := os.WriteFile(file, append(text, '\n'), 0o644); err != nil {
			return err
		}
	}
	return report.Table(os.Stdout)
}
