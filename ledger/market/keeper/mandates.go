package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"github.com/cosmos/cosmos-sdk/crypto/keys/ed25519"

	"hearth/core/fault"
	"hearth/core/mandate"
	"hearth/ledger/market/types"
	"hearth/ledger/refusal"
)

// Limits of mandates.
const (
	maxMandates = 100                   // of one grantor
	maxMandate  = 100 * 365 * 24 * 3600 // seconds
)

// mandate finds the mandate of a key, an ended one included.
func (k Keeper) mandate(ctx context.Context, grantor string, key []byte) (mandate.Mandate, error) {
	m, err := k.mandates.Get(ctx, mandateKey(grantor, key))
	if errors.Is(err, collections.ErrNotFound) {
		return mandate.Mandate{}, fault.New(fault.MandateRefused, "mandate of %s: the key %x has none", grantor, key)
	}
	if err != nil {
		return mandate.Mandate{}, err
	}
	return m.Core()
}

func (k Keeper) setMandate(ctx context.Context, m mandate.Mandate) error {
	return k.mandates.Set(ctx, mandateKey(m.Grantor, m.Key[:]), types.FromMandate(m))
}

// mandateOf finds the mandate under which signer's account may act for client,
// or nil where they are the same.
func (k Keeper) mandateOf(ctx context.Context, signer, client string) (*mandate.Mandate, error) {
	if signer == client {
		return nil, nil
	}
	address, err := k.c.Addresses.StringToBytes(signer)
	if err != nil {
		return nil, fault.New(fault.BadRequest, "signer %q: %w", signer, err)
	}
	account := k.c.Accounts.GetAccount(ctx, address)
	if account == nil {
		return nil, fault.New(fault.MandateRefused, "mandate of %s: %s isn't known", client, signer)
	}
	key, ok := account.GetPubKey().(*ed25519.PubKey)
	if !ok {
		return nil, fault.New(fault.MandateRefused, "mandate of %s: the key of %s isn't ed25519", client, signer)
	}
	m, err := k.mandate(ctx, client, key.Key)
	return &m, err
}

// GrantMandate makes or replaces the mandate of a key. What was used of it stays used.
func (k MsgServer) GrantMandate(ctx context.Context, r *types.MsgGrantMandate) (_ *types.MsgGrantMandateResponse, err error) {
	defer refusal.In(&err)
	if _, err := k.c.Addresses.StringToBytes(r.Grantor); err != nil {
		return nil, fault.New(fault.BadRequest, "grant mandate: grantor %q: %w", r.Grantor, err)
	}
	now := now(ctx)
	m, err := types.Mandate{
		Grantor: r.Grantor, Key: r.Key, Operations: r.Operations, Ceilings: r.Ceilings, Cap_30D: r.Cap_30D, WindowStart: now, Until: r.Until,
	}.Core()
	if err != nil {
		return nil, err
	}
	if err := m.Check(now); err != nil {
		return nil, err
	}
	if m.Until-now > maxMandate {
		return nil, fault.New(fault.BadRequest, "grant mandate: it ends in %d s, at most %d are allowed", m.Until-now, maxMandate)
	}
	p, err := k.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	switch old, err := k.mandate(ctx, r.Grantor, r.Key); {
	case err == nil:
		if m, err = old.Replace(m, now, int64(p.CloseSeconds)); err != nil {
			return nil, err
		}
	case fault.CodeOf(err) != fault.MandateRefused:
		return nil, err
	default:
		n := 0
		if err := k.walkMandates(ctx, r.Grantor, func(types.Mandate) { n++ }); err != nil {
			return nil, err
		}
		if n >= maxMandates {
			return nil, fault.New(fault.BadRequest, "grant mandate: %s has %d already, ended ones included until they are forgotten", r.Grantor, n)
		}
	}
	return &types.MsgGrantMandateResponse{}, k.putMandate(ctx, m, false)
}

// RevokeMandate ends a mandate now. Its record stays for a while, so that hosts
// can still post what the key signed before.
func (k MsgServer) RevokeMandate(ctx context.Context, r *types.MsgRevokeMandate) (_ *types.MsgRevokeMandateResponse, err error) {
	defer refusal.In(&err)
	m, err := k.mandate(ctx, r.Grantor, r.Key)
	if err != nil {
		return nil, err
	}
	now := now(ctx)
	if m.Until <= now {
		return nil, fault.New(fault.MandateRefused, "mandate of %s: it has ended already", r.Grantor)
	}
	m.Until = now
	return &types.MsgRevokeMandateResponse{}, k.putMandate(ctx, m, true)
}

// putMandate stores m and sees to it that it is forgotten after its end.
func (k Keeper) putMandate(ctx context.Context, m mandate.Mandate, revoked bool) error {
	p, err := k.params.Get(ctx)
	if err != nil {
		return err
	}
	if err := k.setMandate(ctx, m); err != nil {
		return err
	}
	if err := k.remindOfMandate(ctx, m.Until+int64(p.CloseSeconds), mandateKey(m.Grantor, m.Key[:])); err != nil {
		return err
	}
	return emit(ctx, &types.EventMandate{Grantor: m.Grantor, Key: m.Key[:], Revoked: revoked})
}

func (k Keeper) walkMandates(ctx context.Context, grantor string, f func(types.Mandate)) error {
	of := new(collections.Range[[]byte]).StartInclusive(mandateKey(grantor, nil)).EndExclusive(append([]byte(grantor), 1))
	return k.mandates.Walk(ctx, of, func(_ []byte, m types.Mandate) (bool, error) {
		f(m)
		return false, nil
	})
}

// May says whether signer's account may do op for client: it is the client's own,
// or that of a key with its mandate.
func (k Keeper) May(ctx context.Context, signer, client string, op mandate.Op) error {
	m, err := k.mandateOf(ctx, signer, client)
	if err != nil || m == nil {
		return err
	}
	return m.May(op, now(ctx))
}
