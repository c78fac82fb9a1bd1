package host

import (
	"sync/atomic"

	"golang.org/x/time/rate"

	"hearth/core/proof"
)

// Limits bound what a host does for its clients: bytes a second in each direction,
// 0 for no bound. A paused host takes no new shards; it serves and proves what it has.
type Limits struct {
	Up, Down int64
	Paused   bool
}

// flow holds back the bytes of shards, all streams together.
type flow struct {
	up, down *rate.Limiter
	paused   atomic.Bool
}

// A burst is what may flow at once after a silence: no less than one block.
const burst = 4 * proof.BlockSize

func newFlow() *flow {
	return &flow{up: rate.NewLimiter(rate.Inf, burst), down: rate.NewLimiter(rate.Inf, burst)}
}

// Limit sets the limits from now on, for streams that are open already too.
func (srv *Server) Limit(l Limits) {
	set := func(r *rate.Limiter, bytes int64) {
		if bytes <= 0 {
			r.SetLimit(rate.Inf)
			return
		}
		r.SetLimit(rate.Limit(bytes))
	}
	set(srv.flow.up, l.Up)
	set(srv.flow.down, l.Down)
	srv.flow.paused.Store(l.Paused)
}

// Limits are those that hold now.
func (srv *Server) Limits() Limits {
	get := func(r *rate.Limiter) int64 {
		if r.Limit() == rate.Inf {
			return 0
		}
		return int64(r.Limit())
	}
	return Limits{Up: get(srv.flow.up), Down: get(srv.flow.down), Paused: srv.flow.paused.Load()}
}
