// Package attr is the one table of the appliance: every configuration value and
// every metric is declared once, next to the code that owns it, and everything
// else follows from that declaration: validation, errors, the tree and all its
// faces, OpenMetrics names, docs/abi.
//
// A package that owns values declares them in its attrs.go:
//
//	var Attrs attr.Table
//
//	var (
//		Shards = Attrs.Int(attr.Decl{
//			Path: "dataplane/shards", Unit: "shards", Mode: attr.Boot,
//			Min: 0, Max: 64, Default: "0", Since: "0.1",
//			Doc: "How many threads forward media; 0 is one for each CPU.",
//		})
//		Dropped = Attrs.CounterVec(attr.Decl{
//			Path: "dataplane/dropped_packets", Unit: "packets", Since: "0.1",
//			Label: "reason", Values: wire.DropNames(),
//			Doc: "Datagrams that ended here.",
//		})
//	)
//
// Declarations are package variables, values are not: they live in a [Tree], of
// which a process may have several.
//
//	tree := attr.NewTree(&dataplane.Attrs, &ice.Attrs)
//	n := dataplane.Shards.Get(tree)
//	dataplane.MTU.Watch(tree, func(mtu int64) { … })
//	tree.Collect(func(s *attr.Sample) { dataplane.Dropped.Add(s, reason, count) })
//
// The manners are those of sysfs: one value an attribute, ASCII, a trailing
// newline, booleans 0 and 1, lists one entry a line, units in names; a bad write
// is an error and changes nothing.
package attr

// Decl declares one attribute or metric. The path names it for good: lower case
// segments of [a-z0-9_] between slashes, ending in the unit. The segment <name>
// stands for the names of objects, see Class.
type Decl struct {
	Path string
	Kind Kind // set by the Table's method
	Mode Mode // of a metric always RO

	// Unit is what the number counts or measures ("packets", "bytes", "ms"), ""
	// for none. Metrics are in base units (seconds, bytes, ratio).
	Unit string

	// Min and Max bound an Int's value, a Text's length in bytes and a List's
	// number of entries, both included. A Max of 0 leaves a Text or List bounded
	// by MaxBytes alone.
	Min, Max int64

	Default string // as it would be written; "" is 0 for an Int or Bool, the first word for an Enum

	// Values are the words of an Enum, or what the Label of a vector can be: a
	// closed list, so that the number of series is fixed.
	Values []string
	Label  string

	Bounds []float64 // upper ends of a Histogram's buckets, ascending; there is one more, without end

	// Check says what is wrong with a Text or one entry of a List beyond its
	// length, in words that can follow the value: "is not an IP address". It
	// must be a pure function.
	Check func(string) error

	Stability Stability
	Since     string // the version that brought it

	// Doc says what it is, what special values mean and what it costs, in
	// sentences; the first one is the metric's help. An empty line parts
	// paragraphs, other white space does not matter.
	Doc string

	limit, refused *Decl // of a class
}

// Kind says what the values of a declaration are.
type Kind uint8

// The kinds. Int to List are configuration (or facts, if RO), Object is a
// directory that an operator makes (see Class), Counter and those after it are
// metrics.
const (
	KindInt Kind = iota
	KindBool
	KindText
	KindEnum
	KindList
	KindObject
	KindCounter
	KindGauge
	KindHistogram
)

func (k Kind) String() string {
	return [...]string{"integer", "boolean", "text", "enumeration", "list", "object", "counter", "gauge", "histogram"}[k]
}

// Metric reports whether the kind is filled at each scrape instead of set.
func (k Kind) Metric() bool { return k >= KindCounter }

// Mode says who may write an attribute, and when.
type Mode uint8

// The modes.
const (
	RW   Mode = iota // at any time, takes effect at once
	Boot             // until Tree.Freeze; afterwards in the persistent tree, for the next start
	RO               // by its owner only
	WO               // at any time; cannot be read: a trigger or a secret
)

// Perm returns the permission bits the attribute has as a file.
func (m Mode) Perm() uint32 { return [...]uint32{0o644, 0o644, 0o444, 0o200}[m] }

// Stability says what is promised about a declaration, in the manner of the
// kernel's Documentation/ABI/README.
type Stability uint8

// The stabilities. Everything starts in testing.
const (
	Testing  Stability = iota // may still change
	Stable                    // stays as it is
	Obsolete                  // works, and will go
)

func (s Stability) String() string { return [...]string{"testing", "stable", "obsolete"}[s] }

// Table holds the declarations of one package. The zero value is empty. Its
// methods are called while package variables are initialised; NewTree panics if
// a declaration is malformed.
type Table struct{ decls []*Decl }

// Decls returns the declarations in the order they were made.
func (t *Table) Decls() []*Decl { return t.decls }

// Int declares a whole number between Min and Max.
func (t *Table) Int(d Decl) Attr[int64] { return Attr[int64]{t.add(d, KindInt)} }

// Bool declares a switch, written as 0 or 1.
func (t *Table) Bool(d Decl) Attr[bool] { return Attr[bool]{t.add(d, KindBool)} }

// Text declares one line of printable ASCII.
func (t *Table) Text(d Decl) Attr[string] { return Attr[string]{t.add(d, KindText)} }

// Enum declares a choice among Values.
func (t *Table) Enum(d Decl) Attr[string] { return Attr[string]{t.add(d, KindEnum)} }

// List declares entries without white space. They are shown one a line; when
// written, any white space parts them.
func (t *Table) List(d Decl) Attr[[]string] { return Attr[[]string]{t.add(d, KindList)} }

// Counter declares a number that only grows while the process lives.
func (t *Table) Counter(d Decl) Counter { return Counter{t.add(d, KindCounter)} }

// CounterVec declares a Counter for each of Values, told apart by Label.
func (t *Table) CounterVec(d Decl) CounterVec { return CounterVec{t.add(d, KindCounter)} }

// Gauge declares a number that goes up and down.
func (t *Table) Gauge(d Decl) Gauge { return Gauge{t.add(d, KindGauge)} }

func (t *Table) add(d Decl, k Kind) *Decl {
	d.Kind = k
	if k.Metric() {
		d.Mode = RO
	}
	t.decls = append(t.decls, &d)
	return &d
}

// Attr is a declared attribute whose values are Ts.
type Attr[T int64 | bool | string | []string] struct{ decl *Decl }

// Decl returns the declaration.
func (a Attr[T]) Decl() *Decl { return a.decl }

// Get returns the value in t: two loads and a map lookup, from any goroutine. A
// list must not be changed. It panics if the declaration is not part of t.
func (a Attr[T]) Get(t *Tree) T { return t.slot(a.decl).value.Load().typed.(T) }

// Put sets the value on behalf of its owner, whatever the mode: for RO facts,
// and to replace a wish such as 0 by what it came to. It validates and notifies
// as Tree.Set does.
func (a Attr[T]) Put(t *Tree, v T) error {
	s := t.slot(a.decl)
	defer take(s.turn)()
	return s.store(format(v))
}

// Watch calls f with the new value after each successful set, in the setter's
// goroutine, one call at a time. f must not set the same attribute, nor watch,
// nor make or remove objects. To miss no change, watch first and Get then. stop
// ends it, and is not for f to call.
func (a Attr[T]) Watch(t *Tree, f func(T)) (stop func()) {
	own := t.slot(a.decl)
	return t.watch(func(s *slot) bool { return s == own }, func(_ *slot, v *value) { f(v.typed.(T)) })
}

// Counter is a declared metric that only grows.
type Counter struct{ decl *Decl }

// Add adds n to the counter in this sample. Collectors of several shards may
// each add their part.
func (c Counter) Add(s *Sample, n uint64) { s.of(c.decl)[0] += float64(n) }

// CounterVec is a Counter for each of its declaration's Values.
type CounterVec struct{ decl *Decl }

// Add adds n to the counter of Values[i] in this sample.
func (c CounterVec) Add(s *Sample, i int, n uint64) { s.of(c.decl)[i] += float64(n) }

// Gauge is a declared metric that goes up and down.
type Gauge struct{ decl *Decl }

// Set sets the gauge in this sample.
func (g Gauge) Set(s *Sample, v float64) { s.of(g.decl)[0] = v }

// Add adds v to the gauge in this sample.
func (g Gauge) Add(s *Sample, v float64) { s.of(g.decl)[0] += v }
