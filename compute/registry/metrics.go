package registry

import (
	"net/http"
	"strings"

	"hearth/internal/tally"
)

// Metrics are a registry's figures.
type Metrics struct{ *tally.Tally }

// NewMetrics makes figures that count from zero.
func NewMetrics() *Metrics {
	return &Metrics{tally.New(tally.Config{
		Requests: tally.Figure{Name: "hearth_images_requests_total", Help: "Requests at the door for images, by what they are about and class of status."},
		Seconds:  tally.Figure{Name: "hearth_images_request_duration_seconds", Help: "Time to answer a request at the door for images, bodies included."},
		InFlight: tally.Figure{Name: "hearth_images_in_flight", Help: "Requests that the door for images is answering."},
		In:       tally.Figure{Name: "hearth_images_in_bytes_total", Help: "Bytes of blobs received at the door for images."},
		Out:      tally.Figure{Name: "hearth_images_out_bytes_total", Help: "Bytes sent by the door for images."},
		Buckets:  []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		Ops:      true,
	})}
}

// watch counts requests.
func (m *Metrics) watch(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := m.Enter(about(r))
		defer v.Leave()
		v.Answered(http.StatusOK) // where nothing else is said
		next.ServeHTTP(&sent{w, m, v}, r)
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
	m *Metrics
	v *tally.Visit
}

func (s *sent) WriteHeader(status int) {
	s.v.Answered(status)
	s.ResponseWriter.WriteHeader(status)
}

func (s *sent) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	s.m.Out.Add(float64(n))
	return n, err
}

// Unwrap lets deadlines through.
func (s *sent) Unwrap() http.ResponseWriter { return s.ResponseWriter }
