package keeper

import (
	"context"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/market/types"
)

// What proofs of storage ask of the market.

// Lease finds a lease.
func (k Keeper) Lease(ctx context.Context, id uint64) (lease.Lease, error) { return k.lease(ctx, id) }

// Lose makes the rate of a lease 0 until its next statement, and gives it as it was.
func (k Keeper) Lose(ctx context.Context, id uint64) (before lease.Lease, err error) {
	if before, err = k.lease(ctx, id); err != nil {
		return before, err
	}
	b, err := k.open(ctx)
	if err != nil {
		return before, err
	}
	clock, err := b.clock(ctx, before)
	if err != nil {
		return before, err
	}
	after, _, err := before.Lose(clock, b.rules)
	if err != nil {
		return before, err
	}
	if err := b.put(ctx, before, after, "lost"); err != nil {
		return before, err
	}
	return before, b.close(ctx)
}

// Compensate puts into a purse what it takes out of the account of bonds.
func (k Keeper) Compensate(ctx context.Context, owner string, amount money.Amount) error {
	if amount == 0 {
		return nil
	}
	if err := k.c.Bank.SendCoinsFromModuleToModule(ctx, hoststypes.ModuleName, types.ModuleName, k.coins(amount)); err != nil {
		return err
	}
	return k.changePurse(ctx, owner, amount, 0)
}

// Hold takes a fee out of client's purse, on the word of the client or of a key
// that may fund, whose cap it counts against.
func (k Keeper) Hold(ctx context.Context, signer, client string, fee money.Amount) error {
	by, err := k.mandateOf(ctx, signer, client)
	if err != nil {
		return err
	}
	if by != nil {
		p, err := k.params.Get(ctx)
		if err != nil {
			return err
		}
		if err := by.May(mandate.Fund, now(ctx)); err != nil {
			return err
		}
		m, err := by.Spend(fee, now(ctx), p.Rules().MandateWindow)
		if err != nil {
			return err
		}
		if err := k.setMandate(ctx, m); err != nil {
			return err
		}
	}
	err = k.changePurse(ctx, client, 0, fee)
	if code := fault.CodeOf(err); err != nil && code != fault.Internal {
		return fault.New(code, "pay the fee of a challenge: %w", err)
	}
	return err
}

// Release gives a held fee back.
func (k Keeper) Release(ctx context.Context, client string, fee money.Amount) error {
	return k.changePurse(ctx, client, fee, 0)
}
