package keeper

import (
	"context"

	"cosmossdk.io/collections"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/ledger/market/types"
)

// InitGenesis loads the state a chain starts with. Indexes and the queue follow
// from the records. Hosts count their leases in their own part.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := g.Params.Validate(); err != nil {
		return err
	}
	if err := k.params.Set(ctx, g.Params); err != nil {
		return err
	}
	if err := k.nextID.Set(ctx, max(g.NextId, 1)); err != nil {
		return err
	}
	for _, p := range g.Purses {
		if err := k.purses.Set(ctx, p.Owner, p); err != nil {
			return err
		}
	}
	for _, m := range g.Mandates {
		if _, err := m.Core(); err != nil {
			return err
		}
		key := mandateKey(m.Grantor, m.Key)
		if err := k.mandates.Set(ctx, key, m); err != nil {
			return err
		}
		if err := k.remindOfMandate(ctx, m.Until+int64(g.Params.CloseSeconds), key); err != nil {
			return err
		}
	}
	for _, record := range g.Leases {
		l, err := record.Core()
		if err != nil {
			return err
		}
		if l.ID >= g.NextId {
			return fault.New(fault.BadRequest, "genesis: lease %d, the next is to be %d", l.ID, g.NextId)
		}
		if err := k.initLease(ctx, l, g.Params); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) initLease(ctx context.Context, l lease.Lease, p types.Params) error {
	if err := k.leases.Set(ctx, l.ID, types.FromLease(l)); err != nil {
		return err
	}
	if err := k.byClient.Set(ctx, collections.Join(l.Client, l.ID)); err != nil {
		return err
	}
	if err := k.byHost.Set(ctx, collections.Join(l.Host, l.ID)); err != nil {
		return err
	}
	switch l.State {
	case lease.Closed:
		return k.remindOfLease(ctx, l.EndsAt+int64(p.PruneSeconds), l.ID)
	case lease.Closing:
		if err := k.remindOfLease(ctx, l.EndsAt, l.ID); err != nil {
			return err
		}
	}
	return k.pairs.Set(ctx, pairKey(l), l.ID)
}

// ExportGenesis is the inverse of InitGenesis.
func (k Keeper) ExportGenesis(ctx context.Context) (*types.GenesisState, error) {
	g := &types.GenesisState{}
	var err error
	if g.Params, err = k.params.Get(ctx); err != nil {
		return nil, err
	}
	if g.NextId, err = k.nextID.Peek(ctx); err != nil {
		return nil, err
	}
	if err = k.leases.Walk(ctx, nil, func(_ uint64, l types.Lease) (bool, error) {
		g.Leases = append(g.Leases, l)
		return false, nil
	}); err != nil {
		return nil, err
	}
	if err = k.purses.Walk(ctx, nil, func(_ string, p types.Purse) (bool, error) {
		g.Purses = append(g.Purses, p)
		return false, nil
	}); err != nil {
		return nil, err
	}
	return g, k.mandates.Walk(ctx, nil, func(_ []byte, m types.Mandate) (bool, error) {
		g.Mandates = append(g.Mandates, m)
		return false, nil
	})
}

// Owed is what the market's account must hold: all free purses and all that
// leases keep. It says which law of a lease is broken, if any.
func (k Keeper) Owed(ctx context.Context) (sum money.Amount, err error) {
	if err := k.purses.Walk(ctx, nil, func(_ string, p types.Purse) (bool, error) {
		sum = money.AddCap(sum, money.Amount(p.Free))
		return false, nil
	}); err != nil {
		return 0, err
	}
	err = k.Walk(ctx, func(l lease.Lease) error {
		sum = money.AddCap(sum, l.Held())
		return l.Check()
	})
	return sum, err
}

// Walk shows every lease, by number, until f errs.
func (k Keeper) Walk(ctx context.Context, f func(lease.Lease) error) error {
	return k.leases.Walk(ctx, nil, func(_ uint64, record types.Lease) (bool, error) {
		l, err := record.Core()
		if err == nil {
			err = f(l)
		}
		return err != nil, err
	})
}
