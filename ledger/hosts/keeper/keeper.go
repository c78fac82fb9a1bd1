// Package keeper stores hosts and holds their bonds. It knows no leases: the
// market tells it what hosts earn and at what rates they are leased. A bond is
// never paid out below its target while its host stays.
package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/ledger/hosts/types"
)

// Store prefixes. Clients rebuild the first to ask for a Merkle proof, so it is
// wire format: a host lies under 0x01 and its address as a string.
var (
	hostPrefix   = collections.NewPrefix(1)
	keyPrefix    = collections.NewPrefix(2)
	paramsPrefix = collections.NewPrefix(3)
)

// Bank is what hosts need of the bank.
type Bank interface {
	SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, module string, amount sdk.Coins) error
	SendCoinsFromModuleToAccount(ctx context.Context, module string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
}

// Accounts tells the account of a module.
type Accounts interface {
	GetModuleAddress(module string) sdk.AccAddress
}

// Commons takes fines and the community's half of lost bonds.
type Commons interface {
	FundCommunityPool(ctx context.Context, amount sdk.Coins, from sdk.AccAddress) error
}

// Config is what a Keeper is made of. Every field is required.
type Config struct {
	Codec     codec.BinaryCodec
	Store     store.KVStoreService
	Addresses address.Codec
	Bank      Bank
	Accounts  Accounts
	Commons   Commons
	Denom     string
	Authority string // who may change the parameters
}

// Keeper reads and writes the hosts' part of the state.
type Keeper struct {
	c      Config
	hosts  collections.Map[string, types.Host]
	byKey  collections.Map[[]byte, string] // a key belongs to one host
	params collections.Item[types.Params]
}

// New returns a keeper over the hosts' store.
func New(c Config) (Keeper, error) {
	sb := collections.NewSchemaBuilder(c.Store)
	k := Keeper{
		c:      c,
		hosts:  collections.NewMap(sb, hostPrefix, "hosts", collections.StringKey, codec.CollValue[types.Host](c.Codec)),
		byKey:  collections.NewMap(sb, keyPrefix, "by_key", collections.BytesKey, collections.StringValue),
		params: collections.NewItem(sb, paramsPrefix, "params", codec.CollValue[types.Params](c.Codec)),
	}
	_, err := sb.Build()
	return k, err
}

// Host finds a host's record.
func (k Keeper) Host(ctx context.Context, address string) (types.Host, error) {
	h, err := k.hosts.Get(ctx, address)
	if errors.Is(err, collections.ErrNotFound) {
		return types.Host{}, fault.New(fault.NotAHost, "host %q: not registered", address)
	}
	return h, err
}

// Walk shows every host, by address, until f says stop.
func (k Keeper) Walk(ctx context.Context, f func(types.Host) (stop bool)) error {
	return k.hosts.Walk(ctx, nil, func(_ string, h types.Host) (bool, error) { return f(h), nil })
}

// set stores h, and says so in an event where its shown part has changed.
func (k Keeper) set(ctx context.Context, before, h types.Host) error {
	if err := k.hosts.Set(ctx, h.Address, h); err != nil {
		return err
	}
	now := shown(h)
	if now == shown(before) {
		return nil
	}
	return emit(ctx, &now)
}

func shown(h types.Host) types.EventHost {
	return types.EventHost{Address: h.Address, Owner: h.Owner, Roles: h.Roles, Region: h.Region, Bond: h.Bond, LeavingAt: h.LeavingAt}
}

// Leased is what a host has leased out: leases that aren't closed, and their rates.
type Leased struct {
	Leases         uint64
	Storage, Other money.Rate
}

// Leased tells what a host has leased out.
func (k Keeper) Leased(ctx context.Context, host string) (Leased, error) {
	h, err := k.Host(ctx, host)
	return Leased{h.Leases, money.Rate(h.StorageRate), money.Rate(h.OtherRate)}, err
}

// SetLeased writes it down. The market counts.
func (k Keeper) SetLeased(ctx context.Context, host string, l Leased) error {
	before, err := k.Host(ctx, host)
	if err != nil {
		return err
	}
	h := before
	h.Leases, h.StorageRate, h.OtherRate = l.Leases, uint64(l.Storage), uint64(l.Other)
	return k.set(ctx, before, h)
}

// Pay pays a host what it has earned, from the account of a module. What it owes
// for missed proofs goes to the commons first; below its target half of the rest
// goes to the bond.
func (k Keeper) Pay(ctx context.Context, from, host string, amount money.Amount) error {
	if amount == 0 {
		return nil
	}
	h, err := k.Host(ctx, host)
	if err != nil {
		return err
	}
	p, err := k.params.Get(ctx)
	if err != nil {
		return err
	}
	before := h
	r, amount, fines := h.Proving.Core().Repay(amount)
	if fines > 0 {
		if err := k.ToCommons(ctx, from, fines); err != nil {
			return err
		}
		h.Proving = types.FromRecord(r)
		if err := k.set(ctx, before, h); err != nil {
			return err
		}
		before = h
	}
	held := min(amount/2, money.SubFloor(Target(h, p), money.Amount(h.Bond)))
	if held > 0 {
		if err := k.c.Bank.SendCoinsFromModuleToModule(ctx, from, types.ModuleName, k.coins(held)); err != nil {
			return err
		}
		h.Bond += uint64(held)
		if err := k.set(ctx, before, h); err != nil {
			return err
		}
	}
	return k.send(ctx, from, h.Address, amount-held)
}

// Target is the bond a host should have.
func Target(h types.Host, p types.Params) money.Amount {
	return money.AddCap(
		money.Rate(h.StorageRate).Over(int64(p.StorageBondSeconds)),
		money.Rate(h.OtherRate).Over(int64(p.OtherBondSeconds)))
}

func (k Keeper) coins(a money.Amount) sdk.Coins {
	return sdk.NewCoins(sdk.NewCoin(k.c.Denom, math.NewIntFromUint64(uint64(a))))
}

// send pays from a module's account to a host's.
func (k Keeper) send(ctx context.Context, module, to string, amount money.Amount) error {
	if amount == 0 {
		return nil
	}
	address, err := k.c.Addresses.StringToBytes(to)
	if err != nil {
		return err
	}
	return k.c.Bank.SendCoinsFromModuleToAccount(ctx, module, address, k.coins(amount))
}
