// Package app wires the SDK's modules and our own into one ABCI application.
//
// The wiring is by hand: one keeper after the other, in the order they need each
// other, then one list per moment (genesis, begin, end). Nothing is injected.
// There is no x/mint: the supply is what the genesis says.
package app

import (
	"encoding/json"
	"errors"
	"fmt"
	"sync"

	coreaddress "cosmossdk.io/core/address"
	corestore "cosmossdk.io/core/store"
	"cosmossdk.io/log/v2"
	abci "github.com/cometbft/cometbft/abci/types"
	dbm "github.com/cosmos/cosmos-db"
	"github.com/cosmos/cosmos-sdk/baseapp"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	"github.com/cosmos/cosmos-sdk/codec/address"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	"github.com/cosmos/cosmos-sdk/runtime"
	"github.com/cosmos/cosmos-sdk/std"
	storetypes "github.com/cosmos/cosmos-sdk/store/v2/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/cosmos/cosmos-sdk/x/auth"
	authkeeper "github.com/cosmos/cosmos-sdk/x/auth/keeper"
	authtx "github.com/cosmos/cosmos-sdk/x/auth/tx"
	authtypes "github.com/cosmos/cosmos-sdk/x/auth/types"
	"github.com/cosmos/cosmos-sdk/x/authz"
	authzkeeper "github.com/cosmos/cosmos-sdk/x/authz/keeper"
	authzmodule "github.com/cosmos/cosmos-sdk/x/authz/module"
	"github.com/cosmos/cosmos-sdk/x/bank"
	bankkeeper "github.com/cosmos/cosmos-sdk/x/bank/keeper"
	banktypes "github.com/cosmos/cosmos-sdk/x/bank/types"
	"github.com/cosmos/cosmos-sdk/x/consensus"
	consensuskeeper "github.com/cosmos/cosmos-sdk/x/consensus/keeper"
	consensustypes "github.com/cosmos/cosmos-sdk/x/consensus/types"
	distr "github.com/cosmos/cosmos-sdk/x/distribution"
	distrkeeper "github.com/cosmos/cosmos-sdk/x/distribution/keeper"
	distrtypes "github.com/cosmos/cosmos-sdk/x/distribution/types"
	"github.com/cosmos/cosmos-sdk/x/evidence"
	evidencekeeper "github.com/cosmos/cosmos-sdk/x/evidence/keeper"
	evidencetypes "github.com/cosmos/cosmos-sdk/x/evidence/types"
	"github.com/cosmos/cosmos-sdk/x/feegrant"
	feegrantkeeper "github.com/cosmos/cosmos-sdk/x/feegrant/keeper"
	feegrantmodule "github.com/cosmos/cosmos-sdk/x/feegrant/module"
	"github.com/cosmos/cosmos-sdk/x/gov"
	govkeeper "github.com/cosmos/cosmos-sdk/x/gov/keeper"
	govtypes "github.com/cosmos/cosmos-sdk/x/gov/types"
	"github.com/cosmos/cosmos-sdk/x/slashing"
	slashingkeeper "github.com/cosmos/cosmos-sdk/x/slashing/keeper"
	slashingtypes "github.com/cosmos/cosmos-sdk/x/slashing/types"
	"github.com/cosmos/cosmos-sdk/x/staking"
	stakingkeeper "github.com/cosmos/cosmos-sdk/x/staking/keeper"
	stakingtypes "github.com/cosmos/cosmos-sdk/x/staking/types"
	"github.com/cosmos/cosmos-sdk/x/tx/signing"
	"github.com/cosmos/cosmos-sdk/x/upgrade"
	upgradekeeper "github.com/cosmos/cosmos-sdk/x/upgrade/keeper"
	upgradetypes "github.com/cosmos/cosmos-sdk/x/upgrade/types"
	"github.com/cosmos/gogoproto/proto"

	"hearth/ledger/hosts"
	hostskeeper "hearth/ledger/hosts/keeper"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/market"
	marketkeeper "hearth/ledger/market/keeper"
	markettypes "hearth/ledger/market/types"
	"hearth/ledger/pointers"
	pointerskeeper "hearth/ledger/pointers/keeper"
	pointerstypes "hearth/ledger/pointers/types"
	"hearth/ledger/proofs"
	proofskeeper "hearth/ledger/proofs/keeper"
	proofstypes "hearth/ledger/proofs/types"
)

const (
	// Prefix starts every address: hearth1..., hearthvaloper1..., hearthvalcons1...
	Prefix = "hearth"
	// Denom is the coin's smallest unit.
	Denom = "uember"
)

// setSDK sets what the SDK keeps in globals of its own: prefixes and the default
// denomination. New calls it; once is enough for a process.
var setSDK = sync.OnceFunc(func() {
	c := sdk.GetConfig()
	c.SetBech32PrefixForAccount(Prefix, Prefix+"pub")
	c.SetBech32PrefixForValidator(Prefix+"valoper", Prefix+"valoperpub")
	c.SetBech32PrefixForConsensusNode(Prefix+"valcons", Prefix+"valconspub")
	c.Seal()
	sdk.DefaultBondDenom = Denom
})

// moduleAccounts lists the accounts that belong to modules, and what they may do.
func moduleAccounts() map[string][]string {
	return map[string][]string{
		authtypes.FeeCollectorName:     nil,
		distrtypes.ModuleName:          nil,
		stakingtypes.BondedPoolName:    {authtypes.Burner, authtypes.Staking},
		stakingtypes.NotBondedPoolName: {authtypes.Burner, authtypes.Staking},
		govtypes.ModuleName:            {authtypes.Burner},
		hoststypes.ModuleName:          nil,
		markettypes.ModuleName:         nil,
	}
}

// blockedAddresses may not be sent coins by hand: only modules may pay into them.
func blockedAddresses() map[string]bool {
	blocked := make(map[string]bool)
	for name := range moduleAccounts() {
		if name != govtypes.ModuleName {
			blocked[authtypes.NewModuleAddress(name).String()] = true
		}
	}
	return blocked
}

// App is the ledger's state machine.
type App struct {
	*baseapp.BaseApp
	Codec    codec.Codec
	TxConfig client.TxConfig

	modules  *module.Manager
	basics   module.BasicManager
	accounts authkeeper.AccountKeeper
	bank     bankkeeper.BaseKeeper
	staking  *stakingkeeper.Keeper
	distr    distrkeeper.Keeper
	slashing slashingkeeper.Keeper
	evidence *evidencekeeper.Keeper
	gov      *govkeeper.Keeper
	fees     feegrantkeeper.Keeper
	authz    authzkeeper.Keeper
	upgrade  *upgradekeeper.Keeper
	params   consensuskeeper.Keeper
	hosts    hostskeeper.Keeper
	market   marketkeeper.Keeper
	pointers pointerskeeper.Keeper
	proofs   proofskeeper.Keeper
	laws     *lawBook // nil: laws aren't checked
}

// Config is what an App is made of.
type Config struct {
	DB        dbm.DB     // required; Close closes it
	ChainID   string     // required to run blocks, not to make a genesis
	Home      string     // where x/upgrade writes its plans
	Log       log.Logger // default: discard
	CheckLaws bool       // check the laws of the bargain after every block, see Laws
	Options   []func(*baseapp.BaseApp)
}

// New builds the application and loads its latest state.
func New(c Config) (*App, error) {
	if c.DB == nil {
		return nil, errors.New("ledger: no database")
	}
	setSDK()
	if c.Log == nil {
		c.Log = log.NewNopLogger()
	}
	addresses := address.NewBech32Codec(Prefix)
	registry, err := codectypes.NewInterfaceRegistryWithOptions(codectypes.InterfaceRegistryOptions{
		ProtoFiles:     proto.HybridResolver,
		SigningOptions: signing.Options{AddressCodec: addresses, ValidatorAddressCodec: address.NewBech32Codec(Prefix + "valoper")},
	})
	if err != nil {
		return nil, fmt.Errorf("interface registry: %w", err)
	}
	std.RegisterInterfaces(registry)
	cdc := codec.NewProtoCodec(registry)
	amino := codec.NewLegacyAmino()
	std.RegisterLegacyAminoCodec(amino)
	txConfig := authtx.NewTxConfig(cdc, authtx.DefaultSignModes)

	options := append([]func(*baseapp.BaseApp){baseapp.SetChainID(c.ChainID)}, c.Options...)
	base := baseapp.NewBaseApp("hearth", c.Log, c.DB, txConfig.TxDecoder(), options...)
	base.SetInterfaceRegistry(registry)
	base.SetTxEncoder(txConfig.TxEncoder())
	a := &App{BaseApp: base, Codec: cdc, TxConfig: txConfig}
	if c.CheckLaws {
		a.laws = new(lawBook)
	}

	keys := storeKeys()
	if err := a.makeKeepers(c, keys, addresses, amino); err != nil {
		return nil, err
	}
	a.makeModules(addresses, registry)
	a.basics.RegisterInterfaces(registry)
	a.basics.RegisterLegacyAminoCodec(amino)
	a.order()
	if err := a.modules.RegisterServices(module.NewConfigurator(cdc, base.MsgServiceRouter(), base.GRPCQueryRouter())); err != nil {
		return nil, fmt.Errorf("services: %w", err)
	}
	// cosmos.tx.v1beta1.Service/Simulate, so that clients can ask for gas.
	authtx.RegisterTxService(base.GRPCQueryRouter(), client.Context{}, base.Simulate, registry)

	base.SetAnteHandler(a.anteHandler())
	base.SetPostHandler(a.returnFee)
	base.MountKVStores(keys)
	base.SetInitChainer(a.initChain)
	base.SetPreBlocker(func(ctx sdk.Context, _ *abci.RequestFinalizeBlock) (*sdk.ResponsePreBlock, error) {
		return a.modules.PreBlock(ctx)
	})
	base.SetBeginBlocker(a.modules.BeginBlock)
	base.SetEndBlocker(a.endBlock)
	if err := base.LoadLatestVersion(); err != nil {
		return nil, fmt.Errorf("load state: %w", err)
	}
	return a, nil
}

func storeKeys() map[string]*storetypes.KVStoreKey {
	return storetypes.NewKVStoreKeys(
		authtypes.StoreKey, banktypes.StoreKey, stakingtypes.StoreKey, slashingtypes.StoreKey, distrtypes.StoreKey,
		evidencetypes.StoreKey, govtypes.StoreKey, upgradetypes.StoreKey, feegrant.StoreKey, authzkeeper.StoreKey, consensustypes.StoreKey,
		hoststypes.ModuleName, markettypes.ModuleName,
		pointerstypes.ModuleName, proofstypes.ModuleName,
	)
}

// makeKeepers makes one keeper after the other. Governance is the authority over
// every module's parameters.
func (a *App) makeKeepers(c Config, keys map[string]*storetypes.KVStoreKey, addresses coreaddress.Codec, amino *codec.LegacyAmino) (err error) {
	cdc, base := a.Codec, a.BaseApp
	authority := authtypes.NewModuleAddress(govtypes.ModuleName).String()
	store := func(name string) corestore.KVStoreService { return runtime.NewKVStoreService(keys[name]) }

	a.params = consensuskeeper.NewKeeper(cdc, store(consensustypes.StoreKey), authority, runtime.EventService{})
	base.SetParamStore(a.params.ParamsStore)
	a.accounts = authkeeper.NewAccountKeeper(cdc, store(authtypes.StoreKey), authtypes.ProtoBaseAccount, moduleAccounts(),
		addresses, Prefix, authority, authkeeper.WithUnorderedTransactions(true))
	a.bank = bankkeeper.NewBaseKeeper(cdc, store(banktypes.StoreKey), a.accounts, blockedAddresses(), authority, c.Log)
	a.staking = stakingkeeper.NewKeeper(cdc, store(stakingtypes.StoreKey), a.accounts, a.bank, authority,
		address.NewBech32Codec(Prefix+"valoper"), address.NewBech32Codec(Prefix+"valcons"))
	a.distr = distrkeeper.NewKeeper(cdc, store(distrtypes.StoreKey), a.accounts, a.bank, a.staking, authtypes.FeeCollectorName, authority)
	a.slashing = slashingkeeper.NewKeeper(cdc, amino, store(slashingtypes.StoreKey), a.staking, authority)
	a.staking.SetHooks(stakingtypes.NewMultiStakingHooks(a.distr.Hooks(), a.slashing.Hooks()))
	// Who signs two blocks of one height loses stake: light clients rely on it.
	a.evidence = evidencekeeper.NewKeeper(cdc, store(evidencetypes.StoreKey), a.staking, a.slashing, addresses, runtime.ProvideCometInfoService())
	a.fees = feegrantkeeper.NewKeeper(cdc, store(feegrant.StoreKey), a.accounts)
	a.authz = authzkeeper.NewKeeper(store(authzkeeper.StoreKey), cdc, base.MsgServiceRouter(), a.accounts)
	a.upgrade = upgradekeeper.NewKeeper(map[int64]bool{}, store(upgradetypes.StoreKey), cdc, c.Home, base, authority)
	a.gov = govkeeper.NewKeeper(cdc, store(govtypes.StoreKey), a.accounts, a.bank, a.distr, base.MsgServiceRouter(),
		govtypes.DefaultConfig(), authority, govkeeper.NewDefaultCalculateVoteResultsAndVotingPower(a.staking))

	if a.hosts, err = hostskeeper.New(hostskeeper.Config{
		Codec: cdc, Store: store(hoststypes.ModuleName), Addresses: addresses, Bank: a.bank, Accounts: a.accounts, Commons: a.distr,
		Denom: Denom, Authority: authority,
	}); err != nil {
		return fmt.Errorf("hosts: %w", err)
	}
	if a.proofs, err = proofskeeper.New(proofskeeper.Config{
		Codec: cdc, Store: store(proofstypes.ModuleName), Hosts: a.hosts, Authority: authority,
	}); err != nil {
		return fmt.Errorf("proofs: %w", err)
	}
	if a.market, err = marketkeeper.New(marketkeeper.Config{
		Codec: cdc, Store: store(markettypes.ModuleName), Addresses: addresses, Bank: a.bank, Hosts: a.hosts, Proofs: a.proofs, Accounts: a.accounts,
		Commons: a.distr, FeeCollector: authtypes.FeeCollectorName, Denom: Denom, Authority: authority,
	}); err != nil {
		return fmt.Errorf("market: %w", err)
	}
	if a.pointers, err = pointerskeeper.New(pointerskeeper.Config{Codec: cdc, Store: store(pointerstypes.ModuleName), Mandates: a.market}); err != nil {
		return fmt.Errorf("pointers: %w", err)
	}
	return nil
}

// makeModules plugs the keepers together. The nils are for simulations and the
// retired x/params.
func (a *App) makeModules(addresses coreaddress.Codec, registry codectypes.InterfaceRegistry) {
	cdc := a.Codec
	a.modules = module.NewManager(
		auth.NewAppModule(cdc, a.accounts, nil, nil),
		bank.NewAppModule(cdc, a.bank, a.accounts, nil),
		staking.NewAppModule(cdc, a.staking, a.accounts, a.bank, nil),
		distr.NewAppModule(cdc, a.distr, a.accounts, a.bank, a.staking, nil),
		slashing.NewAppModule(cdc, a.slashing, a.accounts, a.bank, a.staking, nil, registry),
		evidence.NewAppModule(*a.evidence),
		feegrantmodule.NewAppModule(cdc, a.accounts, a.bank, a.fees, registry),
		authzmodule.NewAppModule(cdc, a.authz, a.accounts, a.bank, registry),
		gov.NewAppModule(cdc, a.gov, a.accounts, a.bank, nil),
		upgrade.NewAppModule(a.upgrade, addresses),
		consensus.NewAppModule(cdc, a.params),
		hosts.New(a.hosts),
		market.New(a.market),
		pointers.New(a.pointers),
		proofs.New(a.proofs, a.market),
	)
	a.basics = module.NewBasicManagerFromManager(a.modules, nil)
}

// order says who acts when. Upgrades come first; fees are handed out before
// slashing changes the shares; ours come last, when everybody's coins are there.
func (a *App) order() {
	a.modules.SetOrderPreBlockers(upgradetypes.ModuleName, authtypes.ModuleName)
	a.modules.SetOrderBeginBlockers(distrtypes.ModuleName, slashingtypes.ModuleName, evidencetypes.ModuleName, stakingtypes.ModuleName, authz.ModuleName, proofstypes.ModuleName)
	a.modules.SetOrderEndBlockers(govtypes.ModuleName, stakingtypes.ModuleName, feegrant.ModuleName, banktypes.ModuleName, markettypes.ModuleName, proofstypes.ModuleName)
	genesis := []string{
		authtypes.ModuleName, banktypes.ModuleName, distrtypes.ModuleName, stakingtypes.ModuleName, slashingtypes.ModuleName,
		evidencetypes.ModuleName, govtypes.ModuleName, authz.ModuleName, feegrant.ModuleName, upgradetypes.ModuleName, consensustypes.ModuleName,
		hoststypes.ModuleName, markettypes.ModuleName,
		pointerstypes.ModuleName, proofstypes.ModuleName,
	}
	a.modules.SetOrderInitGenesis(genesis...)
	a.modules.SetOrderExportGenesis(genesis...)
}

// initChain turns the genesis file into the first state.
func (a *App) initChain(ctx sdk.Context, req *abci.RequestInitChain) (*abci.ResponseInitChain, error) {
	var state map[string]json.RawMessage
	if err := json.Unmarshal(req.AppStateBytes, &state); err != nil {
		return nil, fmt.Errorf("genesis: %w", err)
	}
	if err := a.upgrade.SetModuleVersionMap(ctx, a.modules.GetVersionMap()); err != nil {
		return nil, err
	}
	return a.modules.InitGenesis(ctx, a.Codec, state)
}
