package p2p

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// Values of the label "path".
const (
	pathControl = "control"
	pathBulk    = "bulk"
)

// metrics counts what passes. The labels are a fixed, small set: nothing a peer
// sends becomes a label.
type metrics struct {
	streams  *prometheus.GaugeVec   // path, side
	bytes    *prometheus.CounterVec // path, direction
	dials    *prometheus.CounterVec // path, result
	refusals *prometheus.CounterVec // what

	paths map[string]pathMetrics
}

// pathMetrics are a path's series, looked up once.
type pathMetrics struct{ in, out, sent, received, dialed, deaf metric }

type metric interface{ Add(float64) }

func newMetrics(reg *prometheus.Registry) (*metrics, error) {
	m := &metrics{
		streams: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "hearth_p2p_streams", Help: "Open streams, by path (control, bulk) and the side that opened them (in, out).",
		}, []string{"path", "side"}),
		bytes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_p2p_stream_bytes_total", Help: "Bytes of streams, by path and direction (sent, received).",
		}, []string{"path", "direction"}),
		dials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_p2p_dials_total", Help: "Attempts to open a stream, by path and result (ok, failed).",
		}, []string{"path", "result"}),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "hearth_p2p_refusals_total", Help: "What peers were refused for passing a limit or for a bad handshake.",
		}, []string{"what"}),
		paths: make(map[string]pathMetrics),
	}
	for _, p := range []string{pathControl, pathBulk} {
		m.paths[p] = pathMetrics{
			in: m.streams.WithLabelValues(p, "in"), out: m.streams.WithLabelValues(p, "out"),
			sent: m.bytes.WithLabelValues(p, "sent"), received: m.bytes.WithLabelValues(p, "received"),
			dialed: m.dials.WithLabelValues(p, "ok"), deaf: m.dials.WithLabelValues(p, "failed"),
		}
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.streams, m.bytes, m.dials, m.refusals} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("register metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) refuse(what string) { m.refusals.WithLabelValues(what).Inc() }

// dial counts an attempt to open a stream.
func (m *metrics) dial(path string, err error) {
	if err != nil {
		m.paths[path].deaf.Add(1)
		return
	}
	m.paths[path].dialed.Add(1)
}
