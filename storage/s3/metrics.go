package s3

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/gofiber/fiber/v3"
	"github.com/prometheus/client_golang/prometheus"
	vgw "github.com/versity/versitygw/metrics"
)

// Metrics are the figures of doors; it is a prometheus.Collector. They outlive a
// door, so that closing and opening one again loses nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
	in, out  prometheus.Counter
}

// NewMetrics returns figures that nothing has happened to.
func NewMetrics() *Metrics {
	return &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_s3_requests_total", Help: "Requests answered by the S3 door, by operation and class of status.",
		}, []string{"op", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "hearth_s3_request_duration_seconds", Help: "Time to answer a request at the S3 door, bodies included.",
			Buckets: []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		}, []string{"op"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: "hearth_s3_in_flight", Help: "Requests that the S3 door is answering."}),
		in:       prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_s3_in_bytes_total", Help: "Bytes of objects received at the S3 door."}),
		out:      prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_s3_out_bytes_total", Help: "Bytes of objects sent by the S3 door."}),
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

// Operations that the gateway has no name for.
const (
	opUnknown = "Unknown" // refused before it was known what it is
	opWebsite = "Website"
)

// A visit is one request until its last byte has gone: the handler ends first, and
// what it streams after it.
type visit struct {
	m     *Metrics
	began time.Time

	mu    sync.Mutex
	op    string
	class string
	parts int // the handler, and a body that is streamed
}

type visitKey struct{}

// visitOf is the request that a backend's call belongs to; nil where there is none.
func visitOf(ctx context.Context) *visit {
	v, _ := ctx.Value(visitKey{}).(*visit)
	return v
}

func (m *Metrics) enter(ctx fiber.Ctx) *visit {
	v := &visit{m: m, began: time.Now(), op: opUnknown, class: "5xx", parts: 1}
	ctx.RequestCtx().SetUserValue(visitKey{}, v)
	m.inFlight.Inc()
	return v
}

// streams says that a body goes on after the handler; leave ends either.
func (v *visit) streams() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.parts++
}

func (v *visit) leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.parts--; v.parts > 0 {
		return
	}
	v.m.inFlight.Dec()
	v.m.requests.WithLabelValues(v.op, v.class).Inc()
	v.m.seconds.WithLabelValues(v.op).Observe(time.Since(v.began).Seconds())
}

func (v *visit) is(op string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.op = op
}

// answered notes the status that a client is told.
func (v *visit) answered(status int) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.class = fmt.Sprintf("%dxx", status/100)
}

// counted is a small body on its way to a client.
type counted struct {
	io.ReadCloser
	sent prometheus.Counter
}

// Read counts what it gives.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.sent.Add(float64(n))
	return n, err
}

// gatewayFigures is what the gateway tells of each request: its operation, a name
// of the gateway's closed list. It is a manager of the gateway's metrics.
type gatewayFigures struct{ m *Metrics }

// Send takes a request's operation.
func (g gatewayFigures) Send(ctx fiber.Ctx, _ error, action string, _ int64, _ int) {
	op := opUnknown
	if a, ok := vgw.ActionMap[action]; ok && action != vgw.ActionUndetected {
		op = a.Name
	}
	if v := visitOf(ctx.RequestCtx()); v != nil {
		v.is(op)
		return
	}
	g.m.requests.WithLabelValues(opUnknown, "5xx").Inc() // turned away at the limit of requests, before the front
}

// Close ends nothing: the figures are the node's.
func (gatewayFigures) Close() {}
