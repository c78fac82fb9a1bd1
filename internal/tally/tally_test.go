package tally

import (
	"maps"
	"net/http"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// stand makes a door's figures.
func stand(ops bool) *Tally {
	return New(Config{
		Requests: Figure{"requests", "Requests."}, Seconds: Figure{"seconds", "Seconds."}, InFlight: Figure{"in_flight", "In flight."},
		In: Figure{"in", "In."}, Out: Figure{"out", "Out."}, Buckets: []float64{1, 2}, Ops: ops,
	})
}

// shows compares the figures, by name and labels, with all that there should be; of
// a histogram the count.
func shows(t *testing.T, m *Tally, want map[string]float64) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(m)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, one := range f.Metric {
			name := f.GetName()
			for _, l := range one.Label {
				name += " " + l.GetName() + "=" + l.GetValue()
			}
			got[name] = one.GetCounter().GetValue() + one.GetGauge().GetValue() + float64(one.GetHistogram().GetSampleCount())
		}
	}
	if !maps.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
}

func TestAVisitIsCountedOnceAndWhenItsLastPartHasGone(t *testing.T) {
	m := stand(true)
	shows(t, m, map[string]float64{"in_flight": 0, "in": 0, "out": 0})
	v := m.Enter("unknown")
	v.Answered(http.StatusInternalServerError)
	v.Streams()
	v.Is("get")
	v.Answered(http.StatusPartialContent)
	v.Leave()
	shows(t, m, map[string]float64{"in_flight": 1, "in": 0, "out": 0})
	v.Leave()
	shows(t, m, map[string]float64{"in_flight": 0, "in": 0, "out": 0, "requests class=2xx op=get": 1, "seconds op=get": 1})
}

func TestADoorWithoutOpsHasItsTimesBeforeAnybodyCame(t *testing.T) {
	m := stand(false)
	shows(t, m, map[string]float64{"in_flight": 0, "in": 0, "out": 0, "seconds": 0})
	v := m.Enter("")
	v.Gone()
	v.Leave()
	shows(t, m, map[string]float64{"in_flight": 0, "in": 0, "out": 0, "seconds": 1, "requests class=gone": 1})
}

func TestAVisitWithoutAnAnswerIsOnlyOver(t *testing.T) {
	m := stand(true)
	m.Enter("get").Leave()
	shows(t, m, map[string]float64{"in_flight": 0, "in": 0, "out": 0})
}

func TestWhoIsTurnedAwayTakesNoTime(t *testing.T) {
	m := stand(true)
	m.Turned("unknown", http.StatusServiceUnavailable)
	shows(t, m, map[string]float64{"in_flight": 0, "in": 0, "out": 0, "requests class=5xx op=unknown": 1})
}

func TestManyVisitsAtOnceAreAllCounted(t *testing.T) {
	m := stand(true)
	var all sync.WaitGroup
	for range 50 {
		v := m.Enter("get")
		v.Answered(http.StatusOK)
		v.Streams()
		all.Go(v.Leave)
		all.Go(func() {
			m.In.Add(2)
			m.Out.Add(3)
			v.Leave()
		})
	}
	all.Wait()
	shows(t, m, map[string]float64{"in_flight": 0, "in": 100, "out": 150, "requests class=2xx op=get": 50, "seconds op=get": 50})
}
