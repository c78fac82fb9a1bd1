package app

import (
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	proofstypes "hearth/ledger/proofs/types"
)

// maxAnswerGas bounds what a returned fee has paid for: five leaves of large
// leases take about 600,000.
const maxAnswerGas = 3_000_000

// returnFee gives the fee of a right answer back to whoever paid it: proving
// storage costs an honest host nothing. There is one such answer a host and
// period, so nobody can fill blocks for free.
func (a *App) returnFee(ctx sdk.Context, tx sdk.Tx, _, success bool) (sdk.Context, error) {
	t, ok := tx.(sdk.FeeTx)
	if !ok || !success || t.GetGas() > maxAnswerGas || len(tx.GetMsgs()) != 1 {
		return ctx, nil
	}
	if _, ok := tx.GetMsgs()[0].(*proofstypes.MsgAnswer); !ok {
		return ctx, nil
	}
	payer := sdk.AccAddress(t.FeePayer())
	if g := t.FeeGranter(); len(g) > 0 {
		payer = g
	}
	if t.GetFee().IsZero() {
		return ctx, nil
	}
	return ctx, a.bank.SendCoinsFromModuleToAccount(ctx, authtypes.FeeCollectorName, payer, t.GetFee())
}
