package steward

import "github.com/prometheus/client_golang/prometheus"

// metrics are a steward's figures; it is a prometheus.Collector.
type metrics struct {
	clients               prometheus.Gauge
	shards, bytes, failed prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		clients: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hearth_steward_clients", Help: "Accounts that are looked after."}),
		shards:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_steward_shards_total", Help: "Shards put at new hosts."}),
		bytes:   prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_steward_bytes_total", Help: "Bytes of shards put at new hosts."}),
		failed:  prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_steward_failures_total", Help: "Shards that a host didn't take."}),
	}
}

func (m *metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.clients, m.shards, m.bytes, m.failed}
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
