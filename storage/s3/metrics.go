package s3

import (
	"context"
	"io"
	"net/http"

	"github.com/gofiber/fiber/v3"
	"github.com/prometheus/client_golang/prometheus"
	vgw "github.com/versity/versitygw/metrics"

	"hearth/internal/tally"
)

// Metrics are the figures of doors; it is a prometheus.Collector. They outlive a
// door, so that closing and opening one again loses nothing.
type Metrics struct{ *tally.Tally }

// NewMetrics returns figures that nothing has happened to.
func NewMetrics() *Metrics {
	return &Metrics{tally.New(tally.Config{
		Requests: tally.Figure{Name: "hearth_s3_requests_total", Help: "Requests answered by the S3 door, by operation and class of status."},
		Seconds:  tally.Figure{Name: "hearth_s3_request_duration_seconds", Help: "Time to answer a request at the S3 door, bodies included."},
		InFlight: tally.Figure{Name: "hearth_s3_in_flight", Help: "Requests that the S3 door is answering."},
		In:       tally.Figure{Name: "hearth_s3_in_bytes_total", Help: "Bytes of objects received at the S3 door."},
		Out:      tally.Figure{Name: "hearth_s3_out_bytes_total", Help: "Bytes of objects sent by the S3 door."},
		Buckets:  []float64{.001, .005, .02, .05, .1, .25, .5, 1, 2.5, 10, 60, 600},
		Ops:      true,
	})}
}

// Operations that the gateway has no name for.
const (
	opUnknown = "Unknown" // refused before it was known what it is
	opWebsite = "Website"
)

type visitKey struct{}

// visitOf is the request that a backend's call belongs to; nil where there is none.
func visitOf(ctx context.Context) *tally.Visit {
	v, _ := ctx.Value(visitKey{}).(*tally.Visit)
	return v
}

// enter begins a visit: the handler ends first, and what it streams after it.
func (m *Metrics) enter(ctx fiber.Ctx) *tally.Visit {
	v := m.Enter(opUnknown)
	v.Answered(http.StatusInternalServerError) // where nothing else is said
	ctx.RequestCtx().SetUserValue(visitKey{}, v)
	return v
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
		v.Is(op)
		return
	}
	g.m.Turned(opUnknown, http.StatusServiceUnavailable) // turned away at the limit of requests, before the front
}

// Close ends nothing: the figures are the node's.
func (gatewayFigures) Close() {}
