package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"

	"sluice/netopt/attr"
	"sluice/netopt/attrsock"
	"sluice/netopt/document"
)

const applyUsage = `sluice apply [flags] FILE makes the appliance that runs on this machine what a JSON or YAML document says. It
shows what will change and asks first; a change that is not possible as a whole is not made at all. "-" reads
the document from standard input. What is applied lasts until the appliance ends; "sluice attr save" keeps it.

  limits:
    fixed_streams: 16
  streams:              # these streams have settings, and no others
    line1:
      title: The gate
    line2:

What the document does not name stays as it is; but of streams, once that is named, what is not named goes, and
unnamed attributes of a named one go back to their defaults. The exit status is 0 if all is as the document says
now, 1 if the answer was no, and otherwise as "sluice attr -h" says.

`

// runApply carries out "sluice apply" and returns the exit status.
func runApply(args []string, in io.Reader, out, errs io.Writer) int {
	flags := flag.NewFlagSet("sluice apply", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	socket := flags.String("socket", "", "`path` of the socket (attribute admin/socket of the appliance)")
	yes := flags.Bool("yes", false, "do not ask")
	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(out, applyUsage)
		flags.SetOutput(out)
		flags.PrintDefaults()
		return 0
	case err == nil && flags.NArg() != 1:
		err = errors.New("give one FILE")
	}
	if err != nil {
		fmt.Fprintf(errs, "sluice apply: %v; \"sluice apply -h\" says how\n", err)
		return int(syscall.EINVAL)
	}
	agree := func() bool { return *yes }
	if !*yes && flags.Arg(0) != "-" {
		agree = func() bool { return ask(in, out) }
	}
	done, err := applyDocument(dialTree(*socket), flags.Arg(0), in, out, agree)
	if err != nil {
		fmt.Fprintln(errs, "sluice apply:", err)
		return errno(err)
	}
	if !done {
		fmt.Fprintln(errs, "sluice apply: nothing was changed")
		return 1
	}
	return 0
}

// ask returns whether the answer is yes.
func ask(in io.Reader, out io.Writer) bool {
	fmt.Fprint(out, "Apply? [y/N] ")
	answer, _ := bufio.NewReader(in).ReadString('\n') // no answer is no
	answer = strings.ToLower(strings.TrimSpace(answer))
	return answer == "y" || answer == "yes"
}

// applyDocument reports whether all is as the document says.
func applyDocument(client *attrsock.Client, name string, in io.Reader, out io.Writer, agree func() bool) (bool, error) {
	text, err := readDocument(name, in)
	if err != nil {
		return false, err
	}
	wish, err := document.Parse(text)
	if err != nil {
		return false, &attr.Error{Code: attr.EINVAL, Path: name, Reason: err.Error()}
	}
	ctx := context.Background()
	entries, err := client.Entries(ctx, "")
	if err != nil {
		return false, err
	}
	copied, old := copyTree(entries)
	change, wrong := wish.Change(copied)
	if wrong != nil {
		return false, errors.Join(wrong...)
	}
	if len(change.Rmdir)+len(change.Mkdir)+len(change.Set) == 0 {
		fmt.Fprintln(out, "nothing to change")
		return true, nil
	}
	if err := client.Check(ctx, change); err != nil {
		return false, err
	}
	printChange(out, change, old(change))
	if !agree() {
		return false, nil
	}
	return true, client.Apply(ctx, change)
}

func readDocument(name string, in io.Reader) ([]byte, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		in = f
	}
	return io.ReadAll(io.LimitReader(in, document.MaxBytes+1))
}

// copyTree returns a tree with the values of a running one, and what tells which
// values a change replaces.
func copyTree(entries []attrsock.Entry) (copied *attr.Tree, old func(attr.Change) map[string]string) {
	copied = attr.NewTree(tables()...)
	differences(entries, copied)
	values := map[string]string{}
	for _, e := range entries {
		if e.Boot {
			copied.Set(e.Path, *e.Value) // what this version does not know cannot be in a change
		}
		if e.Value != nil {
			values[e.Path] = *e.Value
		}
	}
	return copied, func(c attr.Change) map[string]string {
		for path := range c.Set {
			d, err := copied.Lookup(path)
			if _, known := values[path]; !known && err == nil && d.Mode != attr.WO {
				values[path] = d.Initial() // of a new object
			}
		}
		return values
	}
}
