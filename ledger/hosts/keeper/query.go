package keeper

import (
	"context"

	"cosmossdk.io/collections"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"hearth/ledger/hosts/types"
)

const maxPage = 200

// QueryServer answers questions about hosts.
type QueryServer struct{ Keeper }

var _ types.QueryServer = QueryServer{}

// Host returns one host.
func (k QueryServer) Host(ctx context.Context, r *types.QueryHostRequest) (*types.QueryHostResponse, error) {
	h, err := k.Keeper.Host(ctx, r.Address)
	if err != nil {
		return nil, status.Error(codes.NotFound, err.Error())
	}
	return &types.QueryHostResponse{Host: h}, nil
}

// Hosts returns a page of all hosts, by address.
func (k QueryServer) Hosts(ctx context.Context, r *types.QueryHostsRequest) (*types.QueryHostsResponse, error) {
	limit := int(r.Limit)
	if limit == 0 || limit > maxPage {
		limit = maxPage
	}
	from := new(collections.Range[string])
	if r.After != "" {
		from = from.StartExclusive(r.After)
	}
	out := &types.QueryHostsResponse{}
	err := k.hosts.Walk(ctx, from, func(_ string, h types.Host) (bool, error) {
		out.Hosts = append(out.Hosts, h)
		return len(out.Hosts) >= limit, nil
	})
	return out, err
}

// Params returns the parameters.
func (k QueryServer) Params(ctx context.Context, _ *types.QueryParamsRequest) (*types.QueryParamsResponse, error) {
	p, err := k.params.Get(ctx)
	return &types.QueryParamsResponse{Params: p}, err
}
