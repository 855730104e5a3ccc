package attr

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Histogram is a declared metric that counts observations by size. What is
// exported is few buckets, the same whatever is observed; the declaration's
// Bounds are their upper ends.
type Histogram struct{ decl *Decl }

// Histogram declares a Histogram over Bounds.
func (t *Table) Histogram(d Decl) Histogram { return Histogram{t.add(d, KindHistogram)} }

// Observe adds n observations of v to the histogram in this sample. Collectors
// of several shards may each add their part.
func (h Histogram) Observe(s *Sample, v float64, n uint64) {
	values := s.of(h.decl)
	i, _ := slices.BinarySearch(h.decl.Bounds, v)
	values[i] += float64(n)
	values[len(values)-1] += v * float64(n)
}

// GaugeVec is a Gauge for each of its declaration's Values.
type GaugeVec struct{ decl *Decl }

// GaugeVec declares a Gauge for each of Values, told apart by Label.
func (t *Table) GaugeVec(d Decl) GaugeVec { return GaugeVec{t.add(d, KindGauge)} }

// Set sets the gauge of Values[i] in this sample.
func (g GaugeVec) Set(s *Sample, i int, v float64) { s.of(g.decl)[i] = v }

// Add adds v to the gauge of Values[i] in this sample.
func (g GaugeVec) Add(s *Sample, i int, v float64) { s.of(g.decl)[i] += v }

// AddFloat adds v, which is not below 0, to the counter of Values[i] in this
// sample: for seconds, which are no whole numbers.
func (c CounterVec) AddFloat(s *Sample, i int, v float64) { s.of(c.decl)[i] += v }

// Buckets returns a histogram in OpenMetrics' terms: for each of the
// declaration's Bounds how many observations were at most that, then how many
// there were at all, and their sum.
func (s *Sample) Buckets(d *Decl) (below []uint64, count uint64, sum float64) {
	values := s.of(d)
	last := len(values) - 1
	for _, n := range values[:last] {
		count += uint64(n)
		below = append(below, count)
	}
	return below[:len(d.Bounds)], count, values[last]
}

// histogramText is a histogram as the tree shows it: a bound and how many were at
// most that a line, then count and sum.
func (s *Sample) histogramText(d *Decl) string {
	below, count, sum := s.Buckets(d)
	var b strings.Builder
	for i, n := range below {
		fmt.Fprintf(&b, "%s %d\n", decimal(d.Bounds[i]), n)
	}
	fmt.Fprintf(&b, "count %d\nsum %s", count, decimal(sum))
	return b.String()
}

// width is how many numbers a metric is in a sample: one, one for each of its
// Values, or each bucket's own count and the sum.
func (d *Decl) width() int {
	if d.Kind == KindHistogram {
		return len(d.Bounds) + 2
	}
	return max(1, len(d.Values))
}

func (d *Decl) validBounds() error {
	switch {
	case (d.Kind == KindHistogram) != (len(d.Bounds) > 0):
		return errors.New("Bounds go with a Histogram")
	case d.Kind == KindHistogram && d.Label != "":
		return errors.New("a histogram has no label")
	}
	for i, bound := range d.Bounds {
		if i > 0 && !(bound > d.Bounds[i-1]) {
			return fmt.Errorf("Bounds[%d] = %v is not above the one before", i, bound)
		}
	}
	return nil
}

// boundsText says what the buckets are.
func (d *Decl) boundsText() string {
	var words []string
	for _, bound := range d.Bounds {
		words = append(words, decimal(bound))
	}
	return "buckets up to " + strings.Join(words, ", ")
}

// decimal writes a number without an exponent.
func decimal(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }
