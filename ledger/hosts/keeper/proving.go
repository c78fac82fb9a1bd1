package keeper

import (
	"context"

	"hearth/core/money"
	"hearth/core/proving"
	"hearth/ledger/hosts/types"
)

// SetProving writes what a host has proved, and its bond after what that cost.
// Where the money goes is for the caller.
func (k Keeper) SetProving(ctx context.Context, host string, r proving.Record, bond money.Amount) error {
	before, err := k.Host(ctx, host)
	if err != nil {
		return err
	}
	h := before
	h.Proving, h.Bond = types.FromRecord(r), uint64(bond)
	return k.set(ctx, before, h)
}

// ToCommons pays from the account of a module into the community pool.
func (k Keeper) ToCommons(ctx context.Context, from string, amount money.Amount) error {
	if amount == 0 {
		return nil
	}
	return k.c.Commons.FundCommunityPool(ctx, k.coins(amount), k.c.Accounts.GetModuleAddress(from))
}
