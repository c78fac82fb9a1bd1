package keeper

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"
	"github.com/cosmos/gogoproto/proto"

	"hearth/core/fault"
	"hearth/ledger/hosts/types"
	"hearth/ledger/refusal"
)

// Limits of what a host says about itself.
const (
	maxEndpoints = 8
	maxEndpoint  = 128 // bytes
	maxRegion    = 32  // bytes
	allRoles     = 1<<6 - 1
)

// verifyGas is what checking one signature inside a message costs, as much as
// the SDK takes for one under a transaction.
const verifyGas = 1000

// KeyDigest is what a host's key signs to agree to an account on a network.
func KeyDigest(chainID, address string) []byte {
	h := sha256.New()
	h.Write([]byte("hearth/host-key/1"))
	h.Write([]byte(chainID))
	h.Write([]byte{0})
	h.Write([]byte(address))
	return h.Sum(nil)
}

// EndpointsHash is SHA-256 over each endpoint behind its length in two bytes.
func EndpointsHash(endpoints []string) []byte {
	h := sha256.New()
	for _, e := range endpoints {
		h.Write(binary.BigEndian.AppendUint16(nil, uint16(len(e))))
		h.Write([]byte(e))
	}
	return h.Sum(nil)
}

// MsgServer carries out the messages of hosts.
type MsgServer struct{ Keeper }

var _ types.MsgServer = MsgServer{}

// Register makes the signer a host.
func (k MsgServer) Register(ctx context.Context, m *types.MsgRegister) (_ *types.MsgRegisterResponse, err error) {
	defer refusal.In(&err)
	for _, a := range []string{m.Address, m.Owner} {
		if _, err := k.c.Addresses.StringToBytes(a); err != nil {
			return nil, fault.New(fault.BadRequest, "register host: address %q: %w", a, err)
		}
	}
	if err := checkSelf(m.Roles, m.Region, m.Endpoints); err != nil {
		return nil, err
	}
	sctx := sdk.UnwrapSDKContext(ctx)
	sctx.GasMeter().ConsumeGas(verifyGas, "verify ed25519")
	if len(m.Key) != ed25519.PublicKeySize || !ed25519.Verify(m.Key, KeyDigest(sctx.ChainID(), m.Address), m.KeyProof) {
		return nil, fault.New(fault.BadSignature, "register host %s: the key's proof doesn't match", m.Address)
	}
	switch has, err := k.hosts.Has(ctx, m.Address); {
	case err != nil:
		return nil, err
	case has:
		return nil, fault.New(fault.Exists, "register host %s: registered already", m.Address)
	}
	switch other, err := k.byKey.Get(ctx, m.Key); {
	case err == nil:
		return nil, fault.New(fault.Exists, "register host %s: the key belongs to %s", m.Address, other)
	case !errors.Is(err, collections.ErrNotFound):
		return nil, err
	}
	if err := k.byKey.Set(ctx, m.Key, m.Address); err != nil {
		return nil, err
	}
	h := types.Host{
		Address: m.Address, Owner: m.Owner, Key: m.Key, Roles: m.Roles, Region: m.Region, Hardware: m.Hardware,
		RegisteredAt: sctx.BlockTime().Unix(),
	}
	return &types.MsgRegisterResponse{}, k.announce(ctx, types.Host{}, h, m.Endpoints)
}

// Update replaces what a host says about itself.
func (k MsgServer) Update(ctx context.Context, m *types.MsgUpdate) (_ *types.MsgUpdateResponse, err error) {
	defer refusal.In(&err)
	if err := checkSelf(m.Roles, m.Region, m.Endpoints); err != nil {
		return nil, err
	}
	before, err := k.Host(ctx, m.Address)
	if err != nil {
		return nil, err
	}
	h := before
	h.Roles, h.Region, h.Hardware = m.Roles, m.Region, m.Hardware
	return &types.MsgUpdateResponse{}, k.announce(ctx, before, h, m.Endpoints)
}

// announce stores h with the hash of its endpoints, which themselves go into an event.
func (k Keeper) announce(ctx context.Context, before, h types.Host, endpoints []string) error {
	h.EndpointsHash, h.EndpointsHeight = EndpointsHash(endpoints), sdk.UnwrapSDKContext(ctx).BlockHeight()
	if err := k.set(ctx, before, h); err != nil {
		return err
	}
	return emit(ctx, &types.EventHostEndpoints{Address: h.Address, Endpoints: endpoints})
}

func checkSelf(roles uint32, region string, endpoints []string) error {
	switch {
	case roles == 0 || roles&^allRoles != 0:
		return fault.New(fault.BadRequest, "host: roles %d", roles)
	case len(region) > maxRegion || !plain(region):
		return fault.New(fault.BadRequest, "host: region %q isn't one word of at most %d bytes", region, maxRegion)
	case len(endpoints) > maxEndpoints:
		return fault.New(fault.TooLarge, "host: %d endpoints, at most %d", len(endpoints), maxEndpoints)
	}
	for _, e := range endpoints {
		if e == "" || len(e) > maxEndpoint || !plain(e) {
			return fault.New(fault.BadRequest, "host: endpoint %q isn't one word of at most %d bytes", e, maxEndpoint)
		}
	}
	return nil
}

// plain says whether s is printable ASCII without blanks.
func plain(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r <= ' ' || r > '~' }) < 0
}

func emit(ctx context.Context, event proto.Message) error {
	return sdk.UnwrapSDKContext(ctx).EventManager().EmitTypedEvent(event)
}
