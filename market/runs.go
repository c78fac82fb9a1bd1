package market

import (
	"context"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
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

// Takes says whether a lease may reserve more at all: it isn't ending, and holds money
// beyond what is owed. It goes by what is known, and reads the lease only where
// a block has told of its end, and before it says that there is no money.
func (h *Host) Takes(ctx context.Context, id uint64) error {
	b, err := h.bargain(ctx, id)
	if err != nil {
		return err
	}
	if err := b.takes(h.now()); fault.CodeOf(err) != fault.NoFunds && !b.rumour() {
		return err
	}
	b.turn.Lock()
	defer b.turn.Unlock()
	if err := h.refresh(ctx, b); err != nil {
		return err
	}
	return b.takes(h.now())
}

func (b *bargain) takes(now int64) error {
	l, rec := b.terms(), b.record()
	s := rec.Newest.Statement
	switch {
	case rec.Ended || l.State == lease.Closing || l.State == lease.Closed:
		return fault.New(fault.LeaseClosed, "lease %d takes nothing new: it is %s, or its end is agreed", l.ID, l.State)
	case money.AddCap(s.Total, run(l, s, now)) >= l.Funded():
		return fault.New(fault.NoFunds, "lease %d takes nothing new: all of the %d uember that it holds are owed", l.ID, l.Funded())
	}
	return nil
}

// quiet leaves out that the ledger doesn't answer.
func quiet(err error) error {
	if fault.CodeOf(err) == fault.LedgerDown {
		return nil
	}
	return err
}
