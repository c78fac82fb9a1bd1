package server

import (
	"context"
	"slices"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

type statsInput struct {
	Names []string `query:"name,explode" doc:"Of these only; none: of all"`
	Over  int64    `query:"over" minimum:"100" maximum:"10000" default:"1000" doc:"Milliseconds between the two looks that rates are measured with"`
}

func (s *Server) statsRoute(op huma.Operation) {
	route(s, op, func(ctx context.Context, in *statsInput) (*body[api.Stats], error) {
		r, err := s.instances()
		if err != nil {
			return nil, err
		}
		return answerWith(stats(ctx, r, in.Names, time.Duration(in.Over)*time.Millisecond))
	})
}

// stats looks twice, over apart.
func stats(ctx context.Context, r Instances, names []string, over time.Duration) (out api.Stats, err error) {
	before, err := r.Instances(ctx)
	if err != nil {
		return out, err
	}
	for _, name := range names {
		if !slices.ContainsFunc(before.Instances, func(i api.Instance) bool { return i.Name == name }) {
			return out, fault.New(fault.NoInstance, "instance %.100s: the account has none of this name", name)
		}
	}
	select {
	case <-time.After(over):
	case <-ctx.Done():
		return out, context.Cause(ctx)
	}
	after, err := r.Instances(ctx)
	if err != nil {
		return out, err
	}
	out = api.Between(before, after)
	if len(names) > 0 {
		out.Stats = slices.DeleteFunc(out.Stats, func(s api.Stat) bool { return !slices.Contains(names, s.Name) })
	}
	return out, nil
}
