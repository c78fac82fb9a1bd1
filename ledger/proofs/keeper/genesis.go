package keeper

import (
	"context"
	"errors"
	"fmt"

	"cosmossdk.io/collections"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/ledger/proofs/types"
)

// InitGenesis loads the state a chain starts with. Trees follow from the weights;
// what was drawn for the present period doesn't travel.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := g.Params.Validate(); err != nil {
		return err
	}
	if err := k.params.Set(ctx, g.Params); err != nil {
		return err
	}
	if _, err := g.Beacon.Core(); err != nil {
		return err
	}
	g.Beacon.Marked, g.Beacon.Period = 0, 0
	if err := k.beacon.Set(ctx, g.Beacon); err != nil {
		return err
	}
	for _, v := range g.Voids {
		if err := k.voids.Set(ctx, v.Last, v.First); err != nil {
			return err
		}
	}
	for _, w := range g.Weights {
		if err := k.initWeight(ctx, w); err != nil {
			return err
		}
	}
	for _, f := range g.Forfeits {
		if err := k.forfeits.Set(ctx, collections.Join(f.Host, f.Number), f); err != nil {
			return err
		}
		t, err := found(k.trees.Get(ctx, f.Host))
		if err != nil {
			return err
		}
		t.Forfeits = max(t.Forfeits, f.Number)
		if err := k.trees.Set(ctx, f.Host, t); err != nil {
			return err
		}
	}
	for _, record := range g.Challenges {
		c := record.Core()
		if err := k.open(ctx, record.Host, c, c.Due(g.Beacon.Pause, g.Params.Rules())); err != nil {
			return err
		}
	}
	return nil
}

func (k Keeper) initWeight(ctx context.Context, w types.Weight) error {
	if w.Rate == 0 {
		return fault.New(fault.BadRequest, "genesis: lease %d weighs nothing", w.Lease)
	}
	t, err := k.tree(ctx, w.Host)
	if err != nil {
		return err
	}
	w.Index = t.Take()
	t.Add(w.Index, 0, w.Rate)
	t.kept.Forfeits = max(t.kept.Forfeits, w.Forfeits)
	return errors.Join(
		k.weights.Set(ctx, w.Lease, w),
		k.byIndex.Set(ctx, collections.Join(w.Host, w.Index), w.Lease),
		k.trees.Set(ctx, w.Host, types.Tree{Cap: t.Size.Cap, Used: t.Size.Used, Free: t.Size.Free, Forfeits: t.kept.Forfeits}),
		t.err)
}

// ExportGenesis is the inverse of InitGenesis.
func (k Keeper) ExportGenesis(ctx context.Context) (*types.GenesisState, error) {
	g := &types.GenesisState{}
	var err error
	if g.Params, err = k.params.Get(ctx); err != nil {
		return nil, err
	}
	if g.Beacon, err = k.beacon.Get(ctx); err != nil {
		return nil, err
	}
	return g, errors.Join(
		k.voids.Walk(ctx, nil, func(last, first int64) (bool, error) {
			g.Voids = append(g.Voids, types.Void{First: first, Last: last})
			return false, nil
		}),
		k.weights.Walk(ctx, nil, func(_ uint64, w types.Weight) (bool, error) {
			g.Weights = append(g.Weights, w)
			return false, nil
		}),
		k.forfeits.Walk(ctx, nil, func(_ collections.Pair[string, uint64], f types.Forfeit) (bool, error) {
			g.Forfeits = append(g.Forfeits, f)
			return false, nil
		}),
		k.challenges.Walk(ctx, nil, func(_ uint64, c types.Challenge) (bool, error) {
			g.Challenges = append(g.Challenges, c)
			return false, nil
		}))
}

// Owed is what other modules' accounts hold on behalf of this one: fees of open
// challenges at the market's, unclaimed halves of lost bonds at the hosts'.
func (k Keeper) Owed(ctx context.Context) (fees, unclaimed money.Amount, err error) {
	err = errors.Join(
		k.challenges.Walk(ctx, nil, func(_ uint64, c types.Challenge) (bool, error) {
			fees = money.AddCap(fees, money.Amount(c.Fee))
			return false, nil
		}),
		k.forfeits.Walk(ctx, nil, func(_ collections.Pair[string, uint64], f types.Forfeit) (bool, error) {
			unclaimed = money.AddCap(unclaimed, money.Amount(f.Left))
			return false, nil
		}))
	return fees, unclaimed, err
}

// Weights are the rates of all leases that are weighed, by lease. It says so
// where a host's tree tells otherwise.
func (k Keeper) Weights(ctx context.Context) (map[uint64]types.Weight, error) {
	out := map[uint64]types.Weight{}
	sums := map[string]uint64{}
	err := k.weights.Walk(ctx, nil, func(id uint64, w types.Weight) (bool, error) {
		at, err := k.byIndex.Get(ctx, collections.Join(w.Host, w.Index))
		if err != nil || at != id {
			return true, errors.Join(err, fmt.Errorf("law of weights: lease %d has index %d of its host, where lease %d is", id, w.Index, at))
		}
		out[id] = w
		sums[w.Host] += w.Rate
		return false, nil
	})
	if err != nil {
		return nil, err
	}
	return out, k.trees.Walk(ctx, nil, func(host string, _ types.Tree) (bool, error) {
		total, err := k.total(ctx, host)
		if err == nil && total != sums[host] {
			err = fmt.Errorf("law of weights: the tree of host %s counts %d, its leases weigh %d", host, total, sums[host])
		}
		return err != nil, err
	})
}
