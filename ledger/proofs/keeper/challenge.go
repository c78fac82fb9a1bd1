package keeper

import (
	"cmp"
	"context"
	"errors"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/fault"
	"hearth/core/lease"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/core/quote"
	markettypes "hearth/ledger/market/types"
	"hearth/ledger/proofs/types"
	"hearth/ledger/refusal"
)

// Challenge demands one leaf of a lease within half a period.
func (k MsgServer) Challenge(ctx context.Context, m *types.MsgChallenge) (_ *types.MsgChallengeResponse, err error) {
	defer refusal.In(&err)
	p, b, err := k.rules(ctx)
	if err != nil {
		return nil, err
	}
	l, err := k.Market.Lease(ctx, m.Lease)
	if err != nil {
		return nil, err
	}
	if l.Kind != quote.Storage || l.State == lease.Closed {
		return nil, fault.New(fault.BadRequest, "challenge lease %d: it holds no storage", m.Lease)
	}
	if has, err := k.challenges.Has(ctx, m.Lease); err != nil || has {
		return nil, cmp.Or(err, fault.New(fault.Exists, "challenge lease %d: one is open already", m.Lease))
	}
	w, err := found(k.weights.Get(ctx, m.Lease))
	if err != nil {
		return nil, err
	}
	c, err := p.NewChallenge(m.Lease, m.Leaf, l.Client, money.Rate(w.Rate), b.BlockTime)
	if err != nil {
		return nil, err
	}
	if err := k.Market.Hold(ctx, m.Signer, l.Client, c.Fee); err != nil {
		return nil, err
	}
	due := c.Due(b.Pause, p)
	if err := k.open(ctx, l.Host, c, due); err != nil {
		return nil, err
	}
	return &types.MsgChallengeResponse{Due: due}, emit(ctx, &types.EventChallenge{Lease: c.Lease, Host: l.Host, Leaf: c.Leaf, State: "open", Due: due})
}

func (k Keeper) open(ctx context.Context, host string, c proving.Challenge, due int64) error {
	return errors.Join(
		k.challenges.Set(ctx, c.Lease, types.FromChallenge(host, c)),
		k.byHost.Set(ctx, collections.Join(host, c.Lease)),
		k.due.Set(ctx, collections.Join(due, c.Lease)))
}

// end forgets a challenge. Its place in the queue stays: nothing is there by then.
func (k Keeper) end(ctx context.Context, host string, c proving.Challenge, state string) error {
	return errors.Join(
		k.challenges.Remove(ctx, c.Lease),
		k.byHost.Remove(ctx, collections.Join(host, c.Lease)),
		emit(ctx, &types.EventChallenge{Lease: c.Lease, Host: host, Leaf: c.Leaf, State: state}))
}

// AnswerChallenge takes the leaf, and the fee is the host's.
func (k MsgServer) AnswerChallenge(ctx context.Context, m *types.MsgAnswerChallenge) (_ *types.MsgAnswerChallengeResponse, err error) {
	defer refusal.In(&err)
	p, b, err := k.rules(ctx)
	if err != nil {
		return nil, err
	}
	l, err := k.Market.Lease(ctx, m.Lease)
	if err != nil {
		return nil, err
	}
	open, err := k.challenges.Get(ctx, m.Lease)
	switch {
	case errors.Is(err, collections.ErrNotFound):
		return nil, fault.New(fault.NotFound, "answer challenge of lease %d: none is open", m.Lease)
	case err != nil:
		return nil, err
	case l.Host != m.Host:
		return nil, fault.New(fault.Unauthorized, "answer challenge of lease %d: it is another host's", m.Lease)
	}
	c := open.Core()
	if due := c.Due(b.Pause, p); b.BlockTime > due {
		return nil, fault.New(fault.Stale, "answer challenge of lease %d: it was due at %d", m.Lease, due)
	}
	a, err := proof.DecodeAnswer(m.Answer)
	if err != nil {
		return nil, err
	}
	sdk.UnwrapSDKContext(ctx).GasMeter().ConsumeGas(leafGas, "verify leaf")
	if err := c.Verify(l.Root, a); err != nil {
		return nil, err
	}
	if err := k.c.Hosts.Pay(ctx, markettypes.ModuleName, m.Host, c.Fee); err != nil {
		return nil, err
	}
	return &types.MsgAnswerChallengeResponse{}, k.end(ctx, m.Host, c, "answered")
}

// How much of the queue one block does, and how long a thing that failed waits.
const (
	maxThings  = 50
	retryAfter = 3600 // seconds
)

// EndBlock ends challenges that nobody has answered, a bounded number in each
// block: the fee returns, the lease counts as lost.
func (k MsgServer) EndBlock(ctx context.Context) error {
	_, b, err := k.rules(ctx)
	if err != nil {
		return err
	}
	type thing = collections.Pair[int64, uint64]
	var due []thing
	until := new(collections.Range[thing]).EndExclusive(collections.PairPrefix[int64, uint64](b.BlockTime))
	err = k.due.Walk(ctx, until, func(t thing) (bool, error) {
		due = append(due, t)
		return len(due) >= maxThings, nil
	})
	if err != nil {
		return err
	}
	sctx := sdk.UnwrapSDKContext(ctx)
	for _, t := range due {
		if err := k.due.Remove(ctx, t); err != nil {
			return err
		}
		// What can't be done must neither stop the ledger nor leave half of itself behind.
		part, commit := sctx.CacheContext()
		again, err := k.expire(part, t.K2())
		if err != nil {
			sctx.Logger().Error("end of a challenge", "lease", t.K2(), "err", err)
			again = b.BlockTime + retryAfter
		} else {
			commit()
		}
		if again > 0 {
			if err := k.due.Set(ctx, collections.Join(again, t.K2())); err != nil {
				return err
			}
		}
	}
	return nil
}

// expire ends one challenge, or says when to look at it again.
func (k MsgServer) expire(ctx context.Context, id uint64) (again int64, err error) {
	open, err := k.challenges.Get(ctx, id)
	if errors.Is(err, collections.ErrNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	p, b, err := k.rules(ctx)
	if err != nil {
		return 0, err
	}
	c := open.Core()
	if due := c.Due(b.Pause, p); due >= b.BlockTime {
		return due, nil // opened anew since, or the ledger stood still
	}
	w, err := found(k.weights.Get(ctx, id))
	if err != nil {
		return 0, err
	}
	if w.Rate == 0 { // lost or ended meanwhile
		return 0, errors.Join(k.Market.Release(ctx, c.By, c.Fee), k.end(ctx, open.Host, c, "over"))
	}
	s, err := k.judge(ctx, open.Host)
	if err != nil {
		return 0, err
	}
	if s.Frozen {
		return s.Until, nil
	}
	if err := k.lose(ctx, p, open.Host, id, "challenged"); err != nil {
		return 0, err
	}
	return 0, errors.Join(k.Market.Release(ctx, c.By, c.Fee), k.end(ctx, open.Host, c, "unanswered"))
}
