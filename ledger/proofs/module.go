// Package proofs plugs the proofs' keeper into the application.
package proofs

import (
	"context"
	"encoding/json"

	"cosmossdk.io/core/appmodule"
	"github.com/cosmos/cosmos-sdk/client"
	"github.com/cosmos/cosmos-sdk/codec"
	codectypes "github.com/cosmos/cosmos-sdk/codec/types"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/cosmos-sdk/types/module"
	"github.com/grpc-ecosystem/grpc-gateway/runtime"

	"hearth/ledger/proofs/keeper"
	"hearth/ledger/proofs/types"
)

var (
	_ appmodule.AppModule        = Module{}
	_ module.AppModuleBasic      = Module{}
	_ module.HasGenesis          = Module{}
	_ module.HasServices         = Module{}
	_ module.HasConsensusVersion = Module{}
	_ appmodule.HasBeginBlocker  = Module{}
	_ appmodule.HasEndBlocker    = Module{}
)

// Module is proofs of storage as the SDK's module manager sees it.
type Module struct{ keeper keeper.MsgServer }

// New returns the module.
func New(k keeper.Keeper, m keeper.Market) Module {
	return Module{keeper.MsgServer{Keeper: k, Market: m}}
}

// IsOnePerModuleType is, with what follows, what the SDK asks every module for.
func (Module) IsOnePerModuleType()                                         {}
func (Module) IsAppModule()                                                {}
func (Module) RegisterLegacyAminoCodec(*codec.LegacyAmino)                 {}
func (Module) RegisterGRPCGatewayRoutes(client.Context, *runtime.ServeMux) {}
func (Module) Name() string                                                { return types.ModuleName }
func (Module) ConsensusVersion() uint64                                    { return 1 }
func (Module) RegisterInterfaces(r codectypes.InterfaceRegistry)           { types.RegisterInterfaces(r) }

// RegisterServices connects messages and queries to the keeper.
func (m Module) RegisterServices(c module.Configurator) {
	types.RegisterMsgServer(c.MsgServer(), m.keeper)
	types.RegisterQueryServer(c.QueryServer(), keeper.QueryServer{MsgServer: m.keeper})
}

// BeginBlock mixes the block into the beacon.
func (m Module) BeginBlock(ctx context.Context) error { return m.keeper.BeginBlock(ctx) }

// EndBlock ends challenges that nobody has answered.
func (m Module) EndBlock(ctx context.Context) error { return m.keeper.EndBlock(ctx) }

// DefaultGenesis has no host that proves.
func (Module) DefaultGenesis(c codec.JSONCodec) json.RawMessage {
	return c.MustMarshalJSON(&types.GenesisState{Params: types.Main(0)})
}

// ValidateGenesis checks a genesis file before a chain starts from it.
func (Module) ValidateGenesis(c codec.JSONCodec, _ client.TxEncodingConfig, raw json.RawMessage) error {
	var g types.GenesisState
	if err := c.UnmarshalJSON(raw, &g); err != nil {
		return err
	}
	return g.Params.Validate()
}

// InitGenesis loads the module's part of the genesis file.
func (m Module) InitGenesis(ctx sdk.Context, c codec.JSONCodec, raw json.RawMessage) {
	var g types.GenesisState
	c.MustUnmarshalJSON(raw, &g)
	if err := m.keeper.InitGenesis(ctx, g); err != nil {
		panic(err) // the interface leaves no other way; the node must not start
	}
}

// ExportGenesis writes the module's part of a genesis file.
func (m Module) ExportGenesis(ctx sdk.Context, c codec.JSONCodec) json.RawMessage {
	g, err := m.keeper.ExportGenesis(ctx)
	if err != nil {
		panic(err)
	}
	return c.MustMarshalJSON(g)
}
