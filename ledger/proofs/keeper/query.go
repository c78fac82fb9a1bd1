package keeper

import (
	"context"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hearth/core/fault"
	"hearth/ledger/proofs/types"
)

const maxPage = 100

// QueryServer answers questions about proofs.
type QueryServer struct{ MsgServer }

var _ types.QueryServer = QueryServer{}

// Turn tells a host's part in the present period.
func (k QueryServer) Turn(ctx context.Context, r *types.QueryTurnRequest) (*types.QueryTurnResponse, error) {
	s, _, err := k.look(ctx, r.Host)
	if fault.CodeOf(err) == fault.NotAHost {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	if err != nil {
		return nil, err
	}
	period := s.rules.At(s.now)
	out := &types.QueryTurnResponse{
		Time: s.now, Period: period, Begins: s.rules.Begins(period), Ends: s.Until, SlotBegins: s.rules.SlotBegins(period, s.slot),
		Owes: s.record.Owes(s.now, s.rules), Frozen: s.Frozen, Misses: int64(s.record.Misses(s.rules)), Run: int64(s.record.Run),
	}
	if !s.Frozen || s.total == 0 {
		return out, nil
	}
	seed, err := k.seed(ctx, s)
	if err != nil {
		return nil, err
	}
	draws, err := k.draws(ctx, s, seed, k.root)
	if err != nil {
		return nil, err
	}
	out.Seed = seed[:]
	for _, d := range draws {
		out.Draws = append(out.Draws, types.Draw{Lease: d.lease, Root: d.root[:]})
	}
	return out, nil
}

// Challenges lists what is demanded of a host.
func (k QueryServer) Challenges(ctx context.Context, r *types.QueryChallengesRequest) (*types.QueryChallengesResponse, error) {
	p, b, err := k.rules(ctx)
	if err != nil {
		return nil, err
	}
	out := &types.QueryChallengesResponse{}
	of := collections.NewPrefixedPairRange[string, uint64](r.Host)
	err = k.byHost.Walk(ctx, of, func(key collections.Pair[string, uint64]) (bool, error) {
		c, err := k.challenges.Get(ctx, key.K2())
		if err != nil {
			return true, err
		}
		root, err := k.root(ctx, c.Lease)
		out.Challenges = append(out.Challenges, types.OpenChallenge{Lease: c.Lease, Leaf: c.Leaf, Root: root[:], Due: c.Core().Due(b.Pause, p)})
		return len(out.Challenges) >= maxPage, err
	})
	return out, err
}

// Params returns the parameters.
func (k QueryServer) Params(ctx context.Context, _ *types.QueryParamsRequest) (*types.QueryParamsResponse, error) {
	p, err := k.params.Get(ctx)
	return &types.QueryParamsResponse{Params: p}, err
}
