package node

import (
	"context"
	"time"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/quote"
)

// unused remembers since when a lease has neither held nor moved anything.
type unused struct {
	use   quote.Use
	since time.Time
}

const lookForUnused = 30 * time.Second

// giveBack ends leases that hold nothing and that nobody has used for a while,
// such as those of an upload that failed: their money returns to the purse. The
// host's consent makes it at once; without it the ledger does it after some time.
func (b *buying) giveBack(ctx context.Context) {
	idle := map[uint64]unused{}
	t := time.NewTicker(min(lookForUnused, b.n.terms.idleLease/2))
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		leases, err := b.n.ledger.Leases(ctx, b.n.address(), "")
		if err != nil {
			b.log.Debug("look for unused leases", "err", err)
			continue
		}
		seen := map[uint64]unused{}
		for _, l := range leases {
			if !b.empty(l) {
				continue
			}
			use := b.market.Used(l.ID)
			u, known := idle[l.ID]
			if !known || u.use != use {
				u = unused{use, time.Now()}
			}
			seen[l.ID] = u
			if time.Since(u.since) >= b.n.terms.idleLease {
				b.refund(ctx, l.ID)
			}
		}
		idle = seen
	}
}

// empty says whether nothing lies under a lease that is still open.
func (b *buying) empty(l lease.Lease) bool {
	return (l.State == lease.Open || l.State == lease.Low) && l.Units == (quote.Units{}) &&
		b.market.Newest(l.ID).Units == (quote.Units{})
}

func (b *buying) refund(ctx context.Context, id uint64) {
	p, err := b.market.Lease(ctx, id)
	if err == nil {
		err = p.Refund(ctx)
	}
	if err != nil && ctx.Err() == nil && fault.CodeOf(err) != fault.LeaseClosed {
		b.log.Info("give an unused lease back", "lease", id, "err", err)
	}
}
