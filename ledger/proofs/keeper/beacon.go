package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/proving"
	"hearth/ledger/proofs/types"
)

// BeginBlock mixes the block's hash into the ledger's randomness, before any of
// its transactions: who is frozen from a slot on can't know what is drawn there.
// Its work doesn't depend on hosts or leases.
func (k Keeper) BeginBlock(ctx context.Context) error {
	p, b, err := k.rules(ctx)
	if err != nil {
		return err
	}
	sctx := sdk.UnwrapSDKContext(ctx)
	now := sctx.BlockTime().Unix()
	if first, last, void := p.Void(b.BlockTime, now); void && b.BlockTime > 0 {
		if err := k.void(ctx, first, last); err != nil {
			return err
		}
		b.Pause = now
	}
	was, err := b.Core()
	if err != nil {
		return err
	}
	is, from, to := was.Block(now, sctx.HeaderHash(), p)
	for slot := from; slot < to; slot++ {
		if err := k.marks.Set(ctx, slot, is.R[:]); err != nil {
			return err
		}
	}
	return k.beacon.Set(ctx, types.Beacon{
		R: is.R[:], Start: is.Start[:], Period: is.Period, Marked: is.Marked, BlockTime: now, Pause: b.Pause,
	})
}

// void notes a run of void periods. A pause before may have ended in the same
// period: what that one has made void stays so.
func (k Keeper) void(ctx context.Context, first, last int64) error {
	before, err := k.voids.Get(ctx, last)
	switch {
	case err == nil:
		first = min(first, before)
	case !errors.Is(err, collections.ErrNotFound):
		return err
	}
	if err := k.voids.Set(ctx, last, first); err != nil {
		return err
	}
	return emit(ctx, &types.EventVoid{First: first, Last: last})
}

// isVoid finds void periods for core; what went wrong is in err.
func (k Keeper) isVoid(ctx context.Context, err *error) proving.Voids {
	return func(period int64) (last int64, void bool) {
		if *err != nil {
			return 0, false
		}
		from := new(collections.Range[int64]).StartInclusive(period)
		*err = k.voids.Walk(ctx, from, func(l, first int64) (bool, error) {
			last, void = l, first <= period
			return true, nil
		})
		return last, void
	}
}
