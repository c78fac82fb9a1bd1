package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/fault"
)

// A router is a ServeMux to which {key} is the rest of the path: keys of
// objects may hold slashes, which OpenAPI's paths have no word for.
type router struct{ *http.ServeMux }

func (r router) HandleFunc(pattern string, h func(http.ResponseWriter, *http.Request)) {
	r.ServeMux.HandleFunc(strings.Replace(pattern, "{key}", "{key...}", 1), h)
}

func newAPI(mux *http.ServeMux) huma.API {
	c := huma.DefaultConfig("Hearth node", stamp)
	c.Info.Description = "The local API of a Hearth node: the command line, the dashboard and the SDKs speak it. " +
		"It is served on the unix socket api.sock in the node's folder, and on a loopback address " +
		"to requests with the token of the file api.token. Errors are problems (RFC 9457) with a stable code."
	c.Info.License = &huma.License{Name: "Apache 2.0", Identifier: "Apache-2.0"}
	c.Servers = []*huma.Server{{URL: "http://127.0.0.1:4780"}}
	c.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", Description: "Content of the node's api.token; not needed on the unix socket"},
	}
	c.Security = []map[string][]string{{"token": {}}}
	c.OpenAPIPath, c.DocsPath, c.SchemasPath = "", "", ""
	c.CreateHooks = nil // no $schema links: the shapes stay as package api has them
	c.RejectUnknownQueryParameters = true
	c.Transformers = []huma.Transformer{asProblem}
	return humago.New(router{mux}, c)
}

// route registers an operation. Its handler's errors go out as problems.
func route[I, O any](s *Server, op huma.Operation, f func(context.Context, *I) (*O, error)) {
	describeProblem(s.api, &op)
	if op.MaxBodyBytes == 0 {
		op.MaxBodyBytes = api.MaxSpend
	}
	op.BodyReadTimeout = headerPatience
	huma.Register(s.api, op, func(ctx context.Context, in *I) (*O, error) {
		out, err := f(ctx, in)
		if err != nil {
			return nil, s.problem(ctx, op.OperationID, err)
		}
		return out, nil
	})
}

// describeProblem says in the API's description how op fails.
func describeProblem(a huma.API, op *huma.Operation) {
	schema := a.OpenAPI().Components.Schemas.Schema(problemType, true, "Problem")
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	if op.DefaultStatus == 0 {
		op.DefaultStatus = http.StatusOK
	}
	op.Responses["default"] = &huma.Response{
		Description: "A problem",
		Content:     map[string]*huma.MediaType{api.ProblemType: {Schema: schema}},
	}
}

// problem is what a handler's error becomes. One without a code is ours to mend,
// so it is logged.
func (s *Server) problem(ctx context.Context, op string, err error) error {
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = fault.New(fault.Interrupted, "%w", err)
	}
	p := api.ProblemOf(err)
	if p.Code == string(fault.Internal) {
		s.c.Log.ErrorContext(ctx, "request went wrong", "operation", op, "error", err)
	}
	return p
}

// asProblem puts the errors huma itself finds (a body that doesn't fit its
// shape) into our shape. The status stays as huma has chosen it.
func asProblem(_ huma.Context, _ string, v any) (any, error) {
	e, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := api.ProblemOf(fault.New(codeOf(e.Status), "%s", e.Detail))
	p.Status = e.Status
	for _, d := range e.Errors {
		p.Errors = append(p.Errors, api.Detail{Location: d.Location, Message: d.Message})
	}
	return p, nil
}

func codeOf(status int) fault.Code {
	switch {
	case status == http.StatusRequestEntityTooLarge:
		return fault.TooLarge
	case status >= 500:
		return fault.Internal
	}
	return fault.BadRequest
}

// writeProblem answers outside of huma.
func writeProblem(w http.ResponseWriter, err error) {
	p := api.ProblemOf(err)
	w.Header().Set("Content-Type", api.ProblemType)
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // a reader that is gone needs no answer
}

// A patient reader or writer gives each piece of a streamed body its own time,
// so that a long transfer may last and a dead one may not.
type patient struct {
	control *http.ResponseController
	reader  interface{ Read([]byte) (int, error) }
	writer  interface{ Write([]byte) (int, error) }
}

func (p patient) Read(b []byte) (int, error) {
	if err := p.control.SetReadDeadline(time.Now().Add(bodyPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.reader.Read(b)
}

func (p patient) Write(b []byte) (int, error) {
	if err := p.control.SetWriteDeadline(time.Now().Add(bodyPatience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	return p.writer.Write(b)
}

var problemType = reflect.TypeFor[api.Problem]()
