package keeper

import (
	"context"
	"crypto/ed25519"
	"encoding/binary"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/mandate"
	"hearth/core/money"
	"hearth/core/statement"
	"hearth/ledger/market/types"
	"hearth/ledger/refusal"
)

// Close ends a lease, or begins its end.
func (k MsgServer) Close(ctx context.Context, m *types.MsgClose) (_ *types.MsgCloseResponse, err error) {
	defer refusal.In(&err)
	b, err := k.open(ctx)
	if err != nil {
		return nil, err
	}
	before, err := k.lease(ctx, m.Lease)
	if err != nil {
		return nil, err
	}
	side := lease.ByHost
	if m.Signer != before.Host || before.Host == before.Client {
		by, err := k.mandateOf(ctx, m.Signer, before.Client)
		if err != nil {
			return nil, err
		}
		if by != nil {
			if err := by.May(mandate.Close, b.now); err != nil {
				return nil, err
			}
		}
		side = lease.ByClient
	}
	clock, err := b.clock(ctx, before)
	if err != nil {
		return nil, err
	}
	after, flow := before, lease.Flow{}
	switch {
	case len(m.HostSig) == 0:
		after, err = before.Close(side, clock, b.rules)
	case side == lease.ByHost:
		err = fault.New(fault.BadRequest, "close lease %d: the client sends the host's consent, not the host", m.Lease)
	default:
		if err = k.consented(ctx, before.Host, m); err == nil {
			after, flow, err = before.CloseAgreed(money.Amount(m.Total), clock)
		}
	}
	if err != nil {
		return nil, err
	}
	if err := b.move(ctx, after, flow); err != nil {
		return nil, err
	}
	if err := b.put(ctx, before, after, after.State.String()); err != nil {
		return nil, err
	}
	return &types.MsgCloseResponse{}, b.close(ctx)
}

// consented checks the host's signature under the end of a lease.
func (k Keeper) consented(ctx context.Context, host string, m *types.MsgClose) error {
	h, err := k.c.Hosts.Host(ctx, host)
	if err != nil {
		return err
	}
	digest := statement.RefundDigest(chainID(ctx), m.Lease, money.Amount(m.Total))
	charge(ctx)
	if len(h.Key) != ed25519.PublicKeySize || !ed25519.Verify(h.Key, digest, m.HostSig) {
		return fault.New(fault.BadSignature, "close lease %d: the signature isn't the host's", m.Lease)
	}
	return nil
}

// How much of the queue one block does, and how long a thing that failed waits.
const (
	maxThings  = 50
	retryAfter = 3600 // seconds
)

// EndBlock does what is due, a bounded part of it in each block: leases whose end
// has come return the rest to their clients, closed ones and ended mandates are
// forgotten. What is due but not done yet is done in the next block.
func (k Keeper) EndBlock(ctx context.Context) error {
	sctx := sdk.UnwrapSDKContext(ctx)
	at := now(ctx)
	type thing = collections.Pair[int64, []byte]
	var due []thing
	until := new(collections.Range[thing]).EndExclusive(collections.PairPrefix[int64, []byte](at + 1))
	err := k.queue.Walk(ctx, until, func(t thing) (bool, error) {
		due = append(due, t)
		return len(due) >= maxThings, nil
	})
	if err != nil {
		return err
	}
	for _, t := range due {
		if err := k.queue.Remove(ctx, t); err != nil {
			return err
		}
		// A thing that can't be done must neither stop the ledger nor leave half of itself behind.
		part, commit := sctx.CacheContext()
		again, err := k.do(part, t.K2())
		if err != nil {
			sctx.Logger().Error("end of a lease or mandate", "thing", t.K2(), "err", err)
			again = at + retryAfter
		}
		if again > 0 {
			if err := k.queue.Set(ctx, collections.Join(again, t.K2())); err != nil {
				return err
			}
			continue
		}
		commit()
	}
	return nil
}

// do does one thing of the queue, or says when it can be done.
func (k Keeper) do(ctx context.Context, thing []byte) (again int64, err error) {
	if thing[0] == mandateThing {
		return 0, k.forgetMandate(ctx, thing[1:])
	}
	before, err := k.lease(ctx, binary.BigEndian.Uint64(thing[1:]))
	if fault.CodeOf(err) == fault.NoLease {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	b, err := k.open(ctx)
	if err != nil {
		return 0, err
	}
	switch {
	case before.Due(b.now):
		return b.finish(ctx, before)
	case before.Prunable(b.now, b.rules):
		return 0, k.prune(ctx, before)
	case before.State == lease.Closed: // the time has been made longer since
		return 0, k.remindOfLease(ctx, before.EndsAt+b.rules.PruneTime, before.ID)
	}
	return 0, nil // its end was moved, and stands in the queue where it is now
}

// finish ends a lease, or says when its host is no longer frozen.
func (b *book) finish(ctx context.Context, before lease.Lease) (again int64, err error) {
	clock, err := b.clock(ctx, before)
	if err != nil {
		return 0, err
	}
	after, flow, err := before.Finish(clock)
	if err != nil {
		return 0, err
	}
	if err := b.frozen(ctx, before, after); fault.CodeOf(err) == fault.Frozen {
		s, err := b.standing(ctx, before.Host)
		return s.Until, err
	} else if err != nil {
		return 0, err
	}
	if err := b.move(ctx, after, flow); err != nil {
		return 0, err
	}
	if err := b.put(ctx, before, after, after.State.String()); err != nil {
		return 0, err
	}
	return 0, b.close(ctx)
}

func (k Keeper) prune(ctx context.Context, l lease.Lease) error {
	if err := k.leases.Remove(ctx, l.ID); err != nil {
		return err
	}
	if err := k.byClient.Remove(ctx, collections.Join(l.Client, l.ID)); err != nil {
		return err
	}
	if err := k.byHost.Remove(ctx, collections.Join(l.Host, l.ID)); err != nil {
		return err
	}
	return emit(ctx, &types.EventLease{Lease: types.FromLease(l), Reason: "pruned"})
}

// forgetMandate forgets a mandate some time after its end.
func (k Keeper) forgetMandate(ctx context.Context, key []byte) error {
	m, err := k.mandates.Get(ctx, key)
	if errors.Is(err, collections.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p, err := k.params.Get(ctx)
	if err != nil {
		return err
	}
	switch at := m.Until + int64(p.CloseSeconds); {
	case now(ctx) >= at:
		return k.mandates.Remove(ctx, key)
	default: // granted for longer since, or the time has been made longer
		return k.remindOfMandate(ctx, at, key)
	}
}

// UpdateParams is for governance.
func (k MsgServer) UpdateParams(ctx context.Context, m *types.MsgUpdateParams) (_ *types.MsgUpdateParamsResponse, err error) {
	defer refusal.In(&err)
	if m.Authority != k.c.Authority {
		return nil, fault.New(fault.Unauthorized, "update market parameters: %s may, not %s", k.c.Authority, m.Authority)
	}
	if err := m.Params.Validate(); err != nil {
		return nil, err
	}
	return &types.MsgUpdateParamsResponse{}, k.params.Set(ctx, m.Params)
}
