// Package keeper keeps the ledger's randomness, judges hosts by core/proving's
// rules and weighs their storage leases for the draws. It is thin: what an
// answer earns and what silence costs is core's. A silent host costs the ledger
// nothing: it is judged when something happens to it.
package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"

	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/proving"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/proofs/types"
)

// Store prefixes.
var (
	paramsPrefix     = collections.NewPrefix(1)
	beaconPrefix     = collections.NewPrefix(2)
	marksPrefix      = collections.NewPrefix(3)
	voidsPrefix      = collections.NewPrefix(4)
	treesPrefix      = collections.NewPrefix(5)
	cellsPrefix      = collections.NewPrefix(6)
	weightsPrefix    = collections.NewPrefix(7)
	byIndexPrefix    = collections.NewPrefix(8)
	forfeitsPrefix   = collections.NewPrefix(9)
	challengesPrefix = collections.NewPrefix(10)
	byHostPrefix     = collections.NewPrefix(11)
	duePrefix        = collections.NewPrefix(12)
)

// Hosts is what proofs need of the hosts' keeper.
type Hosts interface {
	Host(ctx context.Context, address string) (hoststypes.Host, error)
	SetProving(ctx context.Context, host string, r proving.Record, bond money.Amount) error
	ToCommons(ctx context.Context, from string, amount money.Amount) error
	Pay(ctx context.Context, from, host string, amount money.Amount) error
}

// Market is what the messages need of the market's keeper. The market itself
// leans on the Keeper: it asks for a host's clock and tells of rates.
type Market interface {
	Lease(ctx context.Context, id uint64) (lease.Lease, error)
	// Lose makes a lease's rate 0 until its next statement, and gives it as it was.
	Lose(ctx context.Context, id uint64) (before lease.Lease, err error)
	// Compensate puts into an owner's purse what it takes out of the bonds' account.
	Compensate(ctx context.Context, owner string, amount money.Amount) error
	// Hold takes a fee out of client's purse on the signer's word; Release gives it back.
	Hold(ctx context.Context, signer, client string, fee money.Amount) error
	Release(ctx context.Context, client string, fee money.Amount) error
}

// Config is what a Keeper is made of. Every field is required.
type Config struct {
	Codec     codec.BinaryCodec
	Store     store.KVStoreService
	Hosts     Hosts
	Authority string // who may change the parameters
}

// Keeper reads and writes the proofs' part of the state.
type Keeper struct {
	c        Config
	params   collections.Item[types.Params]
	beacon   collections.Item[types.Beacon]
	marks    collections.Map[int64, []byte] // slot of the present period -> R
	voids    collections.Map[int64, int64]  // last -> first
	trees    collections.Map[string, types.Tree]
	cells    collections.Map[collections.Pair[string, uint64], uint64]
	weights  collections.Map[uint64, types.Weight]                     // by lease
	byIndex  collections.Map[collections.Pair[string, uint64], uint64] // host and index -> lease
	forfeits collections.Map[collections.Pair[string, uint64], types.Forfeit]

	challenges collections.Map[uint64, types.Challenge] // by lease
	byHost     collections.KeySet[collections.Pair[string, uint64]]
	due        collections.KeySet[collections.Pair[int64, uint64]]
}

// New returns a keeper over the proofs' store.
func New(c Config) (Keeper, error) {
	sb := collections.NewSchemaBuilder(c.Store)
	owned := collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)
	k := Keeper{
		c:          c,
		params:     collections.NewItem(sb, paramsPrefix, "params", codec.CollValue[types.Params](c.Codec)),
		beacon:     collections.NewItem(sb, beaconPrefix, "beacon", codec.CollValue[types.Beacon](c.Codec)),
		marks:      collections.NewMap(sb, marksPrefix, "marks", collections.Int64Key, collections.BytesValue),
		voids:      collections.NewMap(sb, voidsPrefix, "voids", collections.Int64Key, collections.Int64Value),
		trees:      collections.NewMap(sb, treesPrefix, "trees", collections.StringKey, codec.CollValue[types.Tree](c.Codec)),
		cells:      collections.NewMap(sb, cellsPrefix, "cells", owned, collections.Uint64Value),
		weights:    collections.NewMap(sb, weightsPrefix, "weights", collections.Uint64Key, codec.CollValue[types.Weight](c.Codec)),
		byIndex:    collections.NewMap(sb, byIndexPrefix, "by_index", owned, collections.Uint64Value),
		forfeits:   collections.NewMap(sb, forfeitsPrefix, "forfeits", owned, codec.CollValue[types.Forfeit](c.Codec)),
		challenges: collections.NewMap(sb, challengesPrefix, "challenges", collections.Uint64Key, codec.CollValue[types.Challenge](c.Codec)),
		byHost:     collections.NewKeySet(sb, byHostPrefix, "by_host", owned),
		due:        collections.NewKeySet(sb, duePrefix, "due", collections.PairKeyCodec(collections.Int64Key, collections.Uint64Key)),
	}
	_, err := sb.Build()
	return k, err
}

// rules gives the parameters as core takes them, and the beacon.
func (k Keeper) rules(ctx context.Context) (proving.Params, types.Beacon, error) {
	p, err := k.params.Get(ctx)
	if err != nil {
		return proving.Params{}, types.Beacon{}, err
	}
	b, err := k.beacon.Get(ctx)
	return p.Rules(), b, err
}

// found is Get of a collection, with the zero value for nothing.
func found[T any](v T, err error) (T, error) {
	if errors.Is(err, collections.ErrNotFound) {
		err = nil
	}
	return v, err
}

func emit(ctx context.Context, event proto.Message) error {
	return sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(event)
}
