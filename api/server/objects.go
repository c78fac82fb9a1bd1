package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

type (
	bucketName struct {
		Bucket string `path:"bucket" maxLength:"63"`
	}
	objectName struct {
		Bucket string `path:"bucket" maxLength:"63"`
		Key    string `path:"key" doc:"May hold slashes, as they are or escaped"`
	}
	listInput struct {
		Bucket    string `path:"bucket" maxLength:"63"`
		Prefix    string `query:"prefix" maxLength:"1024"`
		Delimiter string `query:"delimiter" maxLength:"8" doc:"Usually /: what follows it in a key is folded into 'prefixes'"`
		After     string `query:"after" maxLength:"1024" doc:"'next' of the page before"`
		Limit     int    `query:"limit" minimum:"1" maximum:"1000" default:"1000"`
	}
)

func (s *Server) objectRoutes() {
	s.bucketRoutes()
	storage := s.c.Roles.Storage
	route(s, huma.Operation{
		OperationID: "list-objects", Method: http.MethodGet, Path: "/v1/objects/{bucket}", Tags: []string{"objects"},
		Summary: "One page of a bucket's objects, by key",
	}, func(ctx context.Context, in *listInput) (*body[api.Objects], error) {
		return answerWith(storage.List(ctx, in.Bucket, api.ListQuery{
			Prefix: in.Prefix, Delimiter: in.Delimiter, After: in.After, Limit: in.Limit,
		}))
	})
	route(s, huma.Operation{
		OperationID: "stat-object", Method: http.MethodGet, Path: "/v1/stat/{bucket}/{key}", Tags: []string{"objects"},
		Summary: "What the index says of an object",
	}, func(ctx context.Context, in *objectName) (*body[api.Object], error) {
		if err := checkKey(in.Key); err != nil {
			return nil, err
		}
		return answerWith(storage.Stat(ctx, in.Bucket, in.Key))
	})
	route(s, huma.Operation{
		OperationID: "object-health", Method: http.MethodGet, Path: "/v1/health/{bucket}/{key}", Tags: []string{"objects"},
		Summary: "How well an object is kept: asks the hosts of its shards",
	}, func(ctx context.Context, in *objectName) (*body[api.Health], error) {
		if err := checkKey(in.Key); err != nil {
			return nil, err
		}
		return answerWith(storage.Health(ctx, in.Bucket, in.Key))
	})
	route(s, huma.Operation{
		OperationID: "remove-object", Method: http.MethodDelete, Path: "/v1/objects/{bucket}/{key}", Tags: []string{"objects"},
		Summary: "Remove an object", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *objectName) (*none, error) {
		if err := checkKey(in.Key); err != nil {
			return nil, err
		}
		return &none{}, storage.Remove(ctx, in.Bucket, in.Key)
	})
	s.checkRoute()
	s.putRoute()
	s.getRoutes()
}

func (s *Server) bucketRoutes() {
	storage := s.c.Roles.Storage
	route(s, huma.Operation{
		OperationID: "list-buckets", Method: http.MethodGet, Path: "/v1/buckets", Tags: []string{"objects"},
		Summary: "Every bucket",
	}, func(ctx context.Context, _ *none) (*body[api.Buckets], error) {
		found, err := storage.Buckets(ctx)
		return answerWith(api.Buckets{Buckets: found}, err)
	})
	route(s, huma.Operation{
		OperationID: "make-bucket", Method: http.MethodPut, Path: "/v1/buckets/{bucket}", Tags: []string{"objects"},
		Summary: "Make a bucket; one that is there stays as it is",
	}, func(ctx context.Context, in *bucketName) (*body[api.Bucket], error) {
		return answerWith(storage.MakeBucket(ctx, in.Bucket))
	})
	route(s, huma.Operation{
		OperationID: "remove-bucket", Method: http.MethodDelete, Path: "/v1/buckets/{bucket}", Tags: []string{"objects"},
		Summary: "Remove an empty bucket", DefaultStatus: http.StatusNoContent,
	}, func(ctx context.Context, in *bucketName) (*none, error) {
		return &none{}, storage.RemoveBucket(ctx, in.Bucket)
	})
}

func checkKey(key string) error {
	if key == "" || len(key) > api.MaxKey {
		return fault.New(fault.BadName, "object: its key has %d bytes, 1 to %d are allowed", len(key), api.MaxKey)
	}
	return nil
}
