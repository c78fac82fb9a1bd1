package door

import "hearth/internal/tally"

// Metrics are the figures of doors; it is a prometheus.Collector. They outlive a
// door, so that closing and opening one again loses nothing.
type Metrics struct{ *tally.Tally }

// NewMetrics returns figures that nothing has happened to.
func NewMetrics() *Metrics {
	return &Metrics{tally.New(tally.Config{
		Requests: tally.Figure{Name: "hearth_function_http_requests_total", Help: "HTTP requests answered by functions or refused at their door, by class of status; gone: the client didn't wait."},
		Seconds:  tally.Figure{Name: "hearth_function_http_duration_seconds", Help: "Time to answer an HTTP request with a function, bodies included."},
		InFlight: tally.Figure{Name: "hearth_function_http_in_flight", Help: "HTTP requests to functions that are being answered."},
		In:       tally.Figure{Name: "hearth_function_http_in_bytes_total", Help: "Bytes of bodies received for functions over HTTP."},
		Out:      tally.Figure{Name: "hearth_function_http_out_bytes_total", Help: "Bytes of bodies that functions answered over HTTP."},
		Buckets:  []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
	})}
}

// gone is the status of an answer that nobody waited for.
const gone = 499

// count notes how a request ended. A function may say itself that nobody waits.
func count(v *tally.Visit, status int) {
	if status == gone {
		v.Gone()
		return
	}
	v.Answered(status)
}
