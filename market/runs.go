package market

import (
	"context"

	"hearth/core/fault"
	"hearth/core/quote"
)

// Runs says whether the time of what a lease reserves is paid for now: its client
// has signed it, and the lease holds the money. fault.Unpaid and fault.NoFunds may
// be over with the next statement and the next filling; fault.LeaseClosed and
// fault.NoLease are for good. Where the ledger can't be asked what is signed counts.
func (h *Host) Runs(ctx context.Context, id uint64) error {
	s, now := h.j.get(id).Newest.Statement, h.now()
	if s.Units == (quote.Units{}) {
		return fault.New(fault.NoLease, "run lease %d: it reserves nothing", id)
	}
	if now > s.RunsUntil {
		return fault.New(fault.Unpaid, "run lease %d: its signed time ended %d s ago", id, now-s.RunsUntil)
	}
	params, err := h.rules.get(ctx)
	if err != nil {
		return quiet(err)
	}
	b, err := h.bargain(ctx, id)
	if err != nil {
		return quiet(err)
	}
	if err = affords(b.terms(), s, s, now, params); fault.CodeOf(err) != fault.NoFunds {
		return err
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	if err := h.refresh(ctx, b); err != nil {
		return quiet(err)
	}
	return affords(b.terms(), s, s, now, params)
}

// quiet leaves out that the ledger doesn't answer.
func quiet(err error) error {
	if fault.CodeOf(err) == fault.LedgerDown {
		return nil
	}
	return err
}
