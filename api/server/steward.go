package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

// Stewards look after what this node stores while it is away.
type Stewards interface {
	List(ctx context.Context) (api.Stewards, error)
	Hire(ctx context.Context, host string, q api.HireSteward) (api.Steward, error)
	Dismiss(ctx context.Context, host string) error
}

// stewards is the client's part of the node, or says that there is none.
func (s *Server) stewards() (Stewards, error) {
	if s.c.Roles.Stewards == nil {
		return nil, fault.New(fault.BadRequest, "this node has no client role: it stores nothing that a steward could look after")
	}
	return s.c.Roles.Stewards, nil
}

type stewardPath struct {
	Host string `path:"host" maxLength:"128" doc:"The steward's account"`
}

func (s *Server) stewardRoutes() {
	tags := []string{"stewards"}
	route(s, huma.Operation{
		OperationID: "stewards", Method: http.MethodGet, Path: "/v1/stewards", Tags: tags,
		Summary: "Who looks after the data of this account, and how whole it is",
	}, func(ctx context.Context, _ *none) (*body[api.Stewards], error) {
		r, err := s.stewards()
		if err != nil {
			return nil, err
		}
		return answerWith(r.List(ctx))
	})
	route(s, huma.Operation{
		OperationID: "steward-hire", Method: http.MethodPut, Path: "/v1/stewards/{host}", Tags: tags,
		Summary: "Hire a steward, or change what one may spend",
	}, func(ctx context.Context, in *struct {
		Host string `path:"host" maxLength:"128" doc:"The steward's account, or any"`
		Body api.HireSteward
	},
	) (*body[api.Steward], error) {
		r, err := s.stewards()
		if err != nil {
			return nil, err
		}
		host := in.Host
		if host == api.AnySteward {
			host = ""
		}
		return answerWith(r.Hire(ctx, host, in.Body))
	})
	route(s, huma.Operation{
		OperationID: "steward-dismiss", Method: http.MethodDelete, Path: "/v1/stewards/{host}", Tags: tags,
		Summary: "End a steward's mandate now",
	}, func(ctx context.Context, in *stewardPath) (*none, error) {
		r, err := s.stewards()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Dismiss(ctx, in.Host)
	})
}
