package attr

import (
	"fmt"
	"strings"
)

// MetricName returns the OpenMetrics name of a metric. It is unique among all
// declarations of a tree.
func (d *Decl) MetricName() string {
	name := "sluice_" + strings.ReplaceAll(d.Path, "/", "_")
	if d.Kind == KindCounter {
		name += "_total"
	}
	return name
}

// ABI describes the declarations of tables in the form of the kernel's
// Documentation/ABI: a file for each stability and first path segment, such as
// "testing/dataplane", with an entry for each declaration, sorted by path. It
// panics as NewTree does.
func ABI(tables ...*Table) map[string]string {
	files := map[string]string{}
	for _, d := range merge(tables) {
		top, _, _ := strings.Cut(d.Path, "/")
		name := d.Stability.String() + "/" + top
		if files[name] != "" {
			files[name] += "\n"
		}
		files[name] += d.abi()
	}
	return files
}

// abi is the declaration's entry.
func (d *Decl) abi() string {
	var b strings.Builder
	field := func(name, text string) {
		if text != "" {
			fmt.Fprintf(&b, "%-12s%s\n", name+":", wrap(text, 12))
		}
	}
	field("What", d.Path)
	field("Since", d.Since)
	field("Kind", d.Kind.String())
	field("Range", d.rangeText())
	field("Unit", d.Unit)
	switch {
	case d.Kind.Metric():
		field("Metric", d.MetricName())
	case d.Kind != KindObject:
		field("Default", strings.Join(strings.Fields(d.Initial()), " "))
	}
	if d.Kind == KindObject {
		field("Mode", "0755, made by mkdir, removed by rmdir")
	} else {
		field("Mode", fmt.Sprintf("%04o%s", d.Mode.Perm(), map[Mode]string{Boot: ", fixed at start"}[d.Mode]))
	}
	b.WriteString("Description:\n")
	for i, p := range d.Paragraphs() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%12s%s\n", "", wrap(p, 12))
	}
	return b.String()
}

func (d *Decl) rangeText() string {
	switch {
	case d.Kind == KindHistogram:
		return d.boundsText()
	case d.Kind == KindObject:
		return "at most " + d.limit.Path + ", one more is counted in " + d.refused.Path
	case d.Label != "":
		return d.Label + " is one of " + strings.Join(d.Values, ", ")
	case d.Kind == KindEnum:
		return strings.Join(d.Values, ", ")
	case d.Kind == KindInt:
		return fmt.Sprintf("%d..%d", d.Min, d.Max)
	case d.Kind == KindText && d.Max > 0:
		return fmt.Sprintf("%d..%d bytes", d.Min, d.Max)
	case d.Kind == KindList && d.Max > 0:
		return fmt.Sprintf("%d..%d entries", d.Min, d.Max)
	}
	return ""
}

// wrap breaks text so that lines after an indent of that many columns end
// before column 80.
func wrap(text string, indent int) string {
	var b strings.Builder
	column := 0
	for _, word := range strings.Fields(text) {
		switch {
		case column == 0:
		case indent+column+1+len(word) >= 80:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			column = 0
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	return b.String()
}
