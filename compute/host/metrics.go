package host

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/compute/wasm"
	"hearth/core/fault"
)

// figures are what /metrics shows of functions.
type figures struct {
	ran, used *atomic.Uint64 // calls, and their gas
	calls     *prometheus.CounterVec
	seconds   prometheus.Counter
}

func newFigures() figures {
	return figures{
		ran: new(atomic.Uint64), used: new(atomic.Uint64),
		calls:   prometheus.NewCounterVec(prometheus.CounterOpts{Name: "hearth_function_calls_total", Help: "Calls of functions by how they ended: ok, exit, or a code."}, []string{"end"}),
		seconds: prometheus.NewCounter(prometheus.CounterOpts{Name: "hearth_function_seconds_total", Help: "Seconds that calls of functions have taken, waiting included."}),
	}
}

// Sold is how many calls were run since the start, and the gas that they used.
func (srv *Server) Sold() (calls, gas uint64) { return srv.figures.ran.Load(), srv.figures.used.Load() }

func (f figures) register(r prometheus.Registerer) error {
	gas := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "hearth_function_gas_total", Help: "Gas that functions have used."},
		func() float64 { return float64(f.used.Load()) })
	return errors.Join(r.Register(f.calls), r.Register(gas), r.Register(f.seconds))
}

func (f figures) count(took time.Duration, out wasm.Result, err error) {
	end := "ok"
	switch {
	case err != nil:
		end = string(fault.CodeOf(err))
	case out.Fault != "":
		end = string(out.Fault)
	case out.Exit != 0:
		end = "exit"
	}
	f.ran.Add(1)
	f.used.Add(out.Gas)
	f.calls.WithLabelValues(end).Inc()
	f.seconds.Add(took.Seconds())
}
