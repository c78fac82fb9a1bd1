package server

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/sse"

	"hearth/api"
	"hearth/core/fault"
)

// Shapes that huma fills from a request, or writes as an answer.
type (
	none         struct{}
	body[T any]  struct{ Body T }
	spend[T any] struct {
		Key  string `header:"Idempotency-Key" required:"true" maxLength:"128" doc:"One for each thing wanted: the same key and body again get the first answer again, for 24 h"`
		Body T
	}
)

func answerWith[T any](v T, err error) (*body[T], error) {
	if err != nil {
		return nil, err
	}
	return &body[T]{v}, nil
}

func (s *Server) nodeRoutes() {
	node := s.c.Roles.Node
	route(s, huma.Operation{
		OperationID: "node-status", Method: http.MethodGet, Path: "/v1/node", Tags: []string{"node"},
		Summary: "What is running here",
	}, func(ctx context.Context, _ *none) (*body[api.Node], error) {
		return answerWith(node.Status(ctx))
	})
	route(s, huma.Operation{
		OperationID: "ledger-status", Method: http.MethodGet, Path: "/v1/ledger", Tags: []string{"node"},
		Summary: "How far this node sees the ledger, and through which ledger nodes",
	}, func(ctx context.Context, _ *none) (*body[api.Ledger], error) {
		return answerWith(s.c.Roles.Ledger.Status(ctx))
	})
	route(s, huma.Operation{
		OperationID: "host-status", Method: http.MethodGet, Path: "/v1/host", Tags: []string{"host"},
		Summary: "What this host offers, holds and earns",
	}, func(ctx context.Context, _ *none) (*body[api.Host], error) {
		if s.c.Roles.Host == nil {
			return nil, fault.New(fault.NotAHost, "host status: this node has no host role")
		}
		return answerWith(s.c.Roles.Host.Status(ctx))
	})
	route(s, huma.Operation{
		OperationID: "host-leave", Method: http.MethodPost, Path: "/v1/host/leave", Tags: []string{"host"},
		Summary:     "Give notice",
		Description: "The host proves and serves what it holds until the notice ends; then its bond returns.",
	}, func(ctx context.Context, _ *struct {
		Key string `header:"Idempotency-Key" required:"true" maxLength:"128"`
	},
	) (*body[api.Host], error) {
		if s.c.Roles.Host == nil {
			return nil, fault.New(fault.NotAHost, "leave: this node has no host role")
		}
		return answerWith(s.c.Roles.Host.Leave(ctx))
	})
	events := huma.Operation{
		OperationID: "events", Method: http.MethodGet, Path: "/v1/events", Tags: []string{"node"},
		Summary: "What a person would want to be told, as it happens",
	}
	describeProblem(s.api, &events)
	sse.Register(s.api, events, map[string]any{"event": api.Event{}}, func(ctx context.Context, _ *none, send sse.Sender) {
		err := node.Events(ctx, func(e api.Event) error { return send.Data(e) })
		if err != nil && ctx.Err() == nil {
			s.c.Log.WarnContext(ctx, "events ended", "error", err)
		}
	})
}

// ready answers 200 when every check passes; ?verbose shows each.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	status := http.StatusOK
	var lines strings.Builder
	for _, c := range s.c.Roles.Node.Ready(r.Context()) {
		mark := "ok"
		if !c.OK {
			mark, status = "not ok: "+c.Detail, http.StatusServiceUnavailable
		}
		if !c.OK || r.URL.Query().Has("verbose") {
			fmt.Fprintf(&lines, "%s %s\n", c.Name, mark)
		}
	}
	if status == http.StatusOK {
		lines.WriteString("ready\n")
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(lines.String())) // a reader that is gone needs no answer
}
