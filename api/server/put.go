package server

import (
	"context"
	"io"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/fault"
)

// putInput is an object that is to be stored.
type putInput struct {
	Bucket   string `path:"bucket" maxLength:"63"`
	Key      string `path:"key" doc:"May hold slashes, as they are or escaped"`
	Transfer string `header:"Hearth-Transfer" maxLength:"64" doc:"A name to follow this upload by, under /v1/transfers"`
	Class    string `header:"Hearth-Class" maxLength:"16" doc:"k/n of its code; absent: the node's"`
	Type     string `header:"Content-Type" maxLength:"255"`
	Wait     bool   `query:"wait" default:"true" doc:"false: an object of up to 1 MiB is stored once it is synced to the node's journal; it goes to hosts within seconds, with others"`
	IfNone   string `header:"If-None-Match" enum:"*" doc:"* refuses to replace an object"`

	bodyInput
}

// bodyInput takes a request's body as the stream that it is.
type bodyInput struct {
	size int64 // announced; -1: not
	body io.Reader
}

// Resolve is called by huma with the request.
func (in *bodyInput) Resolve(ctx huma.Context) []error {
	r, w := humago.Unwrap(ctx)
	in.size = r.ContentLength
	in.body = patient{control: http.NewResponseController(w), reader: r.Body}
	return nil
}

// read reads a body that is needed as a whole.
func (in *bodyInput) read(what string, most int64) ([]byte, error) {
	if in.size > most {
		return nil, fault.New(fault.TooLarge, "%s: %d bytes, at most %d are allowed", what, in.size, most)
	}
	b, err := io.ReadAll(io.LimitReader(&whole{from: in.body, size: in.size}, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > most {
		return nil, fault.New(fault.TooLarge, "%s: more than %d bytes", what, most)
	}
	return b, nil
}

func (s *Server) putRoute() {
	binary := map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}
	route(s, huma.Operation{
		OperationID: "put-object", Method: http.MethodPut, Path: "/v1/objects/{bucket}/{key}", Tags: []string{"objects"},
		Summary: "Store an object",
		Description: "The body is the content, of any length, stored while it arrives. The answer comes when the index and " +
			"the shards are durable; 'pending' counts the shards that follow in the background.",
		RequestBody: &huma.RequestBody{Required: true, Content: binary},
	}, func(ctx context.Context, in *putInput) (*body[api.Object], error) {
		if err := checkKey(in.Key); err != nil {
			return nil, err
		}
		t, err := s.transfers.begin(in.Transfer, "put", in.Bucket, in.Key, in.size)
		if err != nil {
			return nil, err
		}
		counted := &whole{from: in.body, size: in.size}
		o, err := s.c.Roles.Storage.Put(ctx, in.Bucket, in.Key, counted, PutOptions{
			Size: in.size, Type: in.Type, Class: in.Class, NoWait: !in.Wait, IfAbsent: in.IfNone == "*", Report: t.report,
		})
		t.end(s.c.Now(), err)
		return answerWith(o, err)
	})
}

// whole reads a body and tells one that broke off from one that ended.
type whole struct {
	from io.Reader
	size int64 // announced; -1: not
	read int64
}

func (w *whole) Read(b []byte) (int, error) {
	n, err := w.from.Read(b)
	w.read += int64(n)
	switch {
	case err == io.EOF && w.size >= 0 && w.read != w.size:
		return n, fault.New(fault.Interrupted, "read upload: %d of %d bytes came", w.read, w.size)
	case err != nil && err != io.EOF:
		return n, fault.New(fault.Interrupted, "read upload: after %d bytes: %w", w.read, err)
	}
	return n, err
}
