package keeper

import (
	"context"
	"slices"

	"cosmossdk.io/collections"
	sdk "github.com/cosmos/cosmos-sdk/types"

	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/proof"
	"hearth/core/proving"
	"hearth/ledger/proofs/types"
	"hearth/ledger/refusal"
)

// MsgServer carries out the messages of proofs.
type MsgServer struct {
	Keeper
	Market Market
}

var _ types.MsgServer = MsgServer{}

// leafGas is what checking one leaf with its paths costs, as much as twenty
// signatures: about 15 us and half as many hashes.
const leafGas = 5_000

// drawn is one draw of a host.
type drawn struct {
	lease uint64
	root  proof.Hash
}

// seed is where a host's draws of this period come from, once its slot has begun.
func (k Keeper) seed(ctx context.Context, s standing) (proving.Seed, error) {
	var r proving.Hash
	if s.slot >= s.beacon.Marked {
		return proving.Seed{}, fault.New(fault.BadRequest, "draw for host %s: its slot hasn't begun", s.host.Address)
	}
	b, err := k.marks.Get(ctx, s.slot)
	if err != nil {
		return proving.Seed{}, err
	}
	copy(r[:], b)
	return proving.SeedOf(s.host.Address, s.rules.At(s.now), r), nil
}

// draws are the leases that a host must show a leaf of. A lease may come twice.
func (k Keeper) draws(ctx context.Context, s standing, seed proving.Seed, read func(context.Context, uint64) (proof.Hash, error)) ([]drawn, error) {
	t, err := k.tree(ctx, s.host.Address)
	if err != nil {
		return nil, err
	}
	out := make([]drawn, s.rules.Draws)
	for i := range out {
		index := t.Find(seed.Rate(i, s.total))
		if t.err != nil {
			return nil, t.err
		}
		if out[i].lease, err = k.byIndex.Get(ctx, collections.Join(s.host.Address, index)); err != nil {
			return nil, err
		}
		if out[i].root, err = read(ctx, out[i].lease); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// root is the root that the ledger has for a lease.
func (k MsgServer) root(ctx context.Context, id uint64) (proof.Hash, error) {
	l, err := k.Market.Lease(ctx, id)
	return l.Root, err
}

// Answer takes all leaves that were drawn for a host. One that is wrong refuses
// them all.
func (k MsgServer) Answer(ctx context.Context, m *types.MsgAnswer) (_ *types.MsgAnswerResponse, err error) {
	defer refusal.In(&err)
	s, err := k.judge(ctx, m.Host)
	if err != nil {
		return nil, err
	}
	if now := s.rules.At(s.now); m.Period != now {
		return nil, fault.New(fault.Stale, "answer for period %d: it is %d now", m.Period, now)
	}
	answers, err := m.ReadAnswers(s.rules.Draws)
	if err != nil {
		return nil, err
	}
	confessed := slices.Contains(answers, nil)
	var verdict proving.Verdict
	var after proving.Record
	if confessed {
		after, verdict, err = s.record.Confess(s.now, s.slot, money.Rate(s.total), s.rules)
	} else {
		after, err = s.record.Answer(s.now, s.slot, s.rules)
	}
	if err != nil {
		return nil, err
	}
	lost, err := k.verify(ctx, s, answers, m.Confessed)
	if err != nil {
		return nil, err
	}
	s.record = after
	if !confessed {
		if err := k.write(ctx, &s); err != nil {
			return nil, err
		}
		return &types.MsgAnswerResponse{Paid: true}, emit(ctx, &types.EventProof{Host: m.Host, Result: "answered", Period: m.Period, Periods: 1})
	}
	if err := k.punish(ctx, &s, verdict, m.Period); err != nil {
		return nil, err
	}
	for _, id := range lost {
		if err := k.lose(ctx, s.rules, m.Host, id, "confessed"); err != nil {
			return nil, err
		}
	}
	return &types.MsgAnswerResponse{}, nil
}

// verify checks every answer and gives the leases that are confessed, each once.
func (k MsgServer) verify(ctx context.Context, s standing, answers []*proof.Answer, confessed []uint64) (lost []uint64, err error) {
	seed, err := k.seed(ctx, s)
	if err != nil {
		return nil, err
	}
	draws, err := k.draws(ctx, s, seed, k.root)
	if err != nil {
		return nil, err
	}
	meter := sdk.UnwrapSDKContext(ctx).GasMeter()
	for i, a := range answers {
		d := draws[i]
		if a == nil {
			if !slices.Contains(confessed, d.lease) {
				return nil, fault.New(fault.BadRequest, "draw %d: it falls on lease %d, which is neither shown nor confessed", i, d.lease)
			}
			if !slices.Contains(lost, d.lease) {
				lost = append(lost, d.lease)
			}
			continue
		}
		meter.ConsumeGas(leafGas, "verify leaf")
		if err := seed.Verify(i, d.root, *a); err != nil {
			return nil, fault.New(fault.CodeOf(err), "draw %d of lease %d: %w", i, d.lease, err)
		}
	}
	return lost, nil
}

// maxLosses is how many leases one message declares lost.
const maxLosses = 100

// DeclareLoss takes a host's word, before its slot, that leases are lost.
func (k MsgServer) DeclareLoss(ctx context.Context, m *types.MsgDeclareLoss) (_ *types.MsgDeclareLossResponse, err error) {
	defer refusal.In(&err)
	s, err := k.judge(ctx, m.Host)
	if err != nil {
		return nil, err
	}
	if n := len(m.Leases); n == 0 || n > maxLosses {
		return nil, fault.New(fault.TooLarge, "declare loss: %d leases, allowed are 1 to %d", n, maxLosses)
	}
	for _, id := range m.Leases {
		w, err := found(k.weights.Get(ctx, id))
		if err != nil {
			return nil, err
		}
		if w.Rate > 0 && w.Host != m.Host {
			return nil, fault.New(fault.Unauthorized, "declare loss of lease %d: it is another host's", id)
		}
		if err := s.record.MayLose(money.Rate(w.Rate), s.now, s.slot, s.rules); err != nil {
			return nil, err
		}
		if err := k.lose(ctx, s.rules, m.Host, id, "declared"); err != nil {
			return nil, err
		}
	}
	return &types.MsgDeclareLossResponse{}, nil
}

// lose ends a lease's rate and compensates its client out of the host's bond.
func (k MsgServer) lose(ctx context.Context, p proving.Params, host string, id uint64, reason string) error {
	before, err := k.Market.Lose(ctx, id)
	if err != nil {
		return err
	}
	h, err := k.c.Hosts.Host(ctx, host)
	if err != nil {
		return err
	}
	r, bond, taken := h.Proving.Core().Take(money.Amount(h.Bond), p.Loss(before.Rate))
	if err := k.c.Hosts.SetProving(ctx, host, r, bond); err != nil {
		return err
	}
	if err := k.Market.Compensate(ctx, before.Client, taken); err != nil {
		return err
	}
	return emit(ctx, &types.EventLost{Lease: id, Host: host, Reason: reason, Compensation: uint64(taken)})
}

// Judge brings a host's record up to now, for whoever wants to see it so.
func (k MsgServer) Judge(ctx context.Context, m *types.MsgJudge) (_ *types.MsgJudgeResponse, err error) {
	defer refusal.In(&err)
	_, err = k.judge(ctx, m.Host)
	return &types.MsgJudgeResponse{}, err
}

// UpdateParams is for governance. Periods go on: their start and length stay.
func (k MsgServer) UpdateParams(ctx context.Context, m *types.MsgUpdateParams) (_ *types.MsgUpdateParamsResponse, err error) {
	defer refusal.In(&err)
	if m.Authority != k.c.Authority {
		return nil, fault.New(fault.Unauthorized, "update proofs parameters: %s may, not %s", k.c.Authority, m.Authority)
	}
	if err := m.Params.Validate(); err != nil {
		return nil, err
	}
	was, err := k.params.Get(ctx)
	if err != nil {
		return nil, err
	}
	if m.Params.Start != was.Start || m.Params.PeriodSeconds != was.PeriodSeconds || m.Params.MaxSlots != was.MaxSlots {
		return nil, fault.New(fault.BadRequest, "update proofs parameters: periods and slots of a network stay as they are")
	}
	return &types.MsgUpdateParamsResponse{}, k.params.Set(ctx, m.Params)
}
