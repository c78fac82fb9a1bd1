// Package keeper stores, for each account, the newest signed pointer of each of
// its devices' logs. It refuses an older one, one of another network, one too
// many, and one under another key than the account's first, unless the account's
// own key brings it. It knows nothing of what pointers point at.
package keeper

import (
	"bytes"
	"context"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/store"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/core/pointer"
	"hearth/ledger/pointers/types"
	"hearth/ledger/refusal"
)

// accountPrefix is wire format: clients rebuild it to ask for a Merkle proof. An
// account lies under 0x01 and its address as a string.
var accountPrefix = collections.NewPrefix(1)

// Mandates says what keys may do for accounts.
type Mandates interface {
	// May says whether signer's account may do op for client: it is the client's own,
	// or that of a key with its mandate.
	May(ctx context.Context, signer, client string, op mandate.Op) error
}

// Config is what a Keeper is made of. Every field is required.
type Config struct {
	Codec    codec.BinaryCodec
	Store    store.KVStoreService
	Mandates Mandates
}

// Keeper reads and writes the pointers' part of the state.
type Keeper struct {
	c        Config
	accounts collections.Map[string, types.Account]
}

// New returns a keeper over the pointers' store.
func New(c Config) (Keeper, error) {
	sb := collections.NewSchemaBuilder(c.Store)
	k := Keeper{c: c, accounts: collections.NewMap(sb, accountPrefix, "accounts", collections.StringKey, codec.CollValue[types.Account](c.Codec))}
	_, err := sb.Build()
	return k, err
}

// MsgServer carries out messages.
type MsgServer struct{ Keeper }

var _ types.MsgServer = MsgServer{}

// SetPointer puts a device's pointer in the place of its older one.
func (k MsgServer) SetPointer(ctx context.Context, m *types.MsgSetPointer) (_ *types.MsgSetPointerResponse, err error) {
	defer refusal.In(&err)
	p, err := pointer.Decode(m.Pointer)
	if err != nil {
		return nil, err
	}
	if id := sdk.UnwrapSDKContext(ctx).ChainID(); p.ChainID != id {
		return nil, fault.New(fault.WrongNetwork, "pointer of %s: it is for %s, this is %s", p.Account, p.ChainID, id)
	}
	if err := k.c.Mandates.May(ctx, m.Signer, p.Account, mandate.Sign); err != nil {
		return nil, err
	}
	a, list, err := k.account(ctx, p.Account)
	if err != nil {
		return nil, err
	}
	if len(a.Key) > 0 && !bytes.Equal(a.Key, p.Key[:]) {
		if m.Signer != p.Account {
			return nil, fault.New(fault.BadSignature, "pointer of %s: the account has another pointer key", p.Account)
		}
		list = nil // somebody else's
	}
	if list, err = pointer.Admit(list, p); err != nil {
		return nil, err
	}
	a = types.Account{Address: p.Account, Key: p.Key[:]}
	for _, one := range list {
		a.Pointers = append(a.Pointers, one.Encode())
	}
	if err := k.accounts.Set(ctx, p.Account, a); err != nil {
		return nil, err
	}
	event := &types.EventPointer{Account: p.Account, Device: p.Device, Seq: p.Seq}
	return &types.MsgSetPointerResponse{}, sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(event)
}

// account reads a record; one that isn't there is empty.
func (k Keeper) account(ctx context.Context, address string) (types.Account, []pointer.Signed, error) {
	a, err := k.accounts.Get(ctx, address)
	if errors.Is(err, collections.ErrNotFound) {
		return types.Account{Address: address}, nil, nil
	}
	if err != nil {
		return a, nil, err
	}
	list, err := decode(a)
	return a, list, err
}

func decode(a types.Account) ([]pointer.Signed, error) {
	list := make([]pointer.Signed, len(a.Pointers))
	for i, b := range a.Pointers {
		var err error
		if list[i], err = pointer.Decode(b); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// QueryServer answers questions about pointers.
type QueryServer struct{ Keeper }

var _ types.QueryServer = QueryServer{}

// Account returns what is known of an account's logs.
func (k QueryServer) Account(ctx context.Context, r *types.QueryAccountRequest) (*types.QueryAccountResponse, error) {
	a, err := k.accounts.Get(ctx, r.Address)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Error(codes.NotFound, "the account has no pointers")
	}
	return &types.QueryAccountResponse{Account: a}, err
}

// Validate checks a genesis file before a chain starts from it.
func Validate(g types.GenesisState) error {
	seen := map[string]bool{}
	for _, a := range g.Accounts {
		list, err := decode(a)
		if err != nil {
			return fault.New(fault.CodeOf(err), "genesis: pointers of %s: %w", a.Address, err)
		}
		if seen[a.Address] || len(list) > pointer.MaxDevices {
			return fault.New(fault.BadRequest, "genesis: pointers of %s: twice, or %d devices", a.Address, len(list))
		}
		seen[a.Address] = true
	}
	return nil
}

// InitGenesis loads the state a chain starts with.
func (k Keeper) InitGenesis(ctx context.Context, g types.GenesisState) error {
	if err := Validate(g); err != nil {
		return err
	}
	for _, a := range g.Accounts {
		if err := k.accounts.Set(ctx, a.Address, a); err != nil {
			return err
		}
	}
	return nil
}

// ExportGenesis is the inverse of InitGenesis. Pointers are of the old chain, and
// clients of the new one go by what hosts have.
func (k Keeper) ExportGenesis(ctx context.Context) (*types.GenesisState, error) {
	g := &types.GenesisState{}
	err := k.accounts.Walk(ctx, nil, func(_ string, a types.Account) (bool, error) {
		g.Accounts = append(g.Accounts, a)
		return false, nil
	})
	return g, err
}
