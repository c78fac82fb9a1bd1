package server

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"hearth/api"
	"hearth/core/call"
	"hearth/core/fault"
	"hearth/core/gas"
)

// Functions keeps the account's functions and has hosts run them.
type Functions interface {
	Deploy(ctx context.Context, w api.FunctionWish, module []byte) (api.Function, error)
	Functions(ctx context.Context) (api.Functions, error)
	Remove(ctx context.Context, name string) error
	Call(ctx context.Context, name string, w api.CallWish) (api.Called, error)
	Log(ctx context.Context, name string, w io.Writer) error
	Liars(ctx context.Context) (api.Liars, error)
	// Store lists keys of a function's store that begin with prefix and are behind after.
	Store(ctx context.Context, name, prefix, after string) (api.FunctionStore, error)
	StoreGet(ctx context.Context, name, key string) ([]byte, error)
	StorePut(ctx context.Context, name, key string, value []byte) error
	StoreRemove(ctx context.Context, name, key string) error
}

// A FunctionDoor is where functions answer HTTP requests.
type FunctionDoor interface {
	Door(ctx context.Context) (api.FunctionDoor, error)
	Open(ctx context.Context, at api.FunctionListen) (api.FunctionDoor, error) // one that is open is refused
	Close(ctx context.Context) (api.FunctionDoor, error)
}

type functionName struct {
	Name string `path:"name" maxLength:"63"`
}

type deployInput struct {
	Name     string   `path:"name" maxLength:"63"`
	Gas      uint64   `query:"gas" doc:"That one call may use at most; 0: as the node has it"`
	Memory   int64    `query:"memory" minimum:"0" maximum:"4294967296" doc:"Bytes that one call may have at most; 0: as the node has it"`
	Deadline int64    `query:"deadline" minimum:"0" maximum:"60000" doc:"Milliseconds that one call may take at most; 0: as the node has it"`
	Env      []string `query:"env,explode" doc:"NAME=value"`
	Store    int64    `query:"store" minimum:"-1" maximum:"1048576" doc:"Bytes that its key-value store may have; 0: as it was, -1: none"`
	bodyInput
}

type callInput struct {
	Name   string   `path:"name" maxLength:"63"`
	Args   []string `query:"arg,explode" doc:"Behind the function's name"`
	Env    []string `query:"env,explode" doc:"NAME=value, after the function's own"`
	Verify int      `query:"verify" minimum:"0" maximum:"8" doc:"On how many other hosts the outcome is checked: at first always, later the rarer the more often the host was right. Where two differ the node's machine decides"`
	Log    bool     `query:"log" doc:"The log of the call follows the output; Hearth-Log-Bytes says how long it is"`
	bodyInput
}

func (s *Server) functions() (Functions, error) {
	if s.c.Roles.Functions == nil {
		return nil, fault.New(fault.BadRequest, "this node has no client role, so it has no functions")
	}
	return s.c.Roles.Functions, nil
}

func (s *Server) functionRoutes() {
	op := func(id, method, path, summary string) huma.Operation {
		return huma.Operation{OperationID: id, Method: method, Path: path, Summary: summary, Tags: []string{"functions"}}
	}
	route(s, op("functions", http.MethodGet, "/v1/functions", "Every function of the account"),
		func(ctx context.Context, _ *none) (*body[api.Functions], error) {
			r, err := s.functions()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Functions(ctx))
		})
	deploy := op("deploy-function", http.MethodPut, "/v1/functions/{name}", "Keep a WebAssembly module under a name, in the place of what was there")
	deploy.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{
		"application/wasm": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}}
	route(s, deploy, func(ctx context.Context, in *deployInput) (*body[api.Function], error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		module, err := in.read("deploy function", gas.MaxModule)
		if err != nil {
			return nil, err
		}
		return answerWith(r.Deploy(ctx, api.FunctionWish{Name: in.Name, Gas: in.Gas, Memory: in.Memory, Deadline: in.Deadline, Env: in.Env, Store: in.Store}, module))
	})
	remove := op("remove-function", http.MethodDelete, "/v1/functions/{name}", "Remove a function, its store and its log")
	remove.DefaultStatus = http.StatusNoContent
	route(s, remove, func(ctx context.Context, in *functionName) (*none, error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		return &none{}, r.Remove(ctx, in.Name)
	})
	route(s, op("liars", http.MethodGet, "/v1/liars", "Hosts that have signed wrong outcomes of calls, as this node has found; it hires them no more"),
		func(ctx context.Context, _ *none) (*body[api.Liars], error) {
			r, err := s.functions()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Liars(ctx))
		})
	s.callRoutes(op)
	s.functionStoreRoutes(op)
	s.functionDoorRoutes(op)
}

func (s *Server) functionDoorRoutes(op func(id, method, path, summary string) huma.Operation) {
	role := func() (FunctionDoor, error) {
		if s.c.Roles.FunctionDoor == nil {
			return nil, fault.New(fault.BadRequest, "this node has no client role, so its functions answer no HTTP requests")
		}
		return s.c.Roles.FunctionDoor, nil
	}
	route(s, op("function-door", http.MethodGet, "/v1/function-door", "Where functions answer HTTP requests"),
		func(ctx context.Context, _ *none) (*body[api.FunctionDoor], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Door(ctx))
		})
	route(s, op("function-door-open", http.MethodPost, "/v1/function-door/open", "Have functions answer HTTP requests until it is closed or the node ends"),
		func(ctx context.Context, in *struct{ Body api.FunctionListen }) (*body[api.FunctionDoor], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Open(ctx, in.Body))
		})
	route(s, op("function-door-close", http.MethodPost, "/v1/function-door/close", "Have functions answer no HTTP requests any more"),
		func(ctx context.Context, _ *none) (*body[api.FunctionDoor], error) {
			r, err := role()
			if err != nil {
				return nil, err
			}
			return answerWith(r.Close(ctx))
		})
}

func (s *Server) callRoutes(op func(id, method, path, summary string) huma.Operation) {
	binary := map[string]*huma.MediaType{
		"application/octet-stream": {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
	}
	invoke := op("call-function", http.MethodPost, "/v1/functions/{name}/calls", "Run a function once; the body is its input, the answer its output")
	invoke.Description = "A function that fails has run all the same: its status is in Hearth-Exit, and why it was ended in Hearth-Fault. Each request runs it anew."
	invoke.RequestBody = &huma.RequestBody{Content: binary}
	invoke.Responses = map[string]*huma.Response{"200": {Description: "The output", Content: binary}}
	route(s, invoke, func(ctx context.Context, in *callInput) (*huma.StreamResponse, error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		input, err := in.read("call function", call.MaxInput)
		if err != nil {
			return nil, err
		}
		done, err := r.Call(ctx, in.Name, api.CallWish{Args: in.Args, Env: in.Env, Input: input, Verify: in.Verify})
		if err != nil {
			return nil, err
		}
		return sendCalled(done, in.Log), nil
	})
	logs := op("function-log", http.MethodGet, "/v1/functions/{name}/log", "What is kept on this machine of a function's log: the newest half to whole megabyte")
	logs.Responses = map[string]*huma.Response{"200": {Description: "The log", Content: map[string]*huma.MediaType{"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}}
	route(s, logs, func(ctx context.Context, in *functionName) (*huma.StreamResponse, error) {
		r, err := s.functions()
		if err != nil {
			return nil, err
		}
		return s.sendLog(ctx, r, in.Name)
	})
}

// sendCalled answers with what a function has put out.
func sendCalled(done api.Called, log bool) *huma.StreamResponse {
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		h := w.Header()
		h.Set("Content-Type", "application/octet-stream")
		h.Set(api.HeaderExit, strconv.FormatUint(uint64(done.Exit), 10))
		h.Set(api.HeaderGas, strconv.FormatUint(done.Gas, 10))
		h.Set(api.HeaderHost, done.Host)
		h.Set(api.HeaderCost, done.Cost.Amount)
		h.Set(api.HeaderTook, strconv.FormatInt(done.Took, 10))
		h.Set(api.HeaderWitness, strings.Join(done.Witnesses, ","))
		h.Set(api.HeaderHere, strconv.FormatBool(done.Here))
		if done.Fault != "" {
			h.Set(api.HeaderFault, done.Fault)
			h.Set(api.HeaderReason, strconv.QuoteToASCII(done.Reason))
		}
		all := done.Output
		if log {
			h.Set(api.HeaderLogBytes, strconv.Itoa(len(done.Log)))
			all = append(all[:len(all):len(all)], done.Log...)
		}
		h.Set("Content-Length", strconv.Itoa(len(all)))
		to := patient{control: http.NewResponseController(w), writer: w}
		_, _ = to.Write(all) // a reader that is gone needs no answer
	}}
}

func (s *Server) sendLog(ctx context.Context, r Functions, name string) (*huma.StreamResponse, error) {
	var kept bytes.Buffer
	if err := r.Log(ctx, name, &kept); err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humago.Unwrap(hc)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		to := patient{control: http.NewResponseController(w), writer: w}
		_, _ = to.Write(kept.Bytes()) // a reader that is gone needs no answer
	}}, nil
}
