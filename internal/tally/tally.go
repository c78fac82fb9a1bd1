// Package tally keeps the figures of a door that speaks HTTP: requests by class of
// status, how long each took, how many are under way, and bytes in and out. It refuses
// to read a request: what a client wrote never becomes a label, unless the door
// chooses one out of few words.
package tally

import (
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Figure is what a metric is called, and what it tells.
type Figure struct{ Name, Help string }

// A Config names a door's figures. All are required; a name that can't be one is told
// by the registry that the Tally is registered with.
type Config struct {
	Requests Figure // labelled op and class; without Ops only class
	Seconds  Figure // labelled op; without Ops not at all
	InFlight Figure
	In, Out  Figure
	Buckets  []float64 // of Seconds
	Ops      bool      // requests are told apart by what they ask for
}

// A Tally is a door's figures; it is a prometheus.Collector. All of it is safe for
// use by several goroutines.
type Tally struct {
	In, Out prometheus.Counter // bytes; the door adds to them

	ops      bool
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	inFlight prometheus.Gauge
}

// New returns figures that nothing has happened to.
func New(c Config) *Tally {
	t := &Tally{
		In: prometheus.NewCounter(prometheus.CounterOpts{Name: c.In.Name, Help: c.In.Help}), Out: prometheus.NewCounter(prometheus.CounterOpts{Name: c.Out.Name, Help: c.Out.Help}),
		ops: c.Ops, inFlight: prometheus.NewGauge(prometheus.GaugeOpts{Name: c.InFlight.Name, Help: c.InFlight.Help}),
	}
	var op []string
	if c.Ops {
		op = []string{"op"}
	}
	t.requests = prometheus.NewCounterVec(prometheus.CounterOpts{Name: c.Requests.Name, Help: c.Requests.Help}, append(op, "class"))
	t.seconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: c.Seconds.Name, Help: c.Seconds.Help, Buckets: c.Buckets}, op)
	if !c.Ops {
		t.seconds.WithLabelValues() // it is there before anybody came
	}
	return t
}

func (t *Tally) all() []prometheus.Collector {
	return []prometheus.Collector{t.requests, t.seconds, t.inFlight, t.In, t.Out}
}

// Describe makes a Tally a prometheus.Collector.
func (t *Tally) Describe(to chan<- *prometheus.Desc) {
	for _, c := range t.all() {
		c.Describe(to)
	}
}

// Collect makes a Tally a prometheus.Collector.
func (t *Tally) Collect(to chan<- prometheus.Metric) {
	for _, c := range t.all() {
		c.Collect(to)
	}
}

// by is the values of the labels of a request for op.
func (t *Tally) by(op string) []string {
	if !t.ops {
		return nil
	}
	return []string{op}
}

// Turned counts a request that was turned away before it was a visit: it took no time.
func (t *Tally) Turned(op string, status int) {
	t.requests.WithLabelValues(append(t.by(op), class(status))...).Inc()
}

func class(status int) string { return fmt.Sprintf("%dxx", status/100) }

// A Visit is one request until its last byte has gone.
type Visit struct {
	t     *Tally
	began time.Time

	mu    sync.Mutex
	op    string
	class string // empty: not answered
	parts int    // the handler, and bodies that are streamed after it
}

// Enter begins a visit, for op where the door has ops. It must be left.
func (t *Tally) Enter(op string) *Visit {
	t.inFlight.Inc()
	return &Visit{t: t, began: time.Now(), op: op, parts: 1}
}

// Is says what it asks for, where that is known only later.
func (v *Visit) Is(op string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.op = op
}

// Answered notes the status that the client is told; the last word counts.
func (v *Visit) Answered(status int) { v.end(class(status)) }

// Gone notes that the client didn't wait for an answer.
func (v *Visit) Gone() { v.end("gone") }

func (v *Visit) end(class string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.class = class
}

// Streams says that a body goes on after the handler: it has to be left too.
func (v *Visit) Streams() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.parts++
}

// Leave ends the handler or a body. The last one counts the visit, if it was answered
// or its client is gone.
func (v *Visit) Leave() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.parts--; v.parts > 0 {
		return
	}
	v.t.inFlight.Dec()
	if v.class == "" {
		return
	}
	op := v.t.by(v.op)
	v.t.requests.WithLabelValues(append(op, v.class)...).Inc()
	v.t.seconds.WithLabelValues(op...).Observe(time.Since(v.began).Seconds())
}
