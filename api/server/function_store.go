package server

import (
	"context"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/store"
)

type storeInput struct {
	Name   string `path:"name" maxLength:"63"`
	Prefix string `query:"prefix" maxLength:"256" doc:"Only keys that begin so"`
	After  string `query:"after" maxLength:"256" doc:"Only keys behind this one"`
}

type keyInput struct {
	Name string `path:"name" maxLength:"63"`
	Key  string `query:"key" required:"true" minLength:"1" maxLength:"256"`
}

type valueInput struct {
	Name string `path:"name" maxLength:"63"`
	Key  string `query:"key" required:"true" minLength:"1" maxLength:"256"`
	bodyInput
}

func (s *Server) functionStoreRoutes(op func(id, method, path, summary string) huma.Operation) {
	binary := map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}
	const value = "/v1/functions/{name}/store/value"
	route(s, op("function-store", http.MethodGet, "/v1/functions/{name}/store", "Keys of a function's store, in the order of their bytes"),
		func(ctx context.Context, in *storeInput) (*body[api.FunctionStore], error) {
			r, err := s.functions()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Store(ctx, in.Name, in.Prefix, in.After))
		})
	get := op("function-store-value", http.MethodGet, value, "What a key of a function's store has")
	get.Responses = map[string]*huma.Response{"200": {Description: "The value", Content: binary}}
	route(s, get, func(ctx context.Context, in *keyInput) (*huma.StreamResponse, error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		b, err := r.StoreGet(ctx, in.Name, in.Key)
		if err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(hc huma.Context) {
			_, w := humago.Unwrap(hc)
			w.Header().Set("Content-Type", "application/octet-stream")
			w.Header().Set("Content-Length", strconv.Itoa(len(b)))
			to := patient{control: http.NewResponseController(w), writer: w}
			_, _ = to.Write(b) // a reader that is gone needs no answer
		}}, nil
	})
	put := op("put-function-store-value", http.MethodPut, value, "Give a key of a function's store a value, between two calls")
	put.DefaultStatus = http.StatusNoContent
	put.RequestBody = &huma.RequestBody{Content: binary}
	route(s, put, func(ctx context.Context, in *valueInput) (*none, error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		b, err := in.read("put value", store.MaxValue)
		if err != nil {
			return nil, err
		}
		return &none{}, r.StorePut(ctx, in.Name, in.Key, b)
	})
	remove := op("remove-function-store-value", http.MethodDelete, value, "Remove a key of a function's store, between two calls")
	remove.DefaultStatus = http.StatusNoContent
	route(s, remove, func(ctx context.Context, in *keyInput) (*none, error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		return &none{}, r.StoreRemove(ctx, in.Name, in.Key)
	})
}
