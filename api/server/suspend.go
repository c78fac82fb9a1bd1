package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
)

func (s *Server) suspendRoute(op huma.Operation) {
	op.DefaultStatus = http.StatusNoContent
	route(s, op, func(ctx context.Context, in *instanceName) (*none, error) {
		r, err := s.instances()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Suspend(ctx, in.Name)
	})
}
