package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

// An S3 is the door that S3 tools use, and its keys.
type S3 interface {
	Door(ctx context.Context) (api.S3Door, error)
	Open(ctx context.Context, at api.S3Listen) (api.S3Door, error) // one that is open is refused
	Close(ctx context.Context) (api.S3Door, error)

	Keys(ctx context.Context) (api.S3Keys, error)
	AddKey(ctx context.Context, wish api.S3KeyWish) (api.S3Key, error)
	// Secret shows a key with its secret, by name or access key. An empty word is
	// the usual key without limits, which is made if there is none.
	Secret(ctx context.Context, which string) (api.S3Key, error)
	RemoveKey(ctx context.Context, access string) error
}

func (s *Server) s3Routes() {
	role := func() (S3, error) {
		if s.c.Roles.S3 == nil {
			return nil, fault.New(fault.BadRequest, "this node has no client role, so it has no S3 door")
		}
		return s.c.Roles.S3, nil
	}
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"s3"}}
	}
	route(s, op("s3", http.MethodGet, "/v1/s3", "The S3 door"), func(ctx context.Context, _ *none) (*body[api.S3Door], error) {
		r, err := role()
		if err != nil {
			return nil, err
		}
		return answerWith(r.Door(ctx))
	})
	route(s, op("s3-open", http.MethodPost, "/v1/s3/open", "Open the S3 door until it is closed or the node ends"),
		func(ctx context.Context, in *struct{ Body api.S3Listen }) (*body[api.S3Door], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Open(ctx, in.Body))
		})
	route(s, op("s3-close", http.MethodPost, "/v1/s3/close", "Close the S3 door"), func(ctx context.Context, _ *none) (*body[api.S3Door], error) {
		r, err := role()
		if err != nil {
			return nil, err
		}
		return answerWith(r.Close(ctx))
	})
	route(s, op("s3-keys", http.MethodGet, "/v1/s3/keys", "The keys of the S3 door, without their secrets"), func(ctx context.Context, _ *none) (*body[api.S3Keys], error) {
		r, err := role()
		if err != nil {
			return nil, err
		}
		return answerWith(r.Keys(ctx))
	})
	route(s, op("s3-key-add", http.MethodPost, "/v1/s3/keys", "Make a key of the S3 door; the answer has its secret"),
		func(ctx context.Context, in *struct{ Body api.S3KeyWish }) (*body[api.S3Key], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.AddKey(ctx, in.Body))
		})
	route(s, op("s3-secret", http.MethodGet, "/v1/s3/secret", "A key of the S3 door with its secret"),
		func(ctx context.Context, in *struct {
			Key string `query:"key" doc:"Its name or access key; empty: the usual one without limits, made if there is none"`
		},
		) (*body[api.S3Key], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Secret(ctx, in.Key))
		})
	remove := op("s3-key-remove", http.MethodDelete, "/v1/s3/keys/{access}", "Revoke a key of the S3 door")
	remove.DefaultStatus = http.StatusNoContent
	route(s, remove, func(ctx context.Context, in *struct {
		Access string `path:"access"`
	},
	) (*none, error) {
		r, err := role()
		if err != nil {
			return nil, err
		}
		return &none{}, r.RemoveKey(ctx, in.Access)
	})
}
