package repair

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the watcher's figures; it is a prometheus.Collector.
type metrics struct {
	slabs, shards         *prometheus.GaugeVec
	audits                [Nothing + 1]prometheus.Counter
	auditVec              *prometheus.CounterVec
	remade, bytes, failed prometheus.Counter
	audited               prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		slabs:    prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hearth_repair_slabs", Help: "Slabs by how urgently they need repair."}, []string{"urgency"}),
		shards:   prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "hearth_repair_shards", Help: "Shards by what is known of their place."}, []string{"standing"}),
		auditVec: prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hearth_repair_audits_total", Help: "Reads that checked on a shard, by how the host took them."}, []string{"answer"}),
		remade:   prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_repair_remade_shards_total", Help: "Shards that were made anew or moved."}),
		bytes:    prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_repair_remade_bytes_total", Help: "Bytes of shards that were made anew or moved."}),
		failed:   prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_repair_failures_total", Help: "Repairs of slabs that didn't work."}),
		audited:  prometheus.NewGauge(prometheus.GaugeOpts{Name: "hearth_repair_audit_age_seconds", Help: "Since when every shard was audited once more; 0 while that isn't known."}),
	}
	for a := range m.audits {
		m.audits[a] = m.auditVec.WithLabelValues(Answer(a).String())
	}
	return m
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.slabs, m.shards, m.auditVec, m.remade, m.bytes, m.failed, m.audited}
}

// Describe and Collect make the metrics a prometheus.Collector.
func (m *metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(to)
	}
}

// Collect gives the present figures.
func (m *metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(to)
	}
}

func (m *metrics) set(s Count, age time.Duration) {
	for u, n := range s.Urgency {
		m.slabs.WithLabelValues(Urgency(u).String()).Set(float64(n))
	}
	for st, n := range s.Standing {
		m.shards.WithLabelValues(Standing(st).String()).Set(float64(n))
	}
	m.audited.Set(age.Seconds())
}
