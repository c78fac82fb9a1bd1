package market

import (
	"bytes"
	"context"
	"time"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/quote"
	"hearth/core/statement"
)

// lowerPause lies between two attempts to post a removal on behalf of a key that
// may not remove: a host that is drawn for a proof can't post before it has answered.
const lowerPause = 5 * time.Second

// lowers says whether the key of next may sign for what next stores. The ledger
// compares with what is posted: where that is more, because somebody with the right
// has removed something since, his statement is posted first; else that of a key
// without the right could never be, also if it only pays. That takes blocks, in
// which others want their turn, so it is done elsewhere: the key is refused as
// fault.Busy and comes again. The caller has the turn.
func (h *Host) lowers(ctx context.Context, b *bargain, newest, next statement.Signed) error {
	if newest.Units == next.Units && bytes.Equal(newest.ClientKey, next.ClientKey) {
		return nil // looked at when that was signed
	}
	err := h.allowed(ctx, b.terms().Client, next.ClientKey, mandate.Remove)
	if err == nil || less(newest.Units, next.Units) || fault.CodeOf(err) != fault.MandateRefused {
		return err
	}
	busy := fault.New(fault.Busy, "statement %d of lease %d: what was removed before isn't on the ledger yet", next.Seq, next.Lease)
	if b.lowering(time.Now()) {
		return busy
	}
	if err := h.refresh(ctx, b); err != nil {
		return err
	}
	if !less(b.terms().Units, next.Units) {
		return nil
	}
	b.lower(time.Now())
	h.look(next.Lease)
	return busy
}

// lowering says whether a removal is being posted, or was to be a moment ago.
func (b *bargain) lowering(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return now.Sub(b.lowered) < lowerPause
}

// lower notes when a removal is to be posted; the zero time: it is on the ledger.
func (b *bargain) lower(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.lowered = at
}

// less says whether next has less of anything than prev.
func less(prev, next quote.Units) bool { return grows(next, prev) }
