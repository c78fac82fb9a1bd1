package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/quote"
)

const (
	usualPage = 100
	maxPage   = 1000
)

func (s *Server) walletRoutes() {
	wallet := s.c.Roles.Wallet
	route(s, huma.Operation{
		OperationID: "wallet", Method: http.MethodGet, Path: "/v1/wallet", Tags: []string{"wallet"},
		Summary: "The account, its money, and what this device may spend",
	}, func(ctx context.Context, _ *none) (*body[api.Wallet], error) {
		return answerWith(wallet.Show(ctx))
	})
	route(s, huma.Operation{
		OperationID: "wallet-send", Method: http.MethodPost, Path: "/v1/wallet/send", Tags: []string{"wallet"},
		Summary: "Pay another account",
	}, func(ctx context.Context, in *spend[api.Payment]) (*body[api.Tx], error) {
		amount, err := positive(in.Body.Amount)
		if err != nil {
			return nil, err
		}
		return answerWith(wallet.Send(ctx, in.Body.To, amount))
	})
	route(s, huma.Operation{
		OperationID: "wallet-fund", Method: http.MethodPost, Path: "/v1/wallet/fund", Tags: []string{"wallet"},
		Summary: "Put money from the account into the purse",
	}, func(ctx context.Context, in *spend[api.Sum]) (*body[api.Tx], error) {
		amount, err := positive(in.Body.Amount)
		if err != nil {
			return nil, err
		}
		return answerWith(wallet.Fund(ctx, amount))
	})
	route(s, huma.Operation{
		OperationID: "wallet-withdraw", Method: http.MethodPost, Path: "/v1/wallet/withdraw", Tags: []string{"wallet"},
		Summary: "Take money out of the purse, 0 for all that is free",
	}, func(ctx context.Context, in *spend[api.Sum]) (*body[api.Tx], error) {
		amount, err := in.Body.Amount.Value()
		if err != nil {
			return nil, err
		}
		return answerWith(wallet.Withdraw(ctx, amount))
	})
}

func positive(m api.Money) (money.Amount, error) {
	amount, err := m.Value()
	if err == nil && amount == 0 {
		err = fault.New(fault.BadRequest, "read amount: it is 0")
	}
	return amount, err
}

func (s *Server) marketRoutes() {
	market := s.c.Roles.Market
	route(s, huma.Operation{
		OperationID: "market-quotes", Method: http.MethodGet, Path: "/v1/market/quotes", Tags: []string{"market"},
		Summary: "Ask the network's hosts for their prices",
	}, func(ctx context.Context, in *struct {
		Kind string `query:"kind" enum:"storage,compute,edge,relay,talk" default:"storage"`
	},
	) (*body[api.Quotes], error) {
		kind := in.Kind
		if kind == "" {
			kind = quote.Storage.String()
		}
		return answerWith(market.Quotes(ctx, kind))
	})
	route(s, huma.Operation{
		OperationID: "leases", Method: http.MethodGet, Path: "/v1/leases", Tags: []string{"market"},
		Summary: "This account's leases, as client and as host",
	}, func(ctx context.Context, in *struct {
		After string `query:"after" doc:"'next' of the page before"`
		Limit int    `query:"limit" minimum:"1" maximum:"1000" default:"100"`
	},
	) (*body[api.Leases], error) {
		return s.leases(ctx, in.After, in.Limit)
	})
	route(s, huma.Operation{
		OperationID: "lease", Method: http.MethodGet, Path: "/v1/leases/{id}", Tags: []string{"market"},
		Summary: "One lease",
	}, func(ctx context.Context, in *struct {
		ID uint64 `path:"id"`
	},
	) (*body[api.Lease], error) {
		return answerWith(market.Lease(ctx, in.ID))
	})
}

// leases asks for one lease more than the page holds, to know whether another
// page follows.
func (s *Server) leases(ctx context.Context, cursor string, limit int) (*body[api.Leases], error) {
	var after uint64
	if cursor != "" {
		var err error
		if after, err = strconv.ParseUint(cursor, 10, 64); err != nil {
			return nil, fault.New(fault.BadRequest, "list leases: %q is no cursor", cursor)
		}
	}
	if limit < 1 || limit > maxPage {
		limit = usualPage
	}
	found, err := s.c.Roles.Market.Leases(ctx, after, limit+1)
	if err != nil {
		return nil, err
	}
	page := api.Leases{Leases: found}
	if len(found) > limit {
		page.Leases = found[:limit]
		page.Next = strconv.FormatUint(found[limit-1].ID, 10)
	}
	return &body[api.Leases]{page}, nil
}
