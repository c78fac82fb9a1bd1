package door

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the figures of doors; it is a prometheus.Collector. They outlive a
// door, so that closing and opening one again loses nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	inFlight prometheus.Gauge
	in, out  prometheus.Counter
}

// NewMetrics returns figures that nothing has happened to.
func NewMetrics() *Metrics {
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_function_http_requests_total", Help: "HTTP requests answered by functions or refused at their door, by class of status; gone: the client didn't wait.",
		}, []string{"class"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_function_http_duration_seconds", Help: "Time to answer an HTTP request with a function, bodies included.",
			Buckets: []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hearth_function_http_in_flight", Help: "HTTP requests to functions that are being answered."}),
		in:       prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_function_http_in_bytes_total", Help: "Bytes of bodies received for functions over HTTP."}),
		out:      prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_function_http_out_bytes_total", Help: "Bytes of bodies that functions answered over HTTP."}),
	}
}

func (m *Metrics) all() []prometheus.Collector {
	return []prometheus.Collector{m.requests, m.seconds, m.inFlight, m.in, m.out}
}

// Describe makes Metrics a prometheus.Collector.
func (m *Metrics) Describe(to chan<- *prometheus.Desc) {
	for _, c := range m.all() {
		c.Describe(to)
	}
}

// Collect makes Metrics a prometheus.Collector.
func (m *Metrics) Collect(to chan<- prometheus.Metric) {
	for _, c := range m.all() {
		c.Collect(to)
	}
}

// gone is the status of an answer that nobody waited for.
const gone = 499

func (m *Metrics) count(status int, took time.Duration) {
	class := fmt.Sprintf("%dxx", status/100)
	if status == gone {
		class = "gone"
	}
	m.requests.WithLabelValues(class).Inc()
	m.seconds.Observe(took.Seconds())
}
