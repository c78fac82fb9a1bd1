package market

import (
	"context"
	"sync"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
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

// follows says whether next may come after prev on a lease, the same for both
// sides: core's rule, and that the lease can take it.
func follows(l lease.Lease, prev, next statement.Statement, now int64, p lease.Params) error {
	if err := prev.Follow(next, l.SignedPrices(prev.AsOf), l.Funded(), now); err != nil {
		return err
	}
	return affords(l, prev, next, now, p)
}

// affords says whether the lease can take next: it isn't ending, its money covers
// the total and the time that has run since, it runs no further ahead than can be
// posted, and new data has run time and leaves the reserve whole.
func affords(l lease.Lease, prev, next statement.Statement, now int64, p lease.Params) error {
	owed := money.AddCap(next.Total, run(l, next, now))
	switch {
	case l.State == lease.Closed || l.State == lease.Closing && l.ClosedAt <= now:
		return fault.New(fault.LeaseClosed, "statement %d of lease %d: it is %s", next.Seq, l.ID, l.State)
	case next.RunsUntil > now+p.MaxRun:
		return fault.New(fault.BadStatement, "statement %d of lease %d: it runs %d s ahead, at most %d can be posted", next.Seq, l.ID, next.RunsUntil-now, p.MaxRun)
	case owed > l.Funded():
		return fault.New(fault.NoFunds, "statement %d of lease %d: with its run time %d uember are owed, the lease holds %d", next.Seq, l.ID, owed, l.Funded())
	case !grows(prev.Units, next.Units):
		return nil
	case l.State == lease.Closing:
		return fault.New(fault.LeaseClosed, "statement %d of lease %d: it is closing and takes nothing new", next.Seq, l.ID)
	case l.Kind != quote.Storage && next.RunsUntil < now+online/2-statement.Skew:
		return fault.New(fault.BadStatement, "statement %d of lease %d: it reserves more and runs only %d s", next.Seq, l.ID, next.RunsUntil-now)
	}
	l.Rate = l.PricesAt(next.AsOf).Rate(next.Units)
	if left, reserve := money.SubFloor(l.Funded(), owed), l.Reserve(p); left < reserve {
		return fault.New(fault.LeaseLow, "statement %d of lease %d: %d uember would be left, the reserve for its data is %d", next.Seq, l.ID, left, reserve)
	}
	return nil
}

// run is what time adds to next's total by now: what is signed for, or, of stored
// bytes, what their host may have proven.
func run(l lease.Lease, next statement.Statement, now int64) money.Amount {
	if l.Kind == quote.Storage {
		return l.Accrued(l.AtMost(now))
	}
	return l.PricesAt(next.AsOf).Rate(next.Units).Over(min(now, next.RunsUntil) - next.AsOf)
}

func grows(prev, next quote.Units) bool {
	for i := range prev {
		if next[i] > prev[i] {
			return true
		}
	}
	return false
}

// pressing says whether what a block told of a lease has to be read, with its
// proof, before anything is signed: it may be ending, or has other prices. A read
// waits for the next block, and every posting and settlement is told, so the rest
// has time until it is needed.
func pressing(known, told lease.Lease) bool {
	return told.ID != 0 && (max(known.State, lease.Low) < max(told.State, lease.Low) || known.PricedAt < told.PricedAt || known.Refunded < told.Refunded)
}

// behind says whether record a of a lease is older than b: none of these ever
// goes back.
func behind(a, b lease.Lease) bool {
	return a.In < b.In || a.Out < b.Out || a.Refunded < b.Refunded || a.Seq < b.Seq ||
		a.PricedAt < b.PricedAt || max(a.State, lease.Low) < max(b.State, lease.Low)
}
