package market

import (
	"context"
	"errors"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/quote"
	"hearth/core/statement"
)

// errDone says that nothing has to be signed.
var errDone = errors.New("nothing to sign")

// A change makes the next statement of the one both go by and says what rent it
// added. It runs with mu held, and again whenever a try has failed.
type change func(next *statement.Statement, now int64) (rent money.Amount, err error)

const (
	catchUps  = 3                      // times that another device may be quicker
	busyTries = 20                     // times that the host may have to do something else first
	fundTries = 10                     // times that the host may not have seen the money yet
	pause     = 500 * time.Millisecond // before such a try
	// drift is how far, in seconds, the host's clock may have gone on until it
	// judges: the lease's money should last until then.
	drift = 10
)

// propose signs and exchanges the statement that change makes of the newest one.
// A lease without money is funded once; a statement of another device is taken over.
func (p *Pair) propose(ctx context.Context, change change) error {
	funded, stale, unseen, busy := false, 0, 0, 0
	for {
		next, params, err := p.draft(ctx, change)
		if errors.Is(err, errDone) {
			return nil
		}
		if poor(err) {
			// That the lease has too little is by the ledger's record, never by the
			// host's word.
			l, rerr := p.refresh(ctx)
			if rerr != nil {
				return rerr
			}
			if err = p.affords(l, next, params); poor(err) && !funded {
				funded = true
				if err = p.fund(ctx, l, next.Statement, params, err); err == nil {
					continue
				}
			} else if err == nil {
				continue
			}
		}
		if err != nil {
			return err
		}
		err = p.exchange(ctx, next)
		switch code := fault.CodeOf(err); {
		case (code == fault.Stale || code == fault.BadStatement) && stale < catchUps:
			// Another device may have signed meanwhile, also under a lower number than
			// ours: those of statements that were refused are used up.
			stale++
			moved, e := p.catchUp(ctx)
			if e != nil {
				return e
			}
			if code == fault.BadStatement && !moved {
				return err
			}
		case code == fault.Busy && busy < busyTries:
			busy++
			if err := breathe(ctx); err != nil {
				return err
			}
		case poor(err) && unseen < fundTries:
			unseen++
			if err := breathe(ctx); err != nil {
				return err
			}
			if _, err := p.refresh(ctx); err != nil {
				return err
			}
		default:
			return err
		}
	}
}

// breathe gives the host a moment.
func breathe(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(pause):
		return nil
	}
}

func poor(err error) bool {
	code := fault.CodeOf(err)
	return code == fault.NoFunds || code == fault.LeaseLow
}

// catchUp learns what the host goes by, and says whether that is another statement
// than was known. The caller has the turn.
func (p *Pair) catchUp(ctx context.Context) (moved bool, err error) {
	p.mu.Lock()
	was := p.base
	p.mu.Unlock()
	p.unsync()
	if err := p.sync(ctx); err != nil {
		return false, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.base != was, nil
}

func (p *Pair) unsync() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.synced = false
}

// A draft is a statement that isn't signed yet, with its part of rent.
type draft struct {
	statement.Statement
	rent money.Amount
}

// draft makes the next statement and applies the rules as the host will. The
// draft is good also with an error of want.
func (p *Pair) draft(ctx context.Context, change change) (next draft, params lease.Params, err error) {
	if err := p.usable(); err != nil {
		return next, params, err
	}
	if params, err = p.c.rules.get(ctx); err != nil {
		return next, params, err
	}
	p.mu.Lock()
	urgent := pressing(p.lease, p.told)
	p.mu.Unlock()
	if urgent {
		if _, err := p.refresh(ctx); err != nil && fault.CodeOf(err) != fault.LedgerDown {
			return next, params, err
		}
		p.hear(lease.Lease{})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	next.Statement = p.base
	next.rent, err = change(&next.Statement, p.c.now())
	// Where no rent hangs on it the time goes on: by it a statement has its prices.
	if p.lease.Kind == quote.Storage || p.base.Units == (quote.Units{}) {
		next.AsOf = max(next.AsOf, p.c.now())
	}
	// What was signed before is used up, whatever became of it.
	next.Seq, next.Total = max(p.base.Seq, p.rec.Newest.Seq)+1, max(next.Total, p.rec.Newest.Total)
	if err == nil {
		err = follows(p.lease, p.base, next.Statement, p.c.now()+drift, params)
	}
	return next, params, err
}

func (p *Pair) affords(l lease.Lease, next draft, params lease.Params) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return follows(l, p.base, next.Statement, p.c.now()+drift, params)
}

// exchange signs a statement, makes it durable, and sends it.
func (p *Pair) exchange(ctx context.Context, next draft) error {
	signed := next.SignClient(p.c.c.Key)
	p.mu.Lock()
	id, base, rec := p.lease.ID, p.base, p.rec
	p.mu.Unlock()
	rec.Newest, rec.Rent = signed, money.AddCap(rec.Rent, next.rent)
	if err := p.c.j.append(id, rec); err != nil {
		return err
	}
	p.mu.Lock()
	p.rec.Newest = signed
	p.mu.Unlock()
	accepted, refused, err := p.send(ctx, signed)
	if err == nil && base.Changes(next.Statement) {
		signed.HostSig = accepted.HostSig
		if err = signed.CheckHost(p.hostKey()); err == nil {
			rec.Newest, rec.Agreed = signed, signed
			err = p.c.j.append(id, rec)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err == nil:
		p.rec.Newest, p.rec.Agreed, p.rec.Rent = signed, rec.Agreed, rec.Rent
		p.base, p.synced = next.Statement, true
	case !refused:
		p.synced = false // it may have been accepted
	}
	return err
}
