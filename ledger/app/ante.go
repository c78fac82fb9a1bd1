package app

import (
	"context"
	"strings"

	abci "github.com/cometbft/cometbft/abci/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	"github.com/cosmos/cosmos-sdk/x/auth/ante"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"

	"hearth/core/fault"
	"hearth/ledger/refusal"
)

// GasPerUember is how much gas one uember buys: the least price of gas is
// 0.001 uember, for everybody and in every block. It is a rule of the ledger,
// not a validator's setting.
const GasPerUember = 1000

// MinFee is the least fee for so much gas, in uember.
func MinFee(gas uint64) uint64 {
	fee := gas / GasPerUember
	if gas%GasPerUember > 0 {
		fee++
	}
	return fee
}

// anteHandler is what every transaction must pass before its messages run.
// SetUpContext must come first, the keys before the signatures.
func (a *App) anteHandler() sdk.AnteHandler {
	return sdk.ChainAnteDecorators(
		ante.NewSetUpContextDecorator(),
		ante.NewExtensionOptionsDecorator(nil),
		ante.NewValidateBasicDecorator(),
		ante.NewTxTimeoutHeightDecorator(),
		ante.NewValidateMemoDecorator(a.accounts),
		ante.NewConsumeGasForTxSizeDecorator(a.accounts),
		ante.NewDeductFeeDecorator(a.accounts, a.bank, a.fees, checkFee),
		ante.NewSetPubKeyDecorator(a.accounts),
		ante.NewValidateSigCountDecorator(a.accounts),
		ante.NewSigGasConsumeDecorator(a.accounts, consumeSigGas),
		ante.NewSigVerificationDecorator(a.accounts, a.TxConfig.SignModeHandler()),
		ante.NewIncrementSequenceDecorator(a.accounts),
	)
}

// checkFee asks for the least price of gas and gives priority by price.
func checkFee(_ sdk.Context, tx sdk.Tx) (sdk.Coins, int64, error) {
	t, ok := tx.(sdk.FeeTx)
	if !ok {
		return nil, 0, sdkerrors.ErrTxDecode.Wrap("not a FeeTx")
	}
	fee, least := t.GetFee(), MinFee(t.GetGas())
	if len(fee) != 1 || fee[0].Denom != Denom || !fee[0].Amount.IsUint64() {
		return nil, 0, refusal.Of(fault.New(fault.NoFunds, "fee %q: want %duember for %d gas", fee, least, t.GetGas()))
	}
	paid := fee[0].Amount.Uint64()
	if paid < least {
		return nil, 0, refusal.Of(fault.New(fault.NoFunds, "fee %q: want at least %duember for %d gas", fee, least, t.GetGas()))
	}
	return fee, int64(paid / max(least, 1)), nil
}

// consumeSigGas charges for a signature. Accounts sign with secp256k1, the keys
// of devices with ed25519; several keys on one account are not offered.
func consumeSigGas(meter storetypes.GasMeter, sig signing.SignatureV2, p authtypes.Params) error {
	switch key := sig.PubKey.(type) {
	case *secp256k1.PubKey:
		meter.ConsumeGas(p.SigVerifyCostSecp256k1, "verify secp256k1")
	case *ed25519.PubKey:
		meter.ConsumeGas(p.SigVerifyCostED25519, "verify ed25519")
	default:
		return sdkerrors.ErrInvalidPubKey.Wrapf("signature by a %T", key)
	}
	return nil
}

// FinalizeBlock runs a block. Our refusals lose the SDK's words in front, so that
// their logs start with the fault's code. Logs aren't part of the block's hash.
func (a *App) FinalizeBlock(req *abci.RequestFinalizeBlock) (*abci.ResponseFinalizeBlock, error) {
	res, err := a.BaseApp.FinalizeBlock(req)
	if err != nil {
		return nil, err
	}
	for _, r := range res.TxResults {
		if r.Codespace == refusal.Codespace {
			r.Log = trimLog(r.Log)
		}
	}
	return res, nil
}

// Query answers a question about the state; what is refused in a simulation
// starts with the fault's code as well. /hearth/laws tells how the laws stand.
func (a *App) Query(ctx context.Context, req *abci.RequestQuery) (*abci.ResponseQuery, error) {
	if req.Path == lawsPath {
		return a.queryLaws(), nil
	}
	res, err := a.BaseApp.Query(ctx, req)
	if err == nil && res.Code != 0 {
		res.Log = trimLog(res.Log)
	}
	return res, err
}

// trimLog drops what the SDK writes before a message's error.
func trimLog(log string) string {
	const words = "failed to execute message; message index: "
	_, after, found := strings.Cut(log, words)
	if !found {
		return log
	}
	_, after, found = strings.Cut(after, ": ")
	if !found {
		return log
	}
	return after
}
