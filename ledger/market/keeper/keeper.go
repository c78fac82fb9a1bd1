// Package keeper stores purses, mandates and leases, and moves the money that
// core's rules say is to be moved. It is thin: it gathers facts, asks core, and
// writes down the answer. It refuses what core refuses.
package keeper

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"

	"cosmossdk.io/collections"
	"cosmossdk.io/core/address"
	"cosmossdk.io/core/store"
	"cosmossdk.io/math"
	"github.com/cosmos/cosmos-sdk/codec"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	hostskeeper "hearth/ledger/hosts/keeper"
	hoststypes "hearth/ledger/hosts/types"
	"hearth/ledger/market/types"
	proofskeeper "hearth/ledger/proofs/keeper"
)

// Store prefixes. Clients rebuild the first three to ask for Merkle proofs, so
// they are wire format: lease 7 lies under 0x01 and seven as 8 bytes, big-endian;
// a purse under 0x02 and its owner's address as a string; a mandate under 0x03,
// the grantor's address, a zero byte and the key.
var (
	leasePrefix    = collections.NewPrefix(1)
	pursePrefix    = collections.NewPrefix(2)
	mandatePrefix  = collections.NewPrefix(3)
	pairPrefix     = collections.NewPrefix(4)
	byClientPrefix = collections.NewPrefix(5)
	byHostPrefix   = collections.NewPrefix(6)
	queuePrefix    = collections.NewPrefix(7)
	nextIDPrefix   = collections.NewPrefix(8)
	paramsPrefix   = collections.NewPrefix(9)
)

// Bank is what the market needs of the bank.
type Bank interface {
	SendCoinsFromAccountToModule(ctx context.Context, from sdk.AccAddress, module string, amount sdk.Coins) error
	SendCoinsFromModuleToAccount(ctx context.Context, module string, to sdk.AccAddress, amount sdk.Coins) error
	SendCoinsFromModuleToModule(ctx context.Context, from, to string, amount sdk.Coins) error
}

// Hosts is what the market needs of the hosts' keeper.
type Hosts interface {
	Host(ctx context.Context, address string) (hoststypes.Host, error)
	Leased(ctx context.Context, host string) (hostskeeper.Leased, error)
	SetLeased(ctx context.Context, host string, l hostskeeper.Leased) error
	Pay(ctx context.Context, from, host string, amount money.Amount) error
}

// Proofs is what the market needs of the keeper of proofs: by what clock a host's
// stored bytes earn, and to tell it what they weigh.
type Proofs interface {
	Judge(ctx context.Context, host string) (proofskeeper.Standing, error)
	Weigh(ctx context.Context, host string, lease uint64, rate money.Rate) (share money.Amount, err error)
}

// Accounts tells the key of an account.
type Accounts interface {
	GetAccount(ctx context.Context, address sdk.AccAddress) sdk.AccountI
	GetModuleAddress(module string) sdk.AccAddress
}

// Commons takes the community's share of the commission.
type Commons interface {
	FundCommunityPool(ctx context.Context, amount sdk.Coins, from sdk.AccAddress) error
}

// Config is what a Keeper is made of. Every field is required.
type Config struct {
	Codec        codec.BinaryCodec
	Store        store.KVStoreService
	Addresses    address.Codec
	Bank         Bank
	Hosts        Hosts
	Proofs       Proofs
	Accounts     Accounts
	Commons      Commons
	FeeCollector string // the module account that takes the rest of the commission
	Denom        string
	Authority    string // who may change the parameters
}

// Keeper reads and writes the market's part of the state.
type Keeper struct {
	c        Config
	leases   collections.Map[uint64, types.Lease]
	purses   collections.Map[string, types.Purse]
	mandates collections.Map[[]byte, types.Mandate]
	pairs    collections.Map[[]byte, uint64] // client, host and kind -> the one lease that isn't closed
	byClient collections.KeySet[collections.Pair[string, uint64]]
	byHost   collections.KeySet[collections.Pair[string, uint64]]
	queue    collections.KeySet[collections.Pair[int64, []byte]] // what is to be done when, see EndBlock
	nextID   collections.Sequence
	params   collections.Item[types.Params]
}

// New returns a keeper over the market's store.
func New(c Config) (Keeper, error) {
	sb := collections.NewSchemaBuilder(c.Store)
	owned := collections.PairKeyCodec(collections.StringKey, collections.Uint64Key)
	k := Keeper{
		c:        c,
		leases:   collections.NewMap(sb, leasePrefix, "leases", collections.Uint64Key, codec.CollValue[types.Lease](c.Codec)),
		purses:   collections.NewMap(sb, pursePrefix, "purses", collections.StringKey, codec.CollValue[types.Purse](c.Codec)),
		mandates: collections.NewMap(sb, mandatePrefix, "mandates", collections.BytesKey, codec.CollValue[types.Mandate](c.Codec)),
		pairs:    collections.NewMap(sb, pairPrefix, "pairs", collections.BytesKey, collections.Uint64Value),
		byClient: collections.NewKeySet(sb, byClientPrefix, "by_client", owned),
		byHost:   collections.NewKeySet(sb, byHostPrefix, "by_host", owned),
		queue:    collections.NewKeySet(sb, queuePrefix, "queue", collections.PairKeyCodec(collections.Int64Key, collections.BytesKey)),
		nextID:   collections.NewSequence(sb, nextIDPrefix, "next_id"),
		params:   collections.NewItem(sb, paramsPrefix, "params", codec.CollValue[types.Params](c.Codec)),
	}
	_, err := sb.Build()
	return k, err
}

// MsgServer carries out the market's messages.
type MsgServer struct{ Keeper }

var _ types.MsgServer = MsgServer{}

// lease finds a lease.
func (k Keeper) lease(ctx context.Context, id uint64) (lease.Lease, error) {
	l, err := k.leases.Get(ctx, id)
	if errors.Is(err, collections.ErrNotFound) {
		return lease.Lease{}, fault.New(fault.NoLease, "lease %d: none such", id)
	}
	if err != nil {
		return lease.Lease{}, err
	}
	return l.Core()
}

// The pieces of keys that are built here.

func mandateKey(grantor string, key []byte) []byte {
	return bytes.Join([][]byte{[]byte(grantor), key}, []byte{0})
}

func pairKey(l lease.Lease) []byte {
	return append(bytes.Join([][]byte{[]byte(l.Client), []byte(l.Host)}, []byte{0}), 0, byte(l.Kind))
}

// Things in the queue start with a letter that says what they are.
const (
	leaseThing   = 'l'
	mandateThing = 'm'
)

func (k Keeper) remindOfLease(ctx context.Context, at int64, id uint64) error {
	return k.queue.Set(ctx, collections.Join(at, binary.BigEndian.AppendUint64([]byte{leaseThing}, id)))
}

func (k Keeper) remindOfMandate(ctx context.Context, at int64, key []byte) error {
	return k.queue.Set(ctx, collections.Join(at, append([]byte{mandateThing}, key...)))
}

func (k Keeper) coins(a money.Amount) sdk.Coins {
	return sdk.NewCoins(sdk.NewCoin(k.c.Denom, math.NewIntFromUint64(uint64(a))))
}

func emit(ctx context.Context, event proto.Message) error {
	return sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(event)
}

func now(ctx context.Context) int64 { return sdk.UnwrapSDKContext(ctx).BlockTime().Unix() }

func chainID(ctx context.Context) string { return sdk.UnwrapSDKContext(ctx).ChainID() }

// verifyGas is what checking one signature inside a message costs, as much as
// the SDK takes for one under a transaction.
const verifyGas = 1000

func charge(ctx context.Context) {
	sdk.UnwrapSDKContext(ctx).GasMeter().ConsumeGas(verifyGas, "verify ed25519")
}
