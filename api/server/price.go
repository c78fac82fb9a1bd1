package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

// maxPriced bounds what a price may be asked for.
const maxPriced = 1 << 60

func (s *Server) priceRoutes() {
	route(s, huma.Operation{
		OperationID: "price", Method: http.MethodGet, Path: "/v1/price", Tags: []string{"market"},
		Summary: "What storing so many bytes would cost; no money moves",
	}, func(ctx context.Context, in *struct {
		Bytes int64  `query:"bytes" minimum:"0"`
		Class string `query:"code" doc:"k/n; default the node's"`
	},
	) (*body[api.Price], error) {
		if in.Bytes < 0 || in.Bytes > maxPriced {
			return nil, fault.New(fault.BadRequest, "price of %d bytes: 0 to %d can be priced", in.Bytes, int64(maxPriced))
		}
		return answerWith(s.c.Roles.Market.Price(ctx, in.Bytes, in.Class))
	})
	route(s, huma.Operation{
		OperationID: "price-agree", Method: http.MethodPut, Path: "/v1/price/agreed", Tags: []string{"market"},
		Summary: "Remember up to what a month the owner agrees to without being asked again",
	}, func(ctx context.Context, in *body[api.Sum]) (*none, error) {
		amount, err := in.Body.Amount.Value()
		if err != nil {
			return nil, err
		}
		return &none{}, s.c.Roles.Market.Agree(ctx, amount)
	})
	route(s, huma.Operation{
		OperationID: "wallet-cap", Method: http.MethodPut, Path: "/v1/wallet/cap", Tags: []string{"wallet"},
		Summary:     "Set what this device may put into leases in 30 days",
		Description: "The mandate on the ledger is changed by the account's own key. What is used stays used.",
	}, func(ctx context.Context, in *body[api.Sum]) (*body[api.Wallet], error) {
		amount, err := in.Body.Amount.Value()
		if err != nil {
			return nil, err
		}
		return answerWith(s.c.Roles.Wallet.SetCap(ctx, amount))
	})
}
