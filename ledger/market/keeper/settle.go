package keeper

import (
	"context"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/ledger/market/types"
	"hearth/ledger/refusal"
)

// Settle pays hosts what their leases have earned so far. Anybody may ask for
// it; leases that are closed or gone are passed over, and so are empty ones that
// must not end while their host has to prove what it stores.
func (k MsgServer) Settle(ctx context.Context, m *types.MsgSettle) (_ *types.MsgSettleResponse, err error) {
	defer refusal.In(&err)
	b, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	if n := len(m.Leases); n == 0 || n > b.rules.MaxSettle {
		return nil, fault.New(fault.TooLarge, "settle: %d leases, allowed are 1 to %d", n, b.rules.MaxSettle)
	}
	for _, id := range m.Leases {
		before, err := k.lease(ctx, id)
		if fault.CodeOf(err) == fault.NoLease {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := b.settle(ctx, before); err != nil {
			return nil, err
		}
	}
	return &types.MsgSettleResponse{Paid: uint64(b.paid), Commission: uint64(b.commission)}, b.close(ctx)
}

func (b *book) settle(ctx context.Context, before lease.Lease) error {
	free, err := b.refill(ctx, before)
	if err != nil {
		return err
	}
	clock, err := b.clock(ctx, before)
	if err != nil {
		return err
	}
	after, flow := before.Settle(clock, free, b.rules)
	if err := b.frozen(ctx, before, after); fault.CodeOf(err) == fault.Frozen {
		return nil
	} else if err != nil {
		return err
	}
	if before == after && before.Weight() > 0 {
		return b.weigh(ctx, before, after)
	}
	if err := b.move(ctx, after, flow); err != nil {
		return err
	}
	reason := "settled"
	if after.State != before.State && after.State != lease.Open {
		reason = after.State.String()
	}
	return b.put(ctx, before, after, reason)
}
