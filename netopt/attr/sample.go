package attr

import "strings"

// Sample is every metric of a tree at one moment. It is filled by the tree's
// collectors and belongs to one goroutine.
type Sample struct{ values map[*Decl][]float64 }

// Collect adds a collector: a function that fills the metrics of one owner from
// one snapshot of its state. It runs in the goroutine of whoever takes a sample,
// and two samples may be taken at once.
func (t *Tree) Collect(f func(*Sample)) {
	for {
		old := t.collectors.Load()
		grown := append((*old)[:len(*old):len(*old)], f)
		if t.collectors.CompareAndSwap(old, &grown) {
			return
		}
	}
}

// Sample runs all collectors. What none of them fills is 0.
func (t *Tree) Sample() *Sample {
	s := &Sample{map[*Decl][]float64{}}
	for _, d := range t.decls {
		if d.Kind.Metric() {
			s.values[d] = make([]float64, d.width())
		}
	}
	for _, c := range t.classes {
		Counter{c.decl.refused}.Add(s, c.refused.Load())
	}
	for _, f := range *t.collectors.Load() {
		f(s)
	}
	return s
}

// Values returns the numbers of a counter or gauge: one, or for a vector one for
// each of its Values.
func (s *Sample) Values(d *Decl) []float64 { return s.of(d) }

func (s *Sample) of(d *Decl) []float64 {
	v := s.values[d]
	if v == nil {
		panic("attr: " + d.Path + " is not in this tree: its table was not given to NewTree")
	}
	return v
}

func (s *Sample) text(d *Decl) string {
	if d.Kind == KindHistogram {
		return s.histogramText(d)
	}
	var b strings.Builder
	for i, v := range s.of(d) {
		if d.Label != "" {
			b.WriteString(d.Values[i] + " ")
		}
		b.WriteString(decimal(v) + "\n")
	}
	return strings.TrimSuffix(b.String(), "\n")
}
