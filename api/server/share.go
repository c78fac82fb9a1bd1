package server

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/fault"
)

// Sharing gives out links, and opens those of others.
type Sharing interface {
	Share(ctx context.Context, w api.ShareWish) (api.Share, error)
	Shares(ctx context.Context) (api.Shares, error)
	Revoke(ctx context.Context, serial string) (api.Revoked, error)
	// Open reads what a link leads to; it is paid on this node's own leases, or from the link's purse.
	Open(ctx context.Context, link string) (api.Linked, error)
	// Read writes an object of a link.
	Read(ctx context.Context, link, key string, to io.Writer) error
}

func (s *Server) shareRoutes() {
	role := func() (Sharing, error) {
		if s.c.Roles.Sharing == nil {
			return nil, fault.New(fault.BadRequest, "this node has no client role, so it shares nothing")
		}
		return s.c.Roles.Sharing, nil
	}
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"sharing"}}
	}
	route(s, op("share", http.MethodPost, "/v1/shares", "Give out a link to objects as they are now"),
		func(ctx context.Context, in *struct{ Body api.ShareWish }) (*body[api.Share], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Share(ctx, in.Body))
		})
	route(s, op("shares", http.MethodGet, "/v1/shares", "The links of the account that hold"),
		func(ctx context.Context, _ *none) (*body[api.Shares], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Shares(ctx))
		})
	route(s, op("revoke-share", http.MethodDelete, "/v1/shares/{serial}", "End a link; what was read stays read"),
		func(ctx context.Context, in *struct {
			Serial string `path:"serial" maxLength:"32"`
		},
		) (*body[api.Revoked], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Revoke(ctx, in.Serial))
		})
	route(s, op("open-link", http.MethodPost, "/v1/links", "What somebody's link opens; reading it is paid on this node's own leases, or by the owner"),
		func(ctx context.Context, in *struct{ Body api.LinkWish }) (*body[api.Linked], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Open(ctx, in.Body.Link))
		})
	read := op("read-link", http.MethodPost, "/v1/links/read", "Read an object of a link")
	read.Responses = map[string]*huma.Response{"200": {Description: "The object", Content: map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}}
	route(s, read, func(ctx context.Context, in *struct{ Body api.LinkWish }) (*huma.StreamResponse, error) {
		r, err := role()
		if err != nil {
			return nil, err
		}
		l, err := r.Open(ctx, in.Body.Link)
		if err != nil {
			return nil, err
		}
		for _, o := range l.Objects {
			if o.Key == in.Body.Key {
				return s.readLink(r, in.Body, o), nil
			}
		}
		return nil, fault.New(fault.NotFound, "the link to %s doesn't reach %q", l.Name, in.Body.Key)
	})
}

// readLink streams an object. An error before its first byte is a problem; after
// it the connection is cut.
func (s *Server) readLink(r Sharing, in api.LinkWish, o api.Object) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		to := &lazy{w: w, to: patient{control: http.NewResponseController(w), writer: w}, start: func() {
			objectHeaders(w.Header(), o)
			w.Header().Del("Accept-Ranges")
			w.Header().Set("Content-Length", strconv.FormatInt(o.Size, 10))
			w.WriteHeader(http.StatusOK)
		}}
		err := r.Read(hc.Context(), in.Link, in.Key, to)
		if err == nil && to.sent != o.Size {
			err = fault.New(fault.Internal, "read %q of a link: %d of %d bytes were read", in.Key, to.sent, o.Size)
		}
		switch {
		case err == nil:
			to.begin() // an empty object has headers too
		case !to.begun:
			var p *api.Problem
			if errors.As(s.problem(hc.Context(), "read-link", err), &p) {
				writeProblem(to.w, p)
			}
		default:
			s.c.Log.WarnContext(hc.Context(), "download cut", "key", in.Key, "sent", to.sent, "error", err)
			panic(http.ErrAbortHandler)
		}
	}}
}
