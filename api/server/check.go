package server

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"hearth/api"
)

type checkInput struct {
	Bucket       string `path:"bucket" maxLength:"63"`
	Prefix       string `query:"prefix" maxLength:"1024"`
	After        string `query:"after" maxLength:"1024" doc:"'next' of the page before"`
	AfterVersion string `query:"after_version" maxLength:"64" doc:"'next_version' of the page before"`
	Limit        int    `query:"limit" minimum:"1" maximum:"200" default:"100"`
	Samples      int    `query:"samples" minimum:"0" maximum:"16" default:"0" doc:"Stretches of 64 KiB of each object that are read as well; reading is paid"`
}

func (s *Server) checkRoute() {
	storage := s.c.Roles.Storage
	route(s, huma.Operation{
		OperationID: "check-objects", Method: http.MethodPost, Path: "/v1/check/{bucket}", Tags: []string{"objects"},
		Summary: "Ask the hosts of a page of a bucket's versions what they hold of them",
	}, func(ctx context.Context, in *checkInput) (*body[api.Findings], error) {
		return answerWith(storage.Check(ctx, in.Bucket, api.CheckQuery{
			Prefix: in.Prefix, After: in.After, AfterVersion: in.AfterVersion, Limit: in.Limit, Samples: in.Samples,
		}))
	})
}
