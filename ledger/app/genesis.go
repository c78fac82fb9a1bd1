package app

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"cosmossdk.io/math"
	cmted25519 "github.com/cometbft/cometbft/crypto/ed25519"
	cmtjson "github.com/cometbft/cometbft/libs/json"
	cmttypes "github.com/cometbft/cometbft/types"
	dbm "github.com/cosmos/cosmos-db"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"
	sdk "github.com/cosmos/cosmos-sdk/types"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	govv1 "github.com/cosmos/cosmos-sdk/x/gov/types/v1"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	"github.com/cosmos/gogoproto/proto"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/network"
	hoststypes "hearth/ledger/hosts/types"
	markettypes "hearth/ledger/market/types"
	proofstypes "hearth/ledger/proofs/types"
)

// Params are what differs between networks.
type Params struct {
	Hosts  hoststypes.Params
	Market markettypes.Params
	Proofs proofstypes.Params // a start of 0: with the genesis
	// Unbonding is how long stake waits, and bounds the age of evidence.
	Unbonding time.Duration
	// Voting is how long a proposal is voted on.
	Voting time.Duration
	// MinDeposit is what a proposal must put down.
	MinDeposit money.Amount
}

// Main are the parameters of a network for good.
func Main() Params {
	return Params{
		Hosts: hoststypes.Main(), Market: markettypes.Main(), Proofs: proofstypes.Main(0),
		Unbonding: 14 * 24 * time.Hour, Voting: 5 * 24 * time.Hour, MinDeposit: 1000 * money.Ember,
	}
}

// Local are those of a cloud on one machine. Stake waits as long as on a network
// for good: light clients trust for two thirds of it.
func Local() Params {
	return Params{
		Hosts: hoststypes.Local(), Market: markettypes.Local(), Proofs: proofstypes.Local(0),
		Unbonding: 14 * 24 * time.Hour, Voting: 30 * time.Second, MinDeposit: 1 * money.Ember,
	}
}

// A Validator signs blocks from the first one on.
type Validator struct {
	Name     string
	Operator string // the account that owns its stake
	Key      []byte // ed25519 consensus key
	Stake    money.Amount
}

// Genesis is what a network starts with.
type Genesis struct {
	Params     Params
	Time       time.Time
	Balances   map[string]money.Amount // by account; stakes are on top
	Validators []Validator             // at least one
}

// stakePerPower is how much stake is one unit of voting power, as in the SDK.
const stakePerPower = money.Ember

// Build returns the genesis document as JSON, with the chain id that follows from it.
func (g Genesis) Build() ([]byte, error) {
	a, err := New(Config{DB: dbm.NewMemDB()})
	if err != nil {
		return nil, err
	}
	state, err := a.genesisState(g)
	if err != nil {
		return nil, err
	}
	doc := &cmttypes.GenesisDoc{
		GenesisTime:     g.Time.UTC(),
		ConsensusParams: consensusParams(g.Params),
		AppState:        state,
	}
	for _, v := range g.Validators {
		doc.Validators = append(doc.Validators, cmttypes.GenesisValidator{
			PubKey: cmted25519.PubKey(v.Key), Power: int64(v.Stake / stakePerPower), Name: v.Name,
		})
	}
	return finishGenesis(doc)
}

// finishGenesis completes the document and gives it its chain id.
func finishGenesis(doc *cmttypes.GenesisDoc) ([]byte, error) {
	doc.ChainID = "hearth-unnamed" // the check asks for one
	if err := doc.ValidateAndComplete(); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	raw, err := cmtjson.Marshal(doc)
	if err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if doc.ChainID, err = network.ChainID(raw); err != nil {
		return nil, err
	}
	return cmtjson.MarshalIndent(doc, "", " ")
}

func consensusParams(p Params) *cmttypes.ConsensusParams {
	c := cmttypes.DefaultConsensusParams()
	c.Block.MaxBytes = 4 << 20
	c.Block.MaxGas = 40_000_000
	c.Validator.PubKeyTypes = []string{cmttypes.ABCIPubKeyTypeEd25519}
	c.Evidence.MaxAgeDuration = p.Unbonding
	return c
}

// genesisState is the first state of every module.
func (a *App) genesisState(g Genesis) (json.RawMessage, error) {
	state := a.basics.DefaultGenesis(a.Codec)
	staking, infos, err := g.staking()
	if err != nil {
		return nil, err
	}
	accounts, bank, err := g.bank()
	if err != nil {
		return nil, err
	}
	slashing := slashingtypes.DefaultGenesisState()
	slashing.SigningInfos = infos
	gov := govv1.DefaultGenesisState()
	quick := g.Params.Voting / 2
	deposit := sdk.NewCoins(sdk.NewCoin(Denom, math.NewIntFromUint64(uint64(g.Params.MinDeposit))))
	gov.Params.VotingPeriod, gov.Params.MaxDepositPeriod, gov.Params.ExpeditedVotingPeriod = &g.Params.Voting, &g.Params.Voting, &quick
	gov.Params.MinDeposit, gov.Params.ExpeditedMinDeposit = deposit, deposit.MulInt(math.NewInt(5))
	distr := distrtypes.DefaultGenesisState()

	a.put(state, authtypes.ModuleName, authtypes.NewGenesisState(authtypes.DefaultParams(), accounts))
	a.put(state, banktypes.ModuleName, bank)
	a.put(state, stakingtypes.ModuleName, staking)
	a.put(state, slashingtypes.ModuleName, slashing)
	a.put(state, distrtypes.ModuleName, distr)
	a.put(state, govtypes.ModuleName, gov)
	a.put(state, hoststypes.ModuleName, &hoststypes.GenesisState{Params: g.Params.Hosts})
	a.put(state, markettypes.ModuleName, &markettypes.GenesisState{Params: g.Params.Market, NextId: 1})
	if g.Params.Proofs.Start == 0 {
		g.Params.Proofs.Start = g.Time.Unix()
	}
	a.put(state, proofstypes.ModuleName, &proofstypes.GenesisState{Params: g.Params.Proofs})
	if err := a.basics.ValidateGenesis(a.Codec, a.TxConfig, state); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	return json.Marshal(state)
}

func (a *App) put(state map[string]json.RawMessage, module string, m proto.Message) {
	state[module] = a.Codec.MustMarshalJSON(m)
}

// staking places the validators directly: bonded from the first block, so that
// the document's list of validators and the state say the same.
func (g Genesis) staking() (*stakingtypes.GenesisState, []slashingtypes.SigningInfo, error) {
	params := stakingtypes.DefaultParams()
	params.BondDenom, params.UnbondingTime = Denom, g.Params.Unbonding
	out := &stakingtypes.GenesisState{Params: params, LastTotalPower: math.ZeroInt()}
	var infos []slashingtypes.SigningInfo
	if len(g.Validators) == 0 {
		return nil, nil, errors.New("genesis: no validator")
	}
	for _, v := range g.Validators {
		owner, err := sdk.AccAddressFromBech32(v.Operator)
		if err != nil {
			return nil, nil, fault.New(fault.BadRequest, "genesis: operator %q: %w", v.Operator, err)
		}
		if len(v.Key) != ed25519.PubKeySize || v.Stake < stakePerPower {
			return nil, nil, fault.New(fault.BadRequest, "genesis: validator %s: key of %d bytes, stake of %d uember", v.Name, len(v.Key), v.Stake)
		}
		key := &ed25519.PubKey{Key: v.Key}
		packed, err := codectypes.NewAnyWithValue(key)
		if err != nil {
			return nil, nil, err
		}
		stake := math.NewIntFromUint64(uint64(v.Stake))
		out.Validators = append(out.Validators, stakingtypes.Validator{
			OperatorAddress: sdk.ValAddress(owner).String(),
			ConsensusPubkey: packed,
			Status:          stakingtypes.Bonded,
			Tokens:          stake,
			DelegatorShares: math.LegacyNewDecFromInt(stake),
			Description:     stakingtypes.Description{Moniker: v.Name},
			UnbondingTime:   time.Unix(0, 0).UTC(),
			Commission: stakingtypes.NewCommission(
				math.LegacyNewDecWithPrec(5, 2), math.LegacyNewDecWithPrec(20, 2), math.LegacyNewDecWithPrec(1, 2)),
			MinSelfDelegation: math.OneInt(),
		})
		out.Delegations = append(out.Delegations, stakingtypes.NewDelegation(
			owner.String(), sdk.ValAddress(owner).String(), math.LegacyNewDecFromInt(stake)))
		cons := sdk.ConsAddress(key.Address())
		infos = append(infos, slashingtypes.SigningInfo{
			Address: cons.String(), ValidatorSigningInfo: slashingtypes.NewValidatorSigningInfo(cons, 0, 0, time.Unix(0, 0).UTC(), false, 0),
		})
	}
	return out, infos, nil
}

// bank is who has what.
func (g Genesis) bank() (authtypes.GenesisAccounts, *banktypes.GenesisState, error) {
	var accounts authtypes.GenesisAccounts
	bank := banktypes.DefaultGenesisState()
	var supply money.Amount
	fits := true
	give := func(address string, amount money.Amount) {
		if amount == 0 {
			return
		}
		coins := sdk.NewCoins(sdk.NewCoin(Denom, math.NewIntFromUint64(uint64(amount))))
		bank.Balances = append(bank.Balances, banktypes.Balance{Address: address, Coins: coins})
		bank.Supply = bank.Supply.Add(coins...)
		var ok bool
		supply, ok = money.Add(supply, amount)
		fits = fits && ok
	}
	known := map[string]bool{}
	account := func(address string) error {
		who, err := sdk.AccAddressFromBech32(address)
		if err != nil {
			return fault.New(fault.BadRequest, "genesis: account %q: %w", address, err)
		}
		if !known[address] {
			known[address] = true
			accounts = append(accounts, authtypes.NewBaseAccount(who, nil, 0, 0))
		}
		return nil
	}
	// In order: equal inputs make equal documents, and Sanitize below only
	// numbers accounts that have no number yet.
	for _, address := range slices.Sorted(maps.Keys(g.Balances)) {
		if err := account(address); err != nil {
			return nil, nil, err
		}
		give(address, g.Balances[address])
	}
	var staked money.Amount
	for _, v := range g.Validators {
		if err := account(v.Operator); err != nil {
			return nil, nil, err
		}
		staked = money.AddCap(staked, v.Stake)
	}
	give(authtypes.NewModuleAddress(stakingtypes.BondedPoolName).String(), staked)
	if !fits {
		return nil, nil, fault.New(fault.BadRequest, "genesis: the supply doesn't fit 64 bits")
	}
	accounts = authtypes.SanitizeGenesisAccounts(accounts)
	bank.Balances = banktypes.SanitizeGenesisBalances(bank.Balances)
	return accounts, bank, nil
}

// ReadGenesis reads a genesis document and checks that its chain id is the one
// that follows from it.
func ReadGenesis(raw []byte) (*cmttypes.GenesisDoc, error) {
	id, err := network.ChainID(raw)
	if err != nil {
		return nil, err
	}
	doc, err := cmttypes.GenesisDocFromJSON(bytes.TrimSpace(raw))
	if err != nil {
		return nil, fault.New(fault.WrongNetwork, "read genesis: %w", err)
	}
	if doc.ChainID != id {
		return nil, fault.New(fault.WrongNetwork, "read genesis: it says %s and hashes to %s", doc.ChainID, id)
	}
	return doc, nil
}
