package registry

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are a registry's figures.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	in, out  prometheus.Counter
}

// NewMetrics makes figures that count from zero.
func NewMetrics() *Metrics {
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_images_requests_total", Help: "Requests at the door for images, by what they are about and class of status.",
		}, []string{"op", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hearth_images_request_duration_seconds", Help: "Time to answer a request at the door for images, bodies included.",
			Buckets: []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		}, []string{"op"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hearth_images_in_flight", Help: "Requests that the door for images is answering."}),
		in:       prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_images_in_bytes_total", Help: "Bytes of blobs received at the door for images."}),
		out:      prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_images_out_bytes_total", Help: "Bytes sent by the door for images."}),
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

// watch counts requests.
func (m *Metrics) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began, op, to := time.Now(), about(r), &sent{ResponseWriter: w, m: m, status: http.StatusOK}
		m.inFlight.Inc()
		defer func() {
			m.inFlight.Dec()
			m.requests.WithLabelValues(op, fmt.Sprintf("%dxx", to.status/100)).Inc()
			m.seconds.WithLabelValues(op).Observe(time.Since(began).Seconds())
		}()
		next.ServeHTTP(to, r)
	})
}

// about is what a request is about, out of few words.
func about(r *http.Request) string {
	for _, part := range []string{"uploads", "blobs", "manifests", "tags", "referrers", "_catalog"} {
		if strings.Contains(r.URL.Path, "/"+part) {
			return strings.TrimPrefix(part, "_")
		}
	}
	return "other"
}

// sent counts an answer.
type sent struct {
	http.ResponseWriter
	m      *Metrics
	status int
}

func (s *sent) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

func (s *sent) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	s.m.out.Add(float64(n))
	return n, err
}

// Unwrap lets deadlines through.
func (s *sent) Unwrap() http.ResponseWriter { return s.ResponseWriter }
