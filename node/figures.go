package node

import (
	"context"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"hearth/api"
)

// lookAtFigures is how often a host's figures are worked out when nobody asks.
const lookAtFigures = time.Minute

// hostFigures are the newest figures that were shown, for whoever collects metrics:
// both are always the same, and collecting asks nobody.
type hostFigures struct {
	mu   sync.Mutex
	last *api.Host
}

func (f *hostFigures) take(h api.Host) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.last = &h
}

// watchFigures works them out now and again, and so notices payments that were made
// while this node was off.
func (s *selling) watchFigures(ctx context.Context) {
	t := time.NewTicker(lookAtFigures)
	defer t.Stop()
	for {
		if _, err := (hostRole{s}).Status(ctx); err != nil && ctx.Err() == nil {
			s.log.Debug("work out the host's figures", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

type hostFigure struct {
	desc  *prometheus.Desc
	value func(api.Host) float64
}

func listHostFigures() []hostFigure {
	f := func(name, help string, value func(api.Host) float64) hostFigure {
		return hostFigure{prometheus.NewDesc("hearth_host_"+name, help, nil, nil), value}
	}
	sum := func(m api.Money) float64 {
		v, err := m.Value()
		if err != nil {
			return 0 // never: it was made by MoneyOf
		}
		return float64(v)
	}
	return []hostFigure{
		f("used_bytes", "Bytes of shards under a statement.", func(h api.Host) float64 { return float64(h.Used) }),
		f("free_bytes", "Bytes that can still be taken.", func(h api.Host) float64 { return float64(h.Free) }),
		f("leases", "Leases that are open.", func(h api.Host) float64 { return float64(h.Leases) }),
		f("month_uember", "What the leases pay in 30 days at the present rate.", func(h api.Host) float64 { return sum(h.Month) }),
		f("projected_uember", "Of it, what comes to this host.", func(h api.Host) float64 { return sum(h.Projected) }),
		f("earned_uember", "Paid out so far, without the commission.", func(h api.Host) float64 { return sum(h.Earned) }),
		f("commission_uember", "What the commons got of the same payments.", func(h api.Host) float64 { return sum(h.Commission) }),
		f("proven_periods", "Periods proven in all.", func(h api.Host) float64 { return float64(h.Proofs) }),
		f("bond_uember", "Locked as collateral.", func(h api.Host) float64 { return sum(h.Bond) }),
		f("misses", "Proofs missed in the last 30 periods.", func(h api.Host) float64 { return float64(h.Misses) }),
		f("proven_timestamp_seconds", "Up to when storage is proven; 0: not yet.", func(h api.Host) float64 {
			if h.Proven.IsZero() {
				return 0
			}
			return float64(h.Proven.Unix())
		}),
	}
}

// Describe makes the figures a prometheus.Collector.
func (f *hostFigures) Describe(out chan<- *prometheus.Desc) {
	for _, figure := range listHostFigures() {
		out <- figure.desc
	}
}

// Collect makes the figures a prometheus.Collector.
func (f *hostFigures) Collect(out chan<- prometheus.Metric) {
	f.mu.Lock()
	h := f.last
	f.mu.Unlock()
	if h == nil {
		return
	}
	for _, figure := range listHostFigures() {
		out <- prometheus.MustNewConstMetric(figure.desc, prometheus.GaugeValue, figure.value(*h))
	}
}
