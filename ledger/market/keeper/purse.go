package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/ledger/market/types"
	"hearth/ledger/refusal"
)

// purse is what is free in a client's purse. An empty purse has no record.
func (k Keeper) purse(ctx context.Context, owner string) (money.Amount, error) {
	p, err := k.purses.Get(ctx, owner)
	if errors.Is(err, collections.ErrNotFound) {
		return 0, nil
	}
	return money.Amount(p.Free), err
}

// changePurse adds and takes.
func (k Keeper) changePurse(ctx context.Context, owner string, in, out money.Amount) error {
	free, err := k.purse(ctx, owner)
	if err != nil {
		return err
	}
	sum, ok := money.Add(free, in)
	switch {
	case !ok:
		return fault.New(fault.BadRequest, "purse of %s: %d uember can't be added to %d", owner, in, free)
	case out > sum:
		return fault.New(fault.NoFunds, "purse of %s: %d uember are free, %d are needed", owner, sum, out)
	}
	p := types.Purse{Owner: owner, Free: uint64(sum - out)}
	if p.Free == 0 {
		err = k.purses.Remove(ctx, owner)
	} else {
		err = k.purses.Set(ctx, owner, p)
	}
	if err != nil {
		return err
	}
	return emit(ctx, &types.EventPurse{Owner: owner, Free: p.Free})
}

// Deposit puts coins of the owner's account into its purse.
func (k MsgServer) Deposit(ctx context.Context, m *types.MsgDeposit) (_ *types.MsgDepositResponse, err error) {
	defer refusal.In(&err)
	owner, err := k.c.Addresses.StringToBytes(m.Owner)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "deposit: owner %q: %w", m.Owner, err)
	}
	if m.Amount == 0 {
		return nil, fault.New(fault.BadRequest, "deposit: nothing")
	}
	if err := k.c.Bank.SendCoinsFromAccountToModule(ctx, owner, types.ModuleName, k.coins(money.Amount(m.Amount))); err != nil {
		return nil, err
	}
	return &types.MsgDepositResponse{}, k.changePurse(ctx, m.Owner, money.Amount(m.Amount), 0)
}

// Withdraw takes free coins out of the purse.
func (k MsgServer) Withdraw(ctx context.Context, m *types.MsgWithdraw) (_ *types.MsgWithdrawResponse, err error) {
	defer refusal.In(&err)
	owner, err := k.c.Addresses.StringToBytes(m.Owner)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "withdraw: owner %q: %w", m.Owner, err)
	}
	amount := money.Amount(m.Amount)
	if amount == 0 {
		if amount, err = k.purse(ctx, m.Owner); err != nil {
			return nil, err
		}
		if amount == 0 {
			return nil, fault.New(fault.NoFunds, "withdraw: the purse of %s is empty", m.Owner)
		}
	}
	if err := k.changePurse(ctx, m.Owner, 0, amount); err != nil {
		return nil, err
	}
	err = k.c.Bank.SendCoinsFromModuleToAccount(ctx, types.ModuleName, owner, k.coins(amount))
	return &types.MsgWithdrawResponse{Amount: uint64(amount)}, err
}
