package keeper

import (
	"context"

	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/ledger/hosts/types"
	"hearth/ledger/refusal"
)

// Bond adds to the signer's bond.
func (k MsgServer) Bond(ctx context.Context, m *types.MsgBond) (_ *types.MsgBondResponse, err error) {
	defer refusal.In(&err)
	before, err := k.Host(ctx, m.Address)
	if err != nil {
		return nil, err
	}
	bond, ok := money.Add(money.Amount(before.Bond), money.Amount(m.Amount))
	if !ok || m.Amount == 0 {
		return nil, fault.New(fault.BadRequest, "bond of host %s: %d uember can't be added", m.Address, m.Amount)
	}
	from, err := k.c.Addresses.StringToBytes(m.Address)
	if err != nil {
		return nil, err
	}
	if err := k.c.Bank.SendCoinsFromAccountToModule(ctx, from, types.ModuleName, k.coins(money.Amount(m.Amount))); err != nil {
		return nil, err
	}
	h := before
	h.Bond = uint64(bond)
	return &types.MsgBondResponse{}, k.set(ctx, before, h)
}

// Unbond starts the waiting time of a part above the target. What waited before
// and isn't through yet waits anew with it.
func (k MsgServer) Unbond(ctx context.Context, m *types.MsgUnbond) (_ *types.MsgUnbondResponse, err error) {
	defer refusal.In(&err)
	h, p, err := k.hostAndParams(ctx, m.Address)
	if err != nil {
		return nil, err
	}
	if h, _, err = k.claim(ctx, h); err != nil {
		return nil, err
	}
	target := Target(h, p)
	if free := money.SubFloor(money.Amount(h.Bond), target); m.Amount == 0 || money.Amount(m.Amount) > free {
		return nil, fault.New(fault.NoFunds, "unbond %d uember of host %s: %d of its bond are above its target of %d", m.Amount, m.Address, free, target)
	}
	before := h
	h.Bond -= m.Amount
	h.Unbonding += m.Amount
	h.UnbondingUntil = now(ctx) + int64(p.UnbondingSeconds)
	return &types.MsgUnbondResponse{Until: h.UnbondingUntil}, k.set(ctx, before, h)
}

// Claim pays out what has waited long enough.
func (k MsgServer) Claim(ctx context.Context, m *types.MsgClaim) (_ *types.MsgClaimResponse, err error) {
	defer refusal.In(&err)
	h, err := k.Host(ctx, m.Address)
	if err != nil {
		return nil, err
	}
	_, amount, err := k.claim(ctx, h)
	if err == nil && amount == 0 {
		err = fault.New(fault.NoFunds, "claim of host %s: nothing has waited long enough, %d uember wait until %d", m.Address, h.Unbonding, h.UnbondingUntil)
	}
	return &types.MsgClaimResponse{Amount: uint64(amount)}, err
}

func (k Keeper) claim(ctx context.Context, h types.Host) (types.Host, money.Amount, error) {
	amount := money.Amount(h.Unbonding)
	if amount == 0 || now(ctx) < h.UnbondingUntil {
		return h, 0, nil
	}
	before := h
	h.Unbonding, h.UnbondingUntil = 0, 0
	if err := k.set(ctx, before, h); err != nil {
		return h, 0, err
	}
	return h, amount, k.send(ctx, types.ModuleName, h.Address, amount)
}

// Leave gives notice: no lease can be opened with the host from now on.
func (k MsgServer) Leave(ctx context.Context, m *types.MsgLeave) (_ *types.MsgLeaveResponse, err error) {
	defer refusal.In(&err)
	before, p, err := k.hostAndParams(ctx, m.Address)
	if err != nil {
		return nil, err
	}
	if before.LeavingAt != 0 {
		return nil, fault.New(fault.Exists, "leave: host %s leaves at %d already", m.Address, before.LeavingAt)
	}
	notice := p.OtherNoticeSeconds
	if before.Roles&1 != 0 || before.StorageRate > 0 {
		notice = max(notice, p.StorageNoticeSeconds)
	}
	h := before
	h.LeavingAt = now(ctx) + int64(notice)
	return &types.MsgLeaveResponse{LeavingAt: h.LeavingAt}, k.set(ctx, before, h)
}

// Remove forgets a host that has left and returns all of its bond.
func (k MsgServer) Remove(ctx context.Context, m *types.MsgRemove) (_ *types.MsgRemoveResponse, err error) {
	defer refusal.In(&err)
	h, err := k.Host(ctx, m.Address)
	switch {
	case err != nil:
		return nil, err
	case h.LeavingAt == 0 || now(ctx) < h.LeavingAt:
		return nil, fault.New(fault.BadRequest, "remove host %s: its notice isn't over", m.Address)
	case h.Leases > 0:
		return nil, fault.New(fault.StillLeased, "remove host %s: %d leases are left", m.Address, h.Leases)
	}
	if err := k.hosts.Remove(ctx, h.Address); err != nil {
		return nil, err
	}
	if err := k.byKey.Remove(ctx, h.Key); err != nil {
		return nil, err
	}
	back := money.AddCap(money.Amount(h.Bond), money.Amount(h.Unbonding))
	if err := k.send(ctx, types.ModuleName, h.Address, back); err != nil {
		return nil, err
	}
	return &types.MsgRemoveResponse{Returned: uint64(back)}, emit(ctx, &types.EventHostGone{Address: h.Address})
}

// UpdateParams is for governance.
func (k MsgServer) UpdateParams(ctx context.Context, m *types.MsgUpdateParams) (_ *types.MsgUpdateParamsResponse, err error) {
	defer refusal.In(&err)
	if m.Authority != k.c.Authority {
		return nil, fault.New(fault.Unauthorized, "update hosts parameters: %s may, not %s", k.c.Authority, m.Authority)
	}
	if err := m.Params.Validate(); err != nil {
		return nil, err
	}
	return &types.MsgUpdateParamsResponse{}, k.params.Set(ctx, m.Params)
}

func (k Keeper) hostAndParams(ctx context.Context, address string) (types.Host, types.Params, error) {
	h, err := k.Host(ctx, address)
	if err != nil {
		return h, types.Params{}, err
	}
	p, err := k.params.Get(ctx)
	return h, p, err
}

func now(ctx context.Context) int64 { return sdk.UnwrapSDKContext(ctx).BlockTime().Unix() }
