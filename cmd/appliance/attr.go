package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
	"sluice/netopt/config"
)

const attrUsage = `sluice attr reads and changes the attributes of the appliance that runs on this machine.

  sluice attr ls [-l] [PATH]    all paths at and below PATH; with -l also modes and values
  sluice attr get PATH          the value
  sluice attr set PATH VALUE    write a value; it takes effect at once
  sluice attr mkdir PATH        make an object, such as streams/line1
  sluice attr rmdir PATH        remove one
  sluice attr watch [PATH]      print changes as they happen
  sluice attr diff              what differs from the configuration directory
  sluice attr save              write what differs to the configuration directory; says what it leaves out

The exit status is the errno that a file would give: ENOENT 2, EACCES 13, EEXIST 17, EINVAL 22, ENOSPC 28, ERANGE 34;
ECONNREFUSED 111 where no appliance answers.

`

// attrCommand is "sluice attr" on its way.
type attrCommand struct {
	ctx    context.Context
	client *attrsock.Client
	out    io.Writer
	errs   io.Writer // what is said beside
	long   bool
	config string
}

// attrCommands are the commands, each with the number of arguments it takes.
var attrCommands = map[string]struct {
	least, most int
	run         func(c *attrCommand, args []string) error
}{
	"ls":    {0, 1, (*attrCommand).ls},
	"get":   {1, 1, (*attrCommand).get},
	"set":   {2, 2, func(c *attrCommand, args []string) error { return c.client.Set(c.ctx, args[0], args[1]) }},
	"mkdir": {1, 1, func(c *attrCommand, args []string) error { return c.client.Mkdir(c.ctx, args[0]) }},
	"rmdir": {1, 1, func(c *attrCommand, args []string) error { return c.client.Rmdir(c.ctx, args[0]) }},
	"watch": {0, 1, (*attrCommand).watch},
	"diff":  {0, 0, func(c *attrCommand, _ []string) error { return c.diff(false) }},
	"save":  {0, 0, func(c *attrCommand, _ []string) error { return c.diff(true) }},
}

// runAttr carries out a command and returns the exit status.
func runAttr(args []string, out, errs io.Writer) int {
	c := &attrCommand{out: out, errs: errs}
	flags := flag.NewFlagSet("sluice attr", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	socket := flags.String("socket", "", "`path` of the socket (attribute admin/socket of the appliance)")
	flags.BoolVar(&c.long, "l", false, "ls: show mode and value")
	flags.StringVar(&c.config, "config", configDir, "save, diff: the configuration `directory`")
	err := flags.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(out, attrUsage)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return 0
	}
	name := flags.Arg(0)
	command, known := attrCommands[name]
	if err == nil && known {
		err = flags.Parse(flags.Args()[1:])
	}
	switch given := flags.NArg(); {
	case err == nil && !known:
		err = fmt.Errorf("%q is no command", name)
	case err == nil && (given < command.least || given > command.most):
		err = fmt.Errorf("%s does not take %d arguments", name, given)
	}
	if err != nil {
		fmt.Fprintf(errs, "sluice attr: %v; \"sluice attr -h\" lists the commands\n", err)
		return int(syscall.EINVAL)
	}
	c.client = dialTree(*socket)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c.ctx = ctx
	err = command.run(c, flags.Args())
	if err != nil && ctx.Err() == nil {
		fmt.Fprintln(errs, "sluice attr:", err)
	}
	return errno(err)
}

// dialTree returns a client of the socket, or if none is named of those that there
// may be.
func dialTree(socket string) *attrsock.Client {
	if socket == "" {
		return attrsock.New(attrsock.Paths()...)
	}
	return attrsock.New(socket)
}

// errno is the exit status that stands for an error.
func errno(err error) int {
	var refused *attr.Error
	switch {
	case err == nil || errors.Is(err, context.Canceled):
		return 0
	case errors.As(err, &refused):
		return refused.Code.Errno()
	case errors.Is(err, attrsock.ErrDown):
		return int(syscall.ECONNREFUSED)
	}
	return int(syscall.EIO)
}

func (c *attrCommand) ls(args []string) error {
	path := strings.Trim(strings.Join(args, ""), "/")
	if !c.long {
		paths, err := c.client.List(c.ctx, path)
		for _, p := range paths {
			fmt.Fprintln(c.out, p)
		}
		return err
	}
	entries, err := c.client.Entries(c.ctx, path)
	for _, e := range entries {
		value := "-"
		if e.Value != nil {
			value = oneLine(*e.Value)
		}
		fmt.Fprintf(c.out, "%s %s %s\n", e.Mode, e.Path, value)
	}
	return err
}

// oneLine shows a value of several lines on one.
func oneLine(value string) string { return strings.ReplaceAll(value, "\n", ", ") }

func (c *attrCommand) get(args []string) error {
	value, err := c.client.Get(c.ctx, args[0])
	if err == nil {
		fmt.Fprintln(c.out, value)
	}
	return err
}

func (c *attrCommand) watch(args []string) error {
	return c.client.Watch(c.ctx, strings.Join(args, ""), nil, func(e attrsock.Event) {
		if e.Name == "set" {
			fmt.Fprintln(c.out, e.Path, oneLine(e.Value))
			return
		}
		fmt.Fprintln(c.out, e.Name, e.Path)
	})
}

// diff prints what the running tree has and a new start would not, and writes it
// to the configuration directory if save says so: all that can be changed while
// running and be read. What is left out is told beside.
func (c *attrCommand) diff(save bool) error {
	entries, err := c.client.Entries(c.ctx, "")
	if err != nil {
		return err
	}
	kept := attr.NewTree(tables()...)
	config.Load(kept, vendorDir, c.config)
	d := differences(entries, kept)
	printChange(c.out, d.Change, d.old)
	for _, line := range leftOut(entries, kept) {
		fmt.Fprintln(c.errs, "left out:", line)
	}
	if !save {
		return nil
	}
	return config.Save(c.config, d.Change)
}

// leftOut says, one a line, in what else a new start may differ. What is fixed at
// start the command line or an earlier configuration made so, and the configuration
// may be meant for the next start; what can be written only nobody can read.
func leftOut(entries []attrsock.Entry, kept *attr.Tree) (lines []string) {
	var secret []string
	for _, e := range entries {
		if e.Mode == "0200" {
			secret = append(secret, e.Path)
		}
		if !e.Boot {
			continue
		}
		if next, err := kept.Get(e.Path); err == nil && next != *e.Value {
			lines = append(lines, fmt.Sprintf("%s is %q since the start, and will be %q with the next: to keep it, write it to the configuration directory", e.Path, *e.Value, next))
		}
	}
	if len(secret) > 0 {
		lines = append(lines, strings.Join(secret, ", ")+" can be written only: to keep what was written, write it to the configuration directory too")
	}
	return lines
}

// printChange shows a change, each value after the one that it replaces, if that
// is known.
func printChange(out io.Writer, change attr.Change, old map[string]string) {
	for _, path := range change.Rmdir {
		fmt.Fprintln(out, "rmdir", path)
	}
	for _, path := range change.Mkdir {
		fmt.Fprintln(out, "mkdir", path)
	}
	for _, path := range slices.Sorted(maps.Keys(change.Set)) {
		if was, ok := old[path]; ok {
			fmt.Fprintf(out, "%s %q -> %q\n", path, was, change.Set[path])
		} else {
			fmt.Fprintf(out, "%s is written\n", path)
		}
	}
}

// difference is a change, and the values that it replaces.
type difference struct {
	attr.Change
	old map[string]string
}

// differences makes kept what the entries of a running tree say, and returns
// what had to be changed.
func differences(entries []attrsock.Entry, kept *attr.Tree) difference {
	change := difference{attr.Change{Set: map[string]string{}}, map[string]string{}}
	running := map[string]bool{}
	for _, e := range entries {
		running[e.Path] = true
		if e.Boot || e.Mode != "0644" {
			continue
		}
		object := e.Path[:max(strings.LastIndexByte(e.Path, '/'), 0)]
		if kept.Mkdir(object) == nil { // where objects are, and it is not there yet
			change.Mkdir = append(change.Mkdir, object)
		}
		old, err := kept.Get(e.Path)
		if err != nil || old == *e.Value {
			continue // an attribute that only the running version has is not for this one to save
		}
		if kept.Set(e.Path, *e.Value) == nil {
			change.Set[e.Path], change.old[e.Path] = *e.Value, old
		}
	}
	all, _ := kept.List("")
	for _, path := range all {
		if dir := path[:max(strings.LastIndexByte(path, '/'), 0)]; !running[path] && kept.IsObject(dir) && !slices.Contains(change.Rmdir, dir) {
			change.Rmdir = append(change.Rmdir, dir)
		}
	}
	return change
}
