package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
	"hearth/core/fault"
)

// Images keeps the account's container images.
type Images interface {
	Images(ctx context.Context) (api.Images, error)
	Remove(ctx context.Context, name string) error    // NAME, NAME:TAG or NAME@DIGEST
	Door(ctx context.Context) (api.ImageDoor, error)  // without its password
	Login(ctx context.Context) (api.ImageDoor, error) // with it; one that is closed is an error
	Registry() http.Handler                           // speaks the OCI distribution protocol
}

func (s *Server) images() (Images, error) {
	if s.c.Roles.Images == nil {
		return nil, fault.New(fault.BadRequest, "this node has no client role, so it has no images")
	}
	return s.c.Roles.Images, nil
}

func (s *Server) imageRoutes() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"images"}}
	}
	list := op("images", http.MethodGet, "/v1/images", "Every container image of the account")
	list.Description = "Images are pushed and pulled by the OCI distribution protocol, below /v2/ of this API too."
	route(s, list, func(ctx context.Context, _ *none) (*body[api.Images], error) {
		r, err := s.images()
		if err != nil {
			return nil, err
		}
		return answerWith(r.Images(ctx))
	})
	remove := op("remove-image", http.MethodDelete, "/v1/images", "Remove an image, and what it alone is made of")
	remove.DefaultStatus = http.StatusNoContent
	route(s, remove, func(ctx context.Context, in *struct {
		Name string `query:"name" required:"true" maxLength:"512" doc:"NAME: all of it; NAME:TAG: the tag, and what it stands for unless that has another; NAME@DIGEST" example:"app:v1"`
	},
	) (*none, error) {
		r, err := s.images()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Remove(ctx, in.Name)
	})
	route(s, op("image-door", http.MethodGet, "/v1/images/door", "The door for images, without its password"), func(ctx context.Context, _ *none) (*body[api.ImageDoor], error) {
		r, err := s.images()
		if err != nil {
			return nil, err
		}
		return answerWith(r.Door(ctx))
	})
	route(s, op("image-login", http.MethodGet, "/v1/images/login", "The door for images with its password; address_taken or not_found where it isn't open"),
		func(ctx context.Context, _ *none) (*body[api.ImageDoor], error) {
			r, err := s.images()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Login(ctx))
		})
}
