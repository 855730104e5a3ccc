// Command instructions counts the instructions that forwarding takes, by function: a frame of 9 packets comes in and goes
// out to 20 viewers (BenchmarkFanOutToFew of dataplane/engine), stepped through one instruction at a time. No counters of the processor are
// needed, and other load changes next to nothing: where the runtime asks the goroutine to yield, a function's first instructions are counted twice.
// Run it in the root of the module.
//
// Functions are those of the binary: what the compiler inlined counts to where it is. The kernel's part is not in it.
package main

import (
	"cmp"
	"context"
	"debug/elf"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
)

// What is measured: one of several rounds of a benchmark, when everything is warm.
const (
	pkg       = "./dataplane/engine"
	benchmark = "BenchmarkFanOutToFew"
	packets   = 9 * 20
	round     = 10
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "instructions:", err)
		os.Exit(1)
	}
}

func run() error {
	dir := flag.String("out", "perf/out", "`directory` for the figures as JSON")
	top := flag.Int("top", 25, "how many functions to print")
	flag.Parse()
	if err := os.MkdirAll(*dir, 0o755); err != nil {
		return err
	}
	binary := filepath.Join(*dir, "instructions.test")
	defer os.Remove(binary)
	if out, err := exec.CommandContext(context.Background(), "go", "test", "-c", "-o", binary, pkg).CombinedOutput(); err != nil {
		return fmt.Errorf("build: %w\n%s", err, out)
	}
	symbols, err := readSymbols(binary)
	if err != nil {
		return err
	}
	begin, err := symbols.find("testing.(*B).StartTimer")
	if err != nil {
		return err
	}
	end, err := symbols.find("testing.(*B).StopTimer")
	if err != nil {
		return err
	}
	cmd := exec.Command(binary, "-test.run=^$", "-test.bench=^"+benchmark+"$", fmt.Sprintf("-test.benchtime=%dx", round+5))
	// One thread at a time runs Go code, and nothing of the runtime's comes between.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GODEBUG=asyncpreemptoff=1")
	cmd.Stderr = os.Stderr
	fmt.Println("stepping through half a million instructions")
	path, err := trace(cmd, begin, end, round)
	if err != nil {
		return err
	}
	r := symbols.sum(path)
	text, err := json.MarshalIndent(r, "", "\t")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(*dir, "instructions.json"), append(text, '\n'), 0o644); err != nil {
		return err
	}
	return r.table(os.Stdout, *top)
}

// result is what was counted, for each packet that left.
type result struct {
	PerPacket float64    `json:"instructions_per_packet"`
	Functions []function `json:"functions"`
}

type function struct {
	Name      string  `json:"function"`
	PerPacket float64 `json:"instructions_per_packet"`
}

func (r result) table(out io.Writer, top int) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(w, "instructions/packet\tshare\t  function\n%.1f\t100.0 %%\t  all\n", r.PerPacket)
	for _, f := range r.Functions[:min(top, len(r.Functions))] {
		fmt.Fprintf(w, "%.1f\t%.1f %%\t  %s\n", f.PerPacket, 100*f.PerPacket/r.PerPacket, f.Name)
	}
	return w.Flush()
}

// symbols are the functions of a binary, by address.
type symbols []elf.Symbol

func readSymbols(binary string) (s symbols, err error) {
	f, err := elf.Open(binary)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	all, err := f.Symbols()
	if err != nil {
		return nil, err
	}
	for _, sym := range all {
		if elf.ST_TYPE(sym.Info) == elf.STT_FUNC {
			s = append(s, sym)
		}
	}
	slices.SortFunc(s, func(a, b elf.Symbol) int { return cmp.Compare(a.Value, b.Value) })
	return s, nil
}

func (s symbols) find(name string) (address uint64, err error) {
	i := slices.IndexFunc(s, func(sym elf.Symbol) bool { return sym.Name == name })
	if i < 0 {
		return 0, fmt.Errorf("the binary has no function %s", name)
	}
	return s[i].Value, nil
}

// at is the function at an address.
func (s symbols) at(address uint64) string {
	i, found := slices.BinarySearchFunc(s, address, func(sym elf.Symbol, a uint64) int { return cmp.Compare(sym.Value, a) })
	if !found {
		i--
	}
	if i < 0 || address >= s[i].Value+max(s[i].Size, 1) {
		return "outside the binary"
	}
	return s[i].Name
}

// yielding is the beginning of the names of the functions by which a goroutine leaves its thread to the scheduler. Stepping is slow, so
// that it is asked to again and again.
const yielding = "runtime.morestack"

// sum counts the instructions of a path to functions, the most first. What the scheduler does until the path goes on is left out.
func (s symbols) sum(path []uint64) (r result) {
	sums := map[string]uint64{}
	var total uint64
	last, away := "", ""
	for _, address := range path {
		name := s.at(address)
		switch {
		case away == name:
			away = ""
		case away == "" && strings.HasPrefix(name, yielding):
			away = last
		}
		if away == "" {
			sums[name]++
			total++
			last = name
		}
	}
	for name, n := range sums {
		r.Functions = append(r.Functions, function{name, float64(n) / packets})
	}
	r.PerPacket = float64(total) / packets
	slices.SortFunc(r.Functions, func(a, b function) int {
		return cmp.Or(cmp.Compare(b.PerPacket, a.PerPacket), cmp.Compare(a.Name, b.Name))
	})
	return r
}
