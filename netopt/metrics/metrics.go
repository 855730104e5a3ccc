// Package metrics shows the metrics of an attribute tree to Prometheus: one
// collector over the table, so that a scrape is one sample, and the number of
// series is fixed by the declarations.
package metrics

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"sluice/netopt/attr"
)

// Scrapes cost the CPU that forwards media: a second scraper is welcome, a third
// is told to come back, and none lasts longer than Prometheus would wait.
const (
	maxScrapes    = 2
	scrapeTimeout = 10 * time.Second
)

// Handler serves the metrics of tree together with those of the Go runtime and
// the process, as Prometheus text or OpenMetrics, whichever is asked for.
func Handler(tree *attr.Tree) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		NewCollector(tree),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		EnableOpenMetrics:   true,
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
		DisableCompression:  true, // takes more CPU than all the rest
	})
}

// NewCollector returns the collector of every metric that tree declares. Their names are those of attr's MetricName.
func NewCollector(tree *attr.Tree) prometheus.Collector {
	c := &collector{tree: tree}
	tree.Walk("", func(d *attr.Decl, _ string) {
		if d.Kind.Metric() {
			c.metrics = append(c.metrics, newMetric(d))
		}
	})
	return c
}

type collector struct {
	tree    *attr.Tree
	metrics []metric
}

type metric struct {
	decl *attr.Decl
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func newMetric(d *attr.Decl) metric {
	var labels []string
	if d.Label != "" {
		labels = []string{d.Label}
	}
	kind := prometheus.GaugeValue
	if d.Kind == attr.KindCounter {
		kind = prometheus.CounterValue
	}
	return metric{d, prometheus.NewDesc(d.MetricName(), d.Paragraphs()[0], labels, nil), kind}
}

func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, m := range c.metrics {
		ch <- m.desc
	}
}

func (c *collector) Collect(ch chan<- prometheus.Metric) {
	sample := c.tree.Sample()
	for _, m := range c.metrics {
		if m.decl.Kind == attr.KindHistogram {
			ch <- m.histogram(sample)
			continue
		}
		for i, v := range sample.Values(m.decl) {
			var label []string
			if m.decl.Label != "" {
				label = m.decl.Values[i : i+1]
			}
			ch <- prometheus.MustNewConstMetric(m.desc, m.kind, v, label...)
		}
	}
}

func (m *metric) histogram(sample *attr.Sample) prometheus.Metric {
	below, count, sum := sample.Buckets(m.decl)
	buckets := map[float64]uint64{}
	for i, n := range below {
		buckets[m.decl.Bounds[i]] = n
	}
	return prometheus.MustNewConstHistogram(m.desc, count, sum, buckets)
}
