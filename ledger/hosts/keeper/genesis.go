package keeper

import (
	"context"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/ledger/hosts/types"
)

// InitGenesis loads the state a chain starts with.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := g.Params.Validate(); err != nil {
		return err
	}
	if err := k.params.Set(ctx, g.Params); err != nil {
		return err
	}
	for _, h := range g.Hosts {
		if has, err := k.byKey.Has(ctx, h.Key); err != nil || has {
			return fault.New(fault.Exists, "genesis: host %s: its key stands twice", h.Address)
		}
		if err := k.byKey.Set(ctx, h.Key, h.Address); err != nil {
			return err
		}
		if err := k.hosts.Set(ctx, h.Address, h); err != nil {
			return err
		}
	}
	return nil
}

// ExportGenesis is the inverse of InitGenesis. Endpoints don't travel: they
// stand in events of the old chain, so their height becomes 0 and every host
// announces its own anew.
func (k Keeper) ExportGenesis(ctx context.Context) (*types.GenesisState, error) {
	p, err := k.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	g := &types.GenesisState{Params: p}
	err = k.Walk(ctx, func(h types.Host) bool {
		h.EndpointsHeight = 0
		g.Hosts = append(g.Hosts, h)
		return false
	})
	return g, err
}

// Owed is the sum of all bonds, those on their way out included: what the
// module's account must hold.
func (k Keeper) Owed(ctx context.Context) (sum money.Amount, err error) {
	err = k.Walk(ctx, func(h types.Host) bool {
		sum = money.AddCap(sum, money.AddCap(money.Amount(h.Bond), money.Amount(h.Unbonding)))
		return false
	})
	return sum, err
}
