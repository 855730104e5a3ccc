package attr

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

// house is a small product's table.
var house Table

var (
	shards   = house.Int(Decl{Path: "plane/shards", Unit: "shards", Mode: Boot, Min: 0, Max: 64, Since: "0.1", Doc: "Threads that forward."})
	mtu      = house.Int(Decl{Path: "plane/mtu_bytes", Unit: "bytes", Min: 576, Max: 9000, Default: "1200", Since: "0.1", Doc: "Largest packet."})
	offset   = house.Int(Decl{Path: "plane/offset", Min: math.MinInt64, Max: math.MaxInt64, Since: "0.1", Doc: "Any number."})
	relay    = house.Bool(Decl{Path: "plane/relay", Default: "1", Since: "0.1", Doc: "Relay."})
	title    = house.Text(Decl{Path: "title", Max: 8, Default: "Sluice", Since: "0.1", Doc: "Shown on the page."})
	level    = house.Enum(Decl{Path: "log/level", Values: []string{"info", "debug"}, Since: "0.1", Doc: "What is logged."})
	announce = house.List(Decl{Path: "ice/announce", Max: 3, Since: "0.1", Doc: "Addresses.", Check: func(s string) error {
		if _, err := netip.ParseAddr(s); err != nil {
			return errors.New("is not an IP address")
		}
		return nil
	}})
	token   = house.Text(Decl{Path: "auth/token", Mode: WO, Since: "0.1", Doc: "A secret."})
	version = house.Text(Decl{Path: "version", Mode: RO, Since: "0.1", Doc: "Of the program."})
	packets = house.Counter(Decl{Path: "plane/rx_packets", Unit: "packets", Since: "0.1", Doc: "Received."})
	dropped = house.CounterVec(Decl{Path: "plane/dropped_packets", Unit: "packets", Label: "reason", Values: []string{"malformed", "replayed"}, Since: "0.1", Doc: "Dropped."})
	turn    = house.Gauge(Decl{Path: "plane/turn_seconds", Unit: "seconds", Since: "0.1", Doc: "Last turn."})
)

func TestSet(t *testing.T) {
	for _, c := range []struct {
		path, text string
		want       string // the value afterwards, or the error
	}{
		{"plane/shards", "8", "8"},
		{"plane/shards", "0064\n", "64"},
		{"plane/shards", "-0", "0"},
		{"plane/offset", "-9223372036854775808", "-9223372036854775808"},
		{"plane/relay", "0\n", "0"},
		{"title", "A b\n", "A b"},
		{"title", "", ""},
		{"log/level", "debug\n", "debug"},
		{"ice/announce", "192.0.2.1 2001:db8::1\n", "192.0.2.1\n2001:db8::1"},
		{"ice/announce", "192.0.2.1\n192.0.2.2\n", "192.0.2.1\n192.0.2.2"},
		{"ice/announce", " \n", ""},

		{"plane/shards", "99", "ERANGE plane/shards: 99 is out of range 0..64"},
		{"plane/shards", "-1", "ERANGE plane/shards: -1 is out of range 0..64"},
		{"plane/offset", "9223372036854775808", "ERANGE plane/offset: 9223372036854775808 is out of range -9223372036854775808..9223372036854775807"},
		{"plane/mtu_bytes", strings.Repeat("9", 4096), "ERANGE plane/mtu_bytes: " + strings.Repeat("9", 64) + "... is out of range 576..9000"},
		{"plane/shards", "", `EINVAL plane/shards: "" is not a whole number (0..64)`},
		{"plane/shards", "-", `EINVAL plane/shards: "-" is not a whole number (0..64)`},
		{"plane/shards", "--1", `EINVAL plane/shards: "--1" is not a whole number (0..64)`},
		{"plane/shards", "+1", `EINVAL plane/shards: "+1" is not a whole number (0..64)`},
		{"plane/shards", " 1", `EINVAL plane/shards: " 1" is not a whole number (0..64)`},
		{"plane/shards", "1e3", `EINVAL plane/shards: "1e3" is not a whole number (0..64)`},
		{"plane/shards", "NaN", `EINVAL plane/shards: "NaN" is not a whole number (0..64)`},
		{"plane/shards", "1\n\n", `EINVAL plane/shards: byte 1 (0x0a) is not printable ASCII`},
		{"plane/shards", "1\x00", `EINVAL plane/shards: byte 1 (0x00) is not printable ASCII`},
		{"plane/relay", "yes", `EINVAL plane/relay: "yes" is neither 0 nor 1`},
		{"title", "caf\u00e9", `EINVAL title: byte 3 (0xc3) is not printable ASCII`},
		{"title", "a\xff", `EINVAL title: byte 1 (0xff) is not printable ASCII`},
		{"title", "ninechars", `ERANGE title: 9 bytes are out of range 0..8`},
		{"auth/token", strings.Repeat("x", 4097), `EINVAL auth/token: is longer than 4096 bytes`},
		{"log/level", "Info", `EINVAL log/level: "Info" is not one of info, debug`},
		{"ice/announce", "192.0.2.1 example", `EINVAL ice/announce: "example" is not an IP address`},
		{"ice/announce", "::1 ::2 ::3 ::4", `ERANGE ice/announce: 4 entries are out of range 0..3`},
		{"version", "2", `EACCES version: can be read only`},
		{"plane/rx_packets", "0", `EACCES plane/rx_packets: can be read only`},
		{"plane/shard", "1", `ENOENT plane/shard: no such attribute; the nearest is plane/shards`},
		{"shards", "1", `ENOENT shards: no such attribute; the nearest is plane/shards`},
		{"plane/mtu", "1", `ENOENT plane/mtu: no such attribute; the nearest is plane/mtu_bytes`},
		{"", "1", `EISDIR : is a directory`},
		{"../title", "1", `ENOENT ../title: no such attribute`},
		{"a\n\"b", "1", `ENOENT a\n\"b: no such attribute`},
		{strings.Repeat("x/", 999), "1", "ENOENT " + strings.Repeat("x/", 32) + "...: no such attribute"},
	} {
		tree := NewTree(&house)
		before, _ := tree.Get(c.path)
		err := tree.Set(c.path, c.text)
		after, _ := tree.Get(c.path)
		got := after
		if err != nil {
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("%s: %T", c.path, err)
			}
			got = string(e.Code) + " " + err.Error()
			if after != before {
				t.Errorf("%s: failed set changed %q to %q", c.path, before, after)
			}
		}
		if got != c.want {
			t.Errorf("set %s to %.40q:\n got %s\nwant %s", c.path, c.text, got, c.want)
		}
	}
}

func TestTypedValues(t *testing.T) {
	tree := NewTree(&house)
	other := NewTree(&house)
	if mtu.Get(tree) != 1200 || !relay.Get(tree) || title.Get(tree) != "Sluice" || level.Get(tree) != "info" || len(announce.Get(tree)) != 0 {
		t.Fatal("defaults are not what is declared")
	}
	for path, text := range map[string]string{"plane/mtu_bytes": "1400", "plane/relay": "0", "title": "x", "log/level": "debug", "ice/announce": "::1 ::2", "auth/token": "s3"} {
		if err := tree.Set(path, text); err != nil {
			t.Fatal(err)
		}
	}
	if mtu.Get(tree) != 1400 || relay.Get(tree) || title.Get(tree) != "x" || level.Get(tree) != "debug" ||
		!slices.Equal(announce.Get(tree), []string{"::1", "::2"}) || token.Get(tree) != "s3" {
		t.Error("values are not what was set")
	}
	if mtu.Get(other) != 1200 || title.Get(other) != "Sluice" {
		t.Error("a set reached another tree")
	}
}

func TestPut(t *testing.T) {
	tree := NewTree(&house)
	tree.Freeze()
	if err := version.Put(tree, "0.1"); err != nil || version.Get(tree) != "0.1" {
		t.Errorf("read-only: %v, %q", err, version.Get(tree))
	}
	if err := shards.Put(tree, 4); err != nil || shards.Get(tree) != 4 {
		t.Errorf("frozen: %v, %d", err, shards.Get(tree))
	}
	if err := shards.Put(tree, 65); err == nil || shards.Get(tree) != 4 {
		t.Errorf("out of range: %v, %d", err, shards.Get(tree))
	}
	if err := announce.Put(tree, []string{"::1", "::2"}); err != nil || len(announce.Get(tree)) != 2 {
		t.Errorf("list: %v, %v", err, announce.Get(tree))
	}
}

func TestFreeze(t *testing.T) {
	tree := NewTree(&house)
	if err := tree.Set("plane/shards", "2"); err != nil {
		t.Fatal(err)
	}
	tree.Freeze()
	err := tree.Set("plane/shards", "3")
	var e *Error
	if !errors.As(err, &e) || e.Code != EACCES || !strings.Contains(e.Reason, "takes effect at the next start") {
		t.Errorf("got %v", err)
	}
	if shards.Get(tree) != 2 {
		t.Errorf("shards %d", shards.Get(tree))
	}
	if err := tree.Set("plane/mtu_bytes", "1300"); err != nil {
		t.Errorf("a live attribute froze: %v", err)
	}
}

func TestWriteOnlyIsNeverShown(t *testing.T) {
	tree := NewTree(&house)
	var seen []string
	tree.Watch("", func(path, text string) { seen = append(seen, path+"="+text) })
	if err := tree.Set("auth/token", "secret"); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.Get("auth/token"); err == nil || err.(*Error).Code != EACCES {
		t.Errorf("Get: %v", err)
	}
	tree.Walk("", func(d *Decl, text string) { seen = append(seen, text) })
	if all := strings.Join(seen, " "); strings.Contains(all, "secret") || !strings.HasPrefix(all, "auth/token= ") {
		t.Errorf("shown: %s", all)
	}
}

func TestWatch(t *testing.T) {
	tree := NewTree(&house)
	var got []string
	stopMTU := mtu.Watch(tree, func(v int64) { got = append(got, fmt.Sprint("mtu ", v)) })
	stopAll := tree.Watch("plane", func(path, text string) { got = append(got, path+" "+text) })
	set := func(path, text string) {
		t.Helper()
		if err := tree.Set(path, text); err != nil {
			t.Fatal(err)
		}
	}
	set("plane/mtu_bytes", "1300")
	set("title", "x")
	tree.Set("plane/mtu_bytes", "1")
	set("plane/mtu_bytes", "1300") // the same again is a set too: triggers need it
	stopMTU()
	set("plane/mtu_bytes", "1400")
	stopAll()
	set("plane/mtu_bytes", "1500")
	want := []string{"mtu 1300", "plane/mtu_bytes 1300", "mtu 1300", "plane/mtu_bytes 1300", "plane/mtu_bytes 1400"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Sixteen writers at once: watchers see each set once, one at a time, and the
// last of them saw what stayed.
func TestConcurrentWriters(t *testing.T) {
	tree := NewTree(&house)
	const writers, sets = 16, 100
	var calls int
	var last int64
	mtu.Watch(tree, func(v int64) { calls, last = calls+1, v })
	done := make(chan error)
	for w := range writers {
		go func() {
			var err error
			for i := range sets {
				err = errors.Join(err, tree.Set("plane/mtu_bytes", fmt.Sprint(1000+w*sets+i)))
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if calls != writers*sets || last != mtu.Get(tree) {
		t.Errorf("%d calls, last %d, value %d", calls, last, mtu.Get(tree))
	}
}

func TestCompareAndSet(t *testing.T) {
	tree := NewTree(&house)
	if ok, err := tree.CompareAndSet("title", "other", "x"); ok || err != nil || title.Get(tree) != "Sluice" {
		t.Errorf("other value: %v %v %q", ok, err, title.Get(tree))
	}
	if ok, err := tree.CompareAndSet("title", "Sluice", "x"); !ok || err != nil || title.Get(tree) != "x" {
		t.Errorf("same value: %v %v %q", ok, err, title.Get(tree))
	}
	if _, err := tree.CompareAndSet("title", "x", "far too long"); err == nil || title.Get(tree) != "x" {
		t.Errorf("bad value: %v %q", err, title.Get(tree))
	}
}

func TestList(t *testing.T) {
	tree := NewTree(&house)
	all, err := tree.List("")
	if err != nil || len(all) != len(house.Decls()) || !slices.IsSorted(all) {
		t.Errorf("%v, %v", all, err)
	}
	if got, err := tree.List("log"); err != nil || !slices.Equal(got, []string{"log/level"}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := tree.List("log/level"); err != nil || !slices.Equal(got, []string{"log/level"}) {
		t.Errorf("%v, %v", got, err)
	}
	for _, absent := range []string{"plan", "plane/", "log/level/x"} {
		if got, err := tree.List(absent); err == nil {
			t.Errorf("%s: %v", absent, got)
		}
	}
}

func TestMetrics(t *testing.T) {
	tree := NewTree(&house)
	samples := 0
	tree.Collect(func(s *Sample) {
		samples++
		packets.Add(s, 1<<40)
		dropped.Add(s, 1, 7)
	})
	tree.Collect(func(s *Sample) {
		packets.Add(s, 5)
		turn.Set(s, 0.25)
		turn.Add(s, 0.25)
	})
	for path, want := range map[string]string{
		"plane/rx_packets":      "1099511627781",
		"plane/dropped_packets": "malformed 0\nreplayed 7",
		"plane/turn_seconds":    "0.5",
	} {
		if got, err := tree.Get(path); err != nil || got != want {
			t.Errorf("%s: %q, %v", path, got, err)
		}
	}
	samples = 0
	shown := map[string]string{}
	tree.Walk("", func(d *Decl, text string) { shown[d.Path] = text })
	if samples != 1 {
		t.Errorf("a walk took %d samples", samples)
	}
	if len(shown) != len(house.Decls()) || shown["plane/dropped_packets"] != "malformed 0\nreplayed 7" || shown["plane/mtu_bytes"] != "1200" {
		t.Errorf("%v", shown)
	}
}

func TestForeignHandlePanics(t *testing.T) {
	var table Table
	alien := table.Int(Decl{Path: "alien", Max: 1, Since: "0.1", Doc: "Alien."})
	counter := table.Counter(Decl{Path: "aliens", Since: "0.1", Doc: "Aliens."})
	tree := NewTree(&house)
	if got := panicOf(func() { alien.Get(tree) }); !strings.Contains(got, "alien is not in this tree") {
		t.Error(got)
	}
	if got := panicOf(func() { counter.Add(tree.Sample(), 1) }); !strings.Contains(got, "aliens is not in this tree") {
		t.Error(got)
	}
}

func panicOf(f func()) (message string) {
	defer func() { message = fmt.Sprint(recover()) }()
	f()
	return ""
}

func TestMalformedDeclarationsPanic(t *testing.T) {
	good := Decl{Path: "a/b", Max: 9, Since: "0.1", Doc: "A sentence."}
	for _, c := range []struct {
		name string
		want string
		edit func(t *Table, d Decl)
	}{
		{"good", "<nil>", func(t *Table, d Decl) { t.Int(d) }},
		{"empty path", "segment", func(t *Table, d Decl) { d.Path = ""; t.Int(d) }},
		{"leading slash", "segment", func(t *Table, d Decl) { d.Path = "/a"; t.Int(d) }},
		{"upper case", "segment", func(t *Table, d Decl) { d.Path = "a/B"; t.Int(d) }},
		{"dots", "segment", func(t *Table, d Decl) { d.Path = "a/.."; t.Int(d) }},
		{"digit first", "segment", func(t *Table, d Decl) { d.Path = "a/1b"; t.Int(d) }},
		{"_total", "_total", func(t *Table, d Decl) { d.Path = "a_total"; d.Max = 0; t.Counter(d) }},
		{"twice", "have one name", func(t *Table, d Decl) { t.Int(d); t.Int(d) }},
		{"one metric name", "have one name", func(t *Table, d Decl) { t.Int(d); d.Path = "a_b"; t.Int(d) }},
		{"file and directory", "directory of a/b/c", func(t *Table, d Decl) { t.Int(d); d.Path = "a/b/c"; t.Int(d); d.Path = "a/b0"; t.Int(d) }},
		{"unit not in name", "unit", func(t *Table, d Decl) { d.Unit = "ms"; t.Int(d) }},
		{"unit as a mere suffix", "unit", func(t *Table, d Decl) { d.Path, d.Unit = "a/items", "ms"; t.Int(d) }},
		{"unit of a text", "no unit", func(t *Table, d Decl) { d.Unit = "b"; t.Text(d) }},
		{"no range", "range", func(t *Table, d Decl) { d.Max = 0; t.Int(d) }},
		{"default out of range", "out of range", func(t *Table, d Decl) { d.Default = "10"; t.Int(d) }},
		{"zero out of range", "out of range", func(t *Table, d Decl) { d.Min = 1; t.Int(d) }},
		{"range of a boolean", "range", func(t *Table, d Decl) { t.Bool(d) }},
		{"impossible length", "impossible", func(t *Table, d Decl) { d.Min = 10; t.Text(d) }},
		{"too long", "impossible", func(t *Table, d Decl) { d.Max = 4097; t.Text(d) }},
		{"enum without words", "Values", func(t *Table, d Decl) { d.Max = 0; t.Enum(d) }},
		{"words without enum", "Values", func(t *Table, d Decl) { d.Values = []string{"x"}; t.Int(d) }},
		{"word twice", "twice", func(t *Table, d Decl) { d.Max, d.Values = 0, []string{"x", "x"}; t.Enum(d) }},
		{"word with a space", "not a word", func(t *Table, d Decl) { d.Max, d.Values = 0, []string{"x y"}; t.Enum(d) }},
		{"label without values", "Values", func(t *Table, d Decl) { d.Max, d.Label = 0, "reason"; t.CounterVec(d) }},
		{"label of an enum", "label", func(t *Table, d Decl) { d.Max, d.Label, d.Values = 0, "x", []string{"x"}; t.Enum(d) }},
		{"default of a counter", "no default", func(t *Table, d Decl) { d.Max, d.Default = 0, "1"; t.Counter(d) }},
		{"check of an integer", "no check", func(t *Table, d Decl) { d.Check = func(string) error { return nil }; t.Int(d) }},
		{"no since", "Since", func(t *Table, d Decl) { d.Since = ""; t.Int(d) }},
		{"no sentence", "sentence", func(t *Table, d Decl) { d.Doc = "x"; t.Int(d) }},
	} {
		var table Table
		c.edit(&table, good)
		if got := panicOf(func() { NewTree(&table) }); !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// Whatever is written, a set that succeeds can be read back and written again
// with the same result, and one that fails changes nothing.
func FuzzSet(f *testing.F) {
	for _, p := range []string{"plane/shards", "plane/offset", "plane/relay", "title", "log/level", "ice/announce", "auth/token", "nope", ""} {
		for _, v := range []string{"", "0", "1\n", "-9223372036854775809", "::1\n::2", "debug", "\x00", "é", "1\n\n", strings.Repeat("9", 5000)} {
			f.Add(p, v)
		}
	}
	f.Fuzz(func(t *testing.T, path, text string) {
		tree := NewTree(&house)
		before, _ := tree.Get(path)
		err := tree.Set(path, text)
		after, readErr := tree.Get(path)
		if err != nil {
			if after != before {
				t.Fatalf("failed set changed %q to %q", before, after)
			}
			if m := err.Error(); strings.ContainsFunc(m, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Fatalf("error is not a line of ASCII: %q", m)
			}
			return
		}
		if readErr != nil {
			return // write-only
		}
		if err := tree.Set(path, after+"\n"); err != nil {
			t.Fatalf("%q came out and does not go in: %v", after, err)
		}
		if again, _ := tree.Get(path); again != after {
			t.Fatalf("%q became %q", after, again)
		}
	})
}

func TestGetAllocatesNothing(t *testing.T) {
	tree := NewTree(&house)
	if n := testing.AllocsPerRun(100, func() { mtu.Get(tree); announce.Get(tree); relay.Get(tree) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is wrong with a secret is said without it: errors go to logs.
func TestErrorsKeepSecrets(t *testing.T) {
	var table Table
	short := func(s string) error {
		if s != "" {
			return errors.New("is too short")
		}
		return nil
	}
	table.Text(Decl{Path: "secret", Mode: WO, Check: short, Since: "0.1", Doc: "Secret."})
	table.List(Decl{Path: "secrets", Mode: WO, Check: short, Since: "0.1", Doc: "Secrets."})
	tree := NewTree(&table)
	for _, path := range []string{"secret", "secrets"} {
		if err := tree.Set(path, "hunter2"); err == nil || err.Error() != path+": what was written is too short" {
			t.Errorf("%s: %v", path, err)
		}
	}
}
