package node

import (
	"context"
	"fmt"
	"sync"
	"time"

	"cosmossdk.io/math"
	abci "github.com/cometbft/cometbft/abci/types"
	cmtclient "github.com/cometbft/cometbft/rpc/client"
	"github.com/cosmos/cosmos-sdk/client/tx"
	"github.com/cosmos/cosmos-sdk/codec/address"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	sdk "github.com/cosmos/cosmos-sdk/types"
	sdkerrors "github.com/cosmos/cosmos-sdk/types/errors"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"

	"hearth/core/fault"
	"hearth/ledger/app"
	"hearth/ledger/front"
)

// granter pays newcomers' first fees from the node's sponsor account. An account
// the ledger knows is no newcomer: a grant makes it known, so one key gets one.
type granter struct {
	app     *app.App
	rpc     rpc
	key     *secp256k1.PrivKey
	address string
	chainID string
	s       Sponsor

	mu    sync.Mutex
	nonce time.Time // of the newest unordered transaction
}

// rpc is what a granter needs of the node.
type rpc interface {
	cmtclient.ABCIClient
	cmtclient.SignClient
}

func newGranter(a *app.App, r rpc, key *secp256k1.PrivKey, chainID string, s Sponsor) (*granter, error) {
	own, err := addressOf(key)
	return &granter{app: a, rpc: r, key: key, address: own, chainID: chainID, s: s}, err
}

const grantGas = 250_000

// Grant implements front.Granter.
func (g *granter) Grant(ctx context.Context, to string) (front.Granted, error) {
	if raw, err := address.NewBech32Codec(app.Prefix).StringToBytes(to); err != nil || len(raw) != 20 {
		return front.Granted{}, fault.New(fault.BadRequest, "sponsor %q: not an account's address", to)
	}
	if _, known, err := g.account(ctx, to); err != nil || known {
		if err == nil {
			err = fault.New(fault.SponsorRefused, "sponsor %s: the ledger knows this account already", to)
		}
		return front.Granted{}, err
	}
	number, known, err := g.account(ctx, g.address)
	if err != nil || !known {
		if err == nil {
			err = fault.New(fault.SponsorRefused, "sponsor %s: this node's sponsor %s has no money", to, g.address)
		}
		return front.Granted{}, err
	}
	raw, err := g.transaction(ctx, to, number)
	if err != nil {
		return front.Granted{}, fmt.Errorf("sponsor %s: %w", to, err)
	}
	res, err := g.rpc.BroadcastTxSync(ctx, raw)
	if err != nil {
		return front.Granted{}, fmt.Errorf("sponsor %s: %w", to, err)
	}
	if res.Codespace == sdkerrors.RootCodespace && res.Code == sdkerrors.ErrInsufficientFunds.ABCICode() {
		return front.Granted{}, fault.New(fault.SponsorRefused, "sponsor %s: this node's sponsor %s has no money", to, g.address)
	}
	if res.Code != 0 {
		return front.Granted{}, fault.New(fault.TxRefused, "sponsor %s: %s", to, res.Log)
	}
	return front.Granted{Granter: g.address, Tx: res.Hash.String()}, g.await(ctx, res.Hash)
}

// account asks the application for an account's number.
func (g *granter) account(ctx context.Context, of string) (number uint64, known bool, err error) {
	data, err := (&authtypes.QueryAccountInfoRequest{Address: of}).Marshal()
	if err != nil {
		return 0, false, err
	}
	res, err := g.app.Query(ctx, &abci.RequestQuery{Path: "/cosmos.auth.v1beta1.Query/AccountInfo", Data: data})
	if err != nil {
		return 0, false, fmt.Errorf("ask for account %s: %w", of, err)
	}
	if res.Code != 0 { // there is no other way to fail on a well-formed address
		return 0, false, nil
	}
	var info authtypes.QueryAccountInfoResponse
	if err := info.Unmarshal(res.Value); err != nil {
		return 0, false, fmt.Errorf("ask for account %s: %w", of, err)
	}
	return info.Info.AccountNumber, true, nil
}

// transaction signs an allowance for to. Unordered: several may be on their way.
func (g *granter) transaction(ctx context.Context, to string, number uint64) ([]byte, error) {
	until := time.Now().Add(time.Duration(g.s.Days) * 24 * time.Hour)
	allowance := &feegrant.BasicAllowance{
		SpendLimit: sdk.NewCoins(sdk.NewCoin(app.Denom, math.NewIntFromUint64(g.s.Allowance))),
		Expiration: &until,
	}
	from, err := sdk.AccAddressFromBech32(g.address)
	if err != nil {
		return nil, err
	}
	grantee, err := sdk.AccAddressFromBech32(to)
	if err != nil {
		return nil, err
	}
	msg, err := feegrant.NewMsgGrantAllowance(allowance, from, grantee)
	if err != nil {
		return nil, err
	}
	b := g.app.TxConfig.NewTxBuilder()
	if err := b.SetMsgs(msg); err != nil {
		return nil, err
	}
	b.SetGasLimit(grantGas)
	b.SetFeeAmount(sdk.NewCoins(sdk.NewCoin(app.Denom, math.NewIntFromUint64(app.MinFee(grantGas)))))
	b.SetUnordered(true)
	b.SetTimeoutTimestamp(g.timeout())
	const mode = signing.SignMode_SIGN_MODE_DIRECT
	if err := b.SetSignatures(signing.SignatureV2{PubKey: g.key.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}}); err != nil {
		return nil, err
	}
	signer := authsigning.SignerData{Address: g.address, ChainID: g.chainID, AccountNumber: number, PubKey: g.key.PubKey()}
	sig, err := tx.SignWithPrivKey(ctx, mode, signer, b, g.key, g.app.TxConfig, 0)
	if err != nil {
		return nil, err
	}
	if err := b.SetSignatures(sig); err != nil {
		return nil, err
	}
	return g.app.TxConfig.TxEncoder()(b.GetTx())
}

// timeout is a minute ahead, and another nanosecond for each transaction.
func (g *granter) timeout() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	t := time.Now().Add(time.Minute)
	if !t.After(g.nonce) {
		t = g.nonce.Add(1)
	}
	g.nonce = t
	return t
}

// await returns when the transaction stands in a block.
func (g *granter) await(ctx context.Context, hash []byte) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		if res, err := g.rpc.Tx(ctx, hash, false); err == nil {
			if res.TxResult.Code != 0 {
				return fault.New(fault.TxRefused, "sponsor: %s", res.TxResult.Log)
			}
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.LedgerDown, "sponsor: transaction %x isn't in a block yet: %w", hash, ctx.Err())
		case <-tick.C:
		}
	}
}
