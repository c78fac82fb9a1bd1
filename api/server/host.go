package server

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

// hosting is the host role, or says that there is none.
func (s *Server) hosting() (Host, error) {
	if s.c.Roles.Host == nil {
		return nil, fault.New(fault.NotAHost, "this node has no host role")
	}
	return s.c.Roles.Host, nil
}

func (s *Server) hostRoutes() {
	route(s, huma.Operation{
		OperationID: "host-limits", Method: http.MethodGet, Path: "/v1/host/limits", Tags: []string{"host"},
		Summary: "How much of the line this host may use, and when",
	}, func(ctx context.Context, _ *none) (*body[api.HostLimits], error) {
		h, err := s.hosting()
		if err != nil {
			return nil, err
		}
		return answerWith(h.Limits(ctx))
	})
	route(s, huma.Operation{
		OperationID: "host-set-limits", Method: http.MethodPut, Path: "/v1/host/limits", Tags: []string{"host"},
		Summary: "Set them; they hold at once, and are kept in config.toml",
	}, func(ctx context.Context, in *body[api.HostLimits]) (*body[api.HostLimits], error) {
		h, err := s.hosting()
		if err != nil {
			return nil, err
		}
		return answerWith(h.SetLimits(ctx, in.Body))
	})
	route(s, huma.Operation{
		OperationID: "host-earnings", Method: http.MethodGet, Path: "/v1/host/earnings", Tags: []string{"host"},
		Summary: "What the ledger has paid this host, payment by payment",
	}, func(ctx context.Context, in *struct {
		Since time.Time `query:"since" doc:"Payments from then on; default all"`
	},
	) (*body[api.Earnings], error) {
		h, err := s.hosting()
		if err != nil {
			return nil, err
		}
		return answerWith(h.Earnings(ctx, in.Since))
	})
	route(s, huma.Operation{
		OperationID: "host-measure", Method: http.MethodPost, Path: "/v1/host/measure", Tags: []string{"host"},
		Summary:     "Measure this host's machine again",
		Description: "It takes about three seconds. Clients are told the new figures from then on.",
	}, func(ctx context.Context, _ *none) (*body[api.Measured], error) {
		h, err := s.hosting()
		if err != nil {
			return nil, err
		}
		return answerWith(h.Measure(ctx))
	})
}
