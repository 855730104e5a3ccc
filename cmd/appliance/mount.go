package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"sluice/netopt/attrfs"
)

const mountUsage = `sluice mount [flags] DIR shows the attributes of the appliance that runs on this machine as files below DIR,
until it gets SIGTERM or the appliance has been gone for ten seconds. cat shows live values, a bad write fails as one to
sysfs does, mkdir and rmdir make and remove objects. Where the appliance does not answer within 100 ms, a read is an I/O
error. It needs root, or fusermount3 (Debian package fuse3).

`

// runMount carries out "sluice mount" and returns the exit status.
func runMount(args []string, out, errs io.Writer) int {
	flags := flag.NewFlagSet("sluice mount", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	socket := flags.String("socket", "", "`path` of the socket (attribute admin/socket of the appliance)")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, mountUsage)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return 0
	case err == nil && flags.NArg() != 1:
		err = errors.New("give one DIR")
	}
	if err != nil {
		fmt.Fprintf(errs, "sluice mount: %v; \"sluice mount -h\" says how\n", err)
		return int(syscall.EINVAL)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(errs, nil))
	dir := flags.Arg(0)
	err = attrfs.Mount(ctx, dir, dialTree(*socket), log, func() { log.Info("mounted", "dir", dir) })
	if err != nil {
		fmt.Fprintln(errs, "sluice mount:", err)
	}
	return errno(err)
}
