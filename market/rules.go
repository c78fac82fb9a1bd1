package market

import (
	"context"
	"sync"
	"time"

	"hearth/core/lease"
)

// rules keeps the market's parameters for a while: governance changes them seldom.
type rules struct {
	ledger Ledger

	mu   sync.Mutex
	p    lease.Params
	read time.Time
}

const rulesFresh = 5 * time.Minute

func (r *rules) get(ctx context.Context) (lease.Params, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.read.IsZero() && time.Since(r.read) < rulesFresh {
		return r.p, nil
	}
	p, err := r.ledger.Rules(ctx)
	if err == nil {
		r.p, r.read = p, time.Now()
	}
	return p, err
}
