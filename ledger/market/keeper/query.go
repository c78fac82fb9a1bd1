package keeper

import (
	"context"
	"errors"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hearth/ledger/market/types"
)

const maxPage = 200

// QueryServer answers questions about the market.
type QueryServer struct{ Keeper }

var _ types.QueryServer = QueryServer{}

// Lease returns one lease.
func (k QueryServer) Lease(ctx context.Context, r *types.QueryLeaseRequest) (*types.QueryLeaseResponse, error) {
	l, err := k.leases.Get(ctx, r.Id)
	if errors.Is(err, collections.ErrNotFound) {
		return nil, status.Errorf(codes.NotFound, "lease %d: none such", r.Id)
	}
	return &types.QueryLeaseResponse{Lease: l}, err
}

// Leases returns a page of the leases of one side, or of all.
func (k QueryServer) Leases(ctx context.Context, r *types.QueryLeasesRequest) (*types.QueryLeasesResponse, error) {
	limit := int(r.Limit)
	if limit == 0 || limit > maxPage {
		limit = maxPage
	}
	out := &types.QueryLeasesResponse{}
	if r.Client == "" && r.Host == "" {
		err := k.leases.Walk(ctx, new(collections.Range[uint64]).StartExclusive(r.After), func(_ uint64, l types.Lease) (bool, error) {
			out.Leases = append(out.Leases, l)
			return len(out.Leases) >= limit, nil
		})
		return out, err
	}
	if r.Client != "" && r.Host != "" {
		return nil, status.Error(codes.InvalidArgument, "leases: of a client or of a host, not of both")
	}
	index, side := k.byClient, r.Client
	if r.Host != "" {
		index, side = k.byHost, r.Host
	}
	of := collections.NewPrefixedPairRange[string, uint64](side).StartExclusive(r.After)
	err := index.Walk(ctx, of, func(key collections.Pair[string, uint64]) (bool, error) {
		l, err := k.leases.Get(ctx, key.K2())
		out.Leases = append(out.Leases, l)
		return len(out.Leases) >= limit, err
	})
	return out, err
}

// Purse returns a client's purse; one that doesn't exist is empty.
func (k QueryServer) Purse(ctx context.Context, r *types.QueryPurseRequest) (*types.QueryPurseResponse, error) {
	free, err := k.purse(ctx, r.Owner)
	return &types.QueryPurseResponse{Purse: types.Purse{Owner: r.Owner, Free: uint64(free)}}, err
}

// Mandates returns all mandates of a grantor, those included that have ended a
// short while ago.
func (k QueryServer) Mandates(ctx context.Context, r *types.QueryMandatesRequest) (*types.QueryMandatesResponse, error) {
	out := &types.QueryMandatesResponse{}
	err := k.walkMandates(ctx, r.Grantor, func(m types.Mandate) { out.Mandates = append(out.Mandates, m) })
	return out, err
}

// Params returns the parameters.
func (k QueryServer) Params(ctx context.Context, _ *types.QueryParamsRequest) (*types.QueryParamsResponse, error) {
	p, err := k.params.Get(ctx)
	return &types.QueryParamsResponse{Params: p}, err
}
