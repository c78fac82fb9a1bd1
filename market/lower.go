package market

import (
	"context"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/quote"
	"hearth/core/statement"
)

// lowers says whether the key of next may make less of what is stored, where next
// does. The ledger compares with what is posted: where that is more, because
// somebody with the right has removed something since, his statement is posted
// first; else that of a key without the right could never be. The caller has the
// turn.
func (h *Host) lowers(ctx context.Context, b *bargain, newest, next statement.Signed) error {
	if newest.Units == next.Units {
		return nil
	}
	err := h.allowed(ctx, b.terms().Client, next.ClientKey, mandate.Remove)
	if err == nil || less(newest.Units, next.Units) || fault.CodeOf(err) != fault.MandateRefused {
		return err
	}
	if err := h.refresh(ctx, b); err != nil {
		return err
	}
	l := b.terms()
	if !less(l.Units, next.Units) {
		return nil
	}
	if newest.Seq > l.Seq {
		h.settling.Lock()
		err := h.send(ctx, []statement.Signed{newest.SignHost(h.c.Key)}, nil)
		h.settling.Unlock()
		if err != nil {
			return err
		}
		if err := h.refresh(ctx, b); err != nil {
			return err
		}
		l = b.terms()
	}
	if less(l.Units, next.Units) {
		return fault.New(fault.Busy, "statement %d of lease %d: what was removed before isn't on the ledger yet", next.Seq, next.Lease)
	}
	return nil
}

// less says whether next has less of anything than prev.
func less(prev, next quote.Units) bool { return grows(next, prev) }
