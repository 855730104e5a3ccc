package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"time"

	"sluice/bpf/steer"
	"sluice/dataplane"
	"sluice/netopt/attr"
	"sluice/netopt/config"
	"sluice/netopt/host"
	"sluice/netopt/probe"
	"sluice/netopt/tune"
)

// journalDir is where the doctor keeps what it changed: in a directory of root's,
// not in the service's, since root does what the journal says.
const journalDir = "/var/lib/sluice-doctor"

// errUnhealthy ends the doctor where a budget is not met.
var errUnhealthy = errors.New("the machine does not hold what is asked of it")

// doctor audits the machine, tunes it, or undoes that.
type doctor struct {
	out         io.Writer
	machine     *host.Machine
	wish        tune.Wish
	budgets     []budget
	floor       func(samples int) ([]time.Duration, error)
	apply, undo bool
	journalDir  string
}

// budget is how long so many of a thousand packets may take at most.
type budget struct {
	path     string // of the attribute that says so
	limit    time.Duration
	permille int
}

// doctorCommand is "sluice doctor".
func doctorCommand(args []string) error {
	d, err := newDoctor(args)
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
	if err != nil {
		return usageError{err}
	}
	if d.machine, err = host.OpenMachine("/"); err != nil {
		return err
	}
	defer d.machine.Close()
	switch {
	case d.undo:
		return d.runUndo()
	case d.apply:
		return d.runApply()
	default:
		return d.audit()
	}
}

func newDoctor(args []string) (*doctor, error) {
	d := &doctor{out: os.Stdout, floor: probe.Floor, journalDir: cmp.Or(os.Getenv("STATE_DIRECTORY"), journalDir)}
	flags := flag.NewFlagSet("sluice doctor", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // errors are the caller's to show
	dir := flags.String("config", configDir, "directory with one file for each `attribute`, over "+vendorDir)
	profile := flags.String("profile", "", "`default`, latency or throughput (attribute host/profile)")
	flags.BoolVar(&d.apply, "apply", false, "make the changes, as root")
	flags.BoolVar(&d.undo, "undo", false, "bring back every value that --apply changed, as root")
	if err := flags.Parse(args); errors.Is(err, flag.ErrHelp) {
		flags.SetOutput(os.Stdout)
		flags.Usage()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w; \"sluice doctor -h\" lists the flags", err)
	}
	if flags.NArg() > 0 || d.apply && d.undo {
		return nil, errors.New("doctor takes flags only, and one of --apply and --undo")
	}
	tree := attr.NewTree(tables()...)
	config.Load(tree, vendorDir, *dir)
	if *profile != "" {
		if err := tree.Set(host.Profile.Decl().Path, *profile); err != nil {
			return nil, err
		}
	}
	d.wish = tune.Wish{Profile: host.Profile.Get(tree), ReceiveBuffer: number(tree, "dataplane/receive_buffer_bytes"), SendBuffer: number(tree, "dataplane/send_buffer_bytes")}
	d.budgets = budgets(tree)
	return d, nil
}

// budgets returns the latency budgets that a tree sets.
func budgets(tree *attr.Tree) (all []budget) {
	tree.Walk("", func(decl *attr.Decl, value string) {
		us, _ := strconv.Atoi(value)
		if path.Base(decl.Path) != "budget_us" || us == 0 {
			return
		}
		permille := number(tree, path.Dir(decl.Path)+"/budget_quantile_permille")
		if permille == 0 {
			permille = 990 // as streams have it by default
		}
		all = append(all, budget{decl.Path, time.Duration(us) * time.Microsecond, int(permille)})
	})
	return all
}

// number returns the value of an integer attribute whose owner keeps it to itself.
func number(tree *attr.Tree, path string) int64 {
	text, _ := tree.Get(path)
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

func (d *doctor) plan() []tune.Row { return tune.Plan(d.machine.Facts(), d.wish) }

// audit shows the plan.
func (d *doctor) audit() error {
	rows := d.plan()
	fmt.Fprintf(d.out, "Profile %s. Nothing is changed without --apply.\n\n", d.wish.Profile)
	for _, r := range rows {
		d.show(r)
	}
	changes := 0
	for _, r := range rows {
		if r.Verdict == tune.Change {
			changes++
		}
	}
	fmt.Fprintf(d.out, "\n%d to change, %d settings looked at.\n\n", changes, len(rows))
	d.accelerators(append(dataplane.TestKernel(), dataplane.Finding{Name: "steering of datagrams to their shards", Err: steer.SelfTest(), Switch: "steer/mode"}))
	return errors.Join(unmet(rows), d.latency())
}

// show prints one row.
func (d *doctor) show(r tune.Row) {
	name := tune.SysctlName(r.Key)
	switch r.Verdict {
	case tune.Good:
		fmt.Fprintf(d.out, "  ok      %s is %s\n", name, r.Old)
	case tune.Skip:
		fmt.Fprintf(d.out, "  skip    %s%s: %s\n", name, was(r.Old), r.Why)
	case tune.Change:
		fmt.Fprintf(d.out, "%s %s: %s -> %s\n            why:  %s\n            risk: %s\n            undo: %s\n",
			map[bool]string{false: "  change ", true: "! needed "}[r.Budget], name, r.Old, r.New, r.Why, r.Risk, r.Undo())
	}
}

// accelerators prints what the machine was found to do right. What it does not is
// not used, and costs speed only.
func (d *doctor) accelerators(findings []dataplane.Finding) {
	for _, f := range findings {
		if f.Err != nil {
			fmt.Fprintf(d.out, "  lacks   %s: %v; it is not used\n", f.Name, f.Err)
		} else {
			fmt.Fprintf(d.out, "  works   %s; %s turns it off\n", f.Name, f.Switch)
		}
	}
}

// latency compares what this machine takes at the very least with the budgets.
func (d *doctor) latency() error {
	const samples = 500
	floor, err := d.floor(samples)
	if err != nil {
		return fmt.Errorf("latency cannot be measured: %w", err)
	}
	fmt.Fprintf(d.out, "\n  floor   to read a datagram and send it on takes this machine %v now, %v at the 99th percentile\n", probe.Quantile(floor, 500), probe.Quantile(floor, 990))
	var unmet error
	for _, b := range d.budgets {
		if took := probe.Quantile(floor, b.permille); took > b.limit {
			unmet = errors.Join(unmet, fmt.Errorf("%w: %s is %v, and the machine alone takes %v for %d of a thousand packets; see profile latency, dataplane/spin_us", errUnhealthy, b.path, b.limit, took, b.permille))
		} else {
			fmt.Fprintf(d.out, "  ok      %s leaves %v for the rest\n", b.path, b.limit-took)
		}
	}
	return unmet
}

func was(value string) string {
	if value == "" {
		return ""
	}
	return " (" + value + ")"
}

// unmet says whether a row without which the profile does not hold is to change.
func unmet(rows []tune.Row) error {
	var err error
	for _, r := range rows {
		if r.Budget && r.Verdict == tune.Change {
			err = errors.Join(err, fmt.Errorf("%w: %s is %s, %s is needed", errUnhealthy, tune.SysctlName(r.Key), r.Old, r.New))
		}
	}
	return err
}

func (d *doctor) openJournal() (*host.Journal, error) {
	boot, err := host.BootID()
	if err != nil {
		return nil, err
	}
	return host.OpenJournal(d.journalDir, boot)
}

// runApply makes the changes of the plan, and looks again.
func (d *doctor) runApply() error {
	journal, err := d.openJournal()
	if err != nil {
		return err
	}
	defer journal.Close()
	var results []host.Result
	for range 2 { // a device with more queues than before has more settings
		more, err := host.Apply(d.machine, journal, d.plan())
		results = append(results, more...)
		if err != nil {
			return errors.Join(d.results(results), err)
		}
	}
	return errors.Join(d.results(results), unmet(d.plan()))
}

// runUndo brings back what was before every --apply since the machine started.
func (d *doctor) runUndo() error {
	journal, err := d.openJournal()
	if err != nil {
		return err
	}
	defer journal.Close()
	results, err := host.Undo(d.machine, journal)
	return errors.Join(d.results(results), err)
}

// results prints what became of each setting, and returns what failed.
func (d *doctor) results(results []host.Result) (failed error) {
	for _, r := range results {
		switch name := tune.SysctlName(r.Key); {
		case r.Unsupported():
			fmt.Fprintf(d.out, "  skip    %s: %s stays: its device lets nobody set it\n", name, r.Old)
		case r.Err != nil:
			fmt.Fprintf(d.out, "  failed  %s: %s -> %s: %v\n", name, r.Old, r.New, r.Err)
			failed = errors.Join(failed, fmt.Errorf("%s cannot be set to %s: %w", name, r.New, r.Err))
		case r.Got != r.New:
			fmt.Fprintf(d.out, "  near    %s: %s -> %s; the kernel made it %s\n", name, r.Old, r.New, r.Got)
		default:
			fmt.Fprintf(d.out, "  done    %s: %s -> %s\n", name, r.Old, r.New)
		}
	}
	if len(results) == 0 {
		fmt.Fprintln(d.out, "  nothing to change")
	}
	return failed
}
