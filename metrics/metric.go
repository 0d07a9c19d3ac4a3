package metrics

import (
	"fmt"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
)

// metric is one metric, under one name.
type metric struct {
	name, help string
	kind       kind
	labels     []string
	desc       *prometheus.Desc
}

type kind string

const (
	counter   kind = "counter"
	gauge     kind = "gauge"
	histogram kind = "histogram"
)

func newMetric(k kind, name, help string, labels ...string) metric {
	name = prometheus.BuildFQName("vault", "auth", name)
	return metric{name, help, k, labels, prometheus.NewDesc(name, help, labels, nil)}
}

// at returns the series with these label values.
func (m *metric) at(value float64, labels ...string) prometheus.Metric {
	t := prometheus.GaugeValue
	if m.kind == counter {
		t = prometheus.CounterValue
	}
	return m.valid(prometheus.NewConstMetric(m.desc, t, value, clean(labels)...))
}

// valid turns an error into a failure of the scrape. A panic, as Prometheus' library
// offers, would end the plugin server.
func (m *metric) valid(series prometheus.Metric, err error) prometheus.Metric {
	if err != nil {
		return prometheus.NewInvalidMetric(m.desc, err)
	}
	return series
}

// clean makes label values valid UTF-8, which Prometheus requires.
func clean(labels []string) []string {
	for i, l := range labels {
		labels[i] = strings.ToValidUTF8(l, "\ufffd")
	}
	return labels
}

// Table is the reference of all metrics, as a table in Markdown.
func Table() string {
	var b strings.Builder
	b.WriteString("| metric | type | labels | |\n|---|---|---|---|\n")
	for _, m := range all() {
		labels := ""
		if len(m.labels) > 0 {
			labels = "`" + strings.Join(m.labels, "`, `") + "`"
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", m.name, m.kind, labels, m.help)
	}
	return b.String()
}
