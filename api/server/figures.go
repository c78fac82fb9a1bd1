package server

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// figures are the API's own metrics.
type figures struct {
	requests *prometheus.CounterVec
	seconds  prometheus.Histogram
	build    *prometheus.GaugeVec
}

func newFigures() figures {
	return figures{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_api_requests_total", Help: "Requests answered, by method and status.",
		}, []string{"method", "code"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "hearth_api_request_duration_seconds", Help: "Time to answer a request, bodies included.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2, 10, 60, 600},
		}),
		build: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hearth_build_info", Help: "1, with the build in its labels.",
		}, []string{"version", "commit", "go"}),
	}
}

func (f figures) register(r *prometheus.Registry) error {
	f.build.With(buildInfo()).Set(1)
	for _, c := range []prometheus.Collector{f.requests, f.seconds, f.build} {
		if err := r.Register(c); err != nil {
			return err
		}
	}
	return nil
}

// watch counts requests. Methods are a closed set: a client can't make labels.
func (f figures) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		seen := &seen{ResponseWriter: w, status: http.StatusOK}
		defer func() {
			method := "other"
			switch r.Method {
			case http.MethodGet, http.MethodHead, http.MethodPut, http.MethodPost, http.MethodDelete:
				method = r.Method
			}
			f.requests.WithLabelValues(method, strconv.Itoa(seen.status)).Inc()
			f.seconds.Observe(time.Since(start).Seconds())
		}()
		next.ServeHTTP(seen, r)
	})
}

// seen remembers the status that was answered.
type seen struct {
	http.ResponseWriter
	status int
}

func (s *seen) WriteHeader(status int) {
	s.status = status
	s.ResponseWriter.WriteHeader(status)
}

// Unwrap lets http.ResponseController reach the connection.
func (s *seen) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// Flush sends what was written; events need it.
func (s *seen) Flush() {
	_ = http.NewResponseController(s.ResponseWriter).Flush() // a writer that can't has nothing waiting
}
