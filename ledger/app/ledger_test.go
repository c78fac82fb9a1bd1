package app_test

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	abci "github.com/cometbft/cometbft/abci/types"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/client/tx"
	sdked25519 "github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	"github.com/cosmos/cosmos-sdk/crypto/keys/secp256k1"
	cryptotypes "github.com/cosmos/cosmos-sdk/crypto/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/bech32"
	"github.com/cosmos/cosmos-sdk/types/tx/signing"
	authsigning "github.com/cosmos/cosmos-sdk/x/auth/signing"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/gogoproto/proto"

	"hearth/core/money"
	"hearth/ledger/app"
)

// ledger is the application without CometBFT: its blocks are made by hand, and
// the laws hold after each.
type ledger struct {
	*app.App
	t       testing.TB
	chainID string
	time    time.Time
	nonce   int64

	misbehaved []abci.Misbehavior // told with the next block
}

// A person has an account key.
type person struct {
	key     cryptotypes.PrivKey
	address string
}

func secpPerson(name string) person { return personOf(secp256k1.GenPrivKeyFromSecret([]byte(name))) }

func personOf(key cryptotypes.PrivKey) person {
	return person{key, addressOf(key.PubKey().Address())}
}

// moduleAddress is the account of a module.
func moduleAddress(name string) string { return addressOf(authtypes.NewModuleAddress(name)) }

// addressOf needs no prefix set in the SDK's globals, and leaves nothing in the
// SDK's cache of addresses: tests come in any order.
func addressOf(raw []byte) string {
	address, err := bech32.ConvertAndEncode(app.Prefix, raw)
	if err != nil {
		panic(err)
	}
	return address
}

// edKey is a deterministic ed25519 key.
func edKey(name string) ed25519.PrivateKey {
	seed := sha256.Sum256([]byte(name))
	return ed25519.NewKeyFromSeed(seed[:])
}

func edPerson(name string) person { return personOf(&sdked25519.PrivKey{Key: edKey(name)}) }

const (
	start   = 1_800_000_000 // unix seconds
	fortune = 1_000_000_000_000
)

func genesis(people ...person) app.Genesis {
	g := app.Genesis{
		Params:     app.Local(),
		Time:       time.Unix(start, 0),
		Balances:   map[string]money.Amount{},
		Validators: []app.Validator{{Name: "one", Operator: secpPerson("validator").address, Key: edKey("consensus").Public().(ed25519.PublicKey), Stake: 100 * money.Ember}},
	}
	for _, p := range people {
		g.Balances[p.address] = fortune
	}
	return g
}

// newLedger is a ledger after its first block, on which each of people is rich.
func newLedger(t testing.TB, people ...person) *ledger {
	t.Helper()
	raw, err := genesis(people...).Build()
	if err != nil {
		t.Fatal(err)
	}
	return startLedger(t, raw)
}

func startLedger(t testing.TB, raw []byte) *ledger {
	t.Helper()
	l := openLedger(t, raw)
	l.lawful()
	return l
}

// openLedger doesn't look whether the laws hold.
func openLedger(t testing.TB, raw []byte) *ledger {
	t.Helper()
	doc, err := app.ReadGenesis(raw)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.New(app.Config{DB: dbm.NewMemDB(), ChainID: doc.ChainID, Home: t.TempDir(), CheckLaws: true})
	if err != nil {
		t.Fatal(err)
	}
	l := &ledger{App: a, t: t, chainID: doc.ChainID, time: doc.GenesisTime}
	params := doc.ConsensusParams.ToProto()
	var validators []*cmttypes.Validator
	for _, v := range doc.Validators {
		validators = append(validators, cmttypes.NewValidator(v.PubKey, v.Power))
	}
	if _, err := a.InitChain(&abci.RequestInitChain{
		ChainId: doc.ChainID, Time: doc.GenesisTime, ConsensusParams: &params, InitialHeight: doc.InitialHeight,
		Validators:    cmttypes.TM2PB.ValidatorUpdates(cmttypes.NewValidatorSet(validators)),
		AppStateBytes: doc.AppState,
	}); err != nil {
		t.Fatal(err)
	}
	l.finalize(doc.InitialHeight)
	return l
}

// block makes the next block, a second later, and checks the laws.
func (l *ledger) block(txs ...[]byte) []*abci.ExecTxResult {
	l.t.Helper()
	defer l.lawful()
	return l.finalize(l.LastBlockHeight()+1, txs...)
}

func (l *ledger) lawful() {
	l.t.Helper()
	if r := l.Report(); r.Broken != "" || !r.Checked {
		l.t.Fatalf("height %d: %s", r.Height, r.Broken)
	}
}

func validatorAddress() []byte {
	sum := sha256.Sum256(edKey("consensus").Public().(ed25519.PublicKey))
	return sum[:20]
}

func (l *ledger) finalize(height int64, txs ...[]byte) []*abci.ExecTxResult {
	l.t.Helper()
	l.time = l.time.Add(time.Second)
	hash := sha256.Sum256([]byte(fmt.Sprint("block ", height))) // of the height alone: the draws are the same whatever the genesis holds
	res, err := l.FinalizeBlock(&abci.RequestFinalizeBlock{
		Hash: hash[:], Height: height, Time: l.time, Txs: txs, ProposerAddress: validatorAddress(), Misbehavior: l.misbehaved,
		DecidedLastCommit: abci.CommitInfo{Votes: []abci.VoteInfo{{Validator: abci.Validator{Address: validatorAddress(), Power: 100}, BlockIdFlag: 2}}},
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.misbehaved = nil
	if _, err := l.Commit(); err != nil {
		l.t.Fatal(err)
	}
	return res.TxResults
}

// pass lets seconds go by.
func (l *ledger) pass(seconds int) { l.time = l.time.Add(time.Duration(seconds) * time.Second) }

func (l *ledger) now() int64 { return l.time.Unix() }

const txGas = 2_000_000

// tx is an unordered transaction signed by all of signers; the first one pays.
func (l *ledger) tx(msg sdk.Msg, signers ...person) []byte {
	l.t.Helper()
	return l.txWith(txGas, int64(app.MinFee(txGas)), "", msg, signers...)
}

func (l *ledger) txWith(gas uint64, fee int64, granter string, msg sdk.Msg, signers ...person) []byte {
	l.t.Helper()
	b := l.TxConfig.NewTxBuilder()
	if err := b.SetMsgs(msg); err != nil {
		l.t.Fatal(err)
	}
	b.SetGasLimit(gas)
	if fee > 0 {
		b.SetFeeAmount(sdk.NewCoins(sdk.NewInt64Coin(app.Denom, fee)))
	}
	if granter != "" {
		b.SetFeeGranter(sdk.MustAccAddressFromBech32(granter))
	}
	l.nonce++
	b.SetUnordered(true)
	b.SetTimeoutTimestamp(l.time.Add(time.Minute).Add(time.Duration(l.nonce)))
	const mode = signing.SignMode_SIGN_MODE_DIRECT
	sigs := make([]signing.SignatureV2, len(signers))
	for i, p := range signers {
		sigs[i] = signing.SignatureV2{PubKey: p.key.PubKey(), Data: &signing.SingleSignatureData{SignMode: mode}}
	}
	if err := b.SetSignatures(sigs...); err != nil {
		l.t.Fatal(err)
	}
	for i, p := range signers {
		number := uint64(0)
		var res authtypes.QueryAccountInfoResponse
		if l.query("/cosmos.auth.v1beta1.Query/AccountInfo", &authtypes.QueryAccountInfoRequest{Address: p.address}, &res) {
			number = res.Info.AccountNumber
		}
		signer := authsigning.SignerData{Address: p.address, ChainID: l.chainID, AccountNumber: number, PubKey: p.key.PubKey()}
		sig, err := tx.SignWithPrivKey(context.Background(), mode, signer, b, p.key, l.TxConfig, 0)
		if err != nil {
			l.t.Fatal(err)
		}
		sigs[i] = sig
	}
	if err := b.SetSignatures(sigs...); err != nil {
		l.t.Fatal(err)
	}
	raw, err := l.TxConfig.TxEncoder()(b.GetTx())
	if err != nil {
		l.t.Fatal(err)
	}
	return raw
}

// query asks the ledger, and says whether it answered.
func (l *ledger) query(path string, req, res proto.Message) bool {
	l.t.Helper()
	data, err := proto.Marshal(req)
	if err != nil {
		l.t.Fatal(err)
	}
	r, err := l.Query(context.Background(), &abci.RequestQuery{Path: path, Data: data})
	if err != nil {
		l.t.Fatal(err)
	}
	if r.Code != 0 {
		return false
	}
	if err := proto.Unmarshal(r.Value, res); err != nil {
		l.t.Fatal(err)
	}
	return true
}

// do carries one message out in a block of its own.
func (l *ledger) do(msg sdk.Msg, signers ...person) *abci.ExecTxResult {
	l.t.Helper()
	return l.block(l.tx(msg, signers...))[0]
}

// must is do for what has to succeed.
func (l *ledger) must(msg sdk.Msg, signers ...person) *abci.ExecTxResult {
	l.t.Helper()
	r := l.do(msg, signers...)
	if r.Code != 0 {
		l.t.Fatalf("%s: %s", sdk.MsgTypeURL(msg), r.Log)
	}
	return r
}

// refuse is do for what has to be refused with a fault's code.
func (l *ledger) refuse(code string, msg sdk.Msg, signers ...person) {
	l.t.Helper()
	r := l.do(msg, signers...)
	if r.Code == 0 || !strings.HasPrefix(r.Log, code+": ") {
		l.t.Errorf("%s: code %d, %q, want %s", sdk.MsgTypeURL(msg), r.Code, r.Log, code)
	}
}

func jsonOf(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
