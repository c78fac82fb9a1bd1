package sdk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hearth/api"
	"hearth/core/call"
	"hearth/core/fault"
)

func functionPath(name string) string { return "/v1/functions/" + url.PathEscape(name) }

// Deploy keeps a WebAssembly module under a name, in the place of what was there.
func (c *Client) Deploy(ctx context.Context, w api.FunctionWish, module []byte) (out api.Function, err error) {
	q := url.Values{"env": w.Env}
	for name, v := range map[string]int64{"gas": int64(min(w.Gas, 1<<62)), "memory": w.Memory, "deadline": w.Deadline, "store": w.Store} {
		if v != 0 {
			q.Set(name, strconv.FormatInt(v, 10))
		}
	}
	path := functionPath(w.Name) + "?" + q.Encode()
	r, err := c.do(ctx, http.MethodPut, path, bytes.NewReader(module), "Content-Type", "application/wasm")
	if err != nil {
		return out, err
	}
	defer r.Body.Close()
	if err := decode(r.Body, &out); err != nil {
		return out, fmt.Errorf("deploy %s: read answer: %w", w.Name, err)
	}
	return out, nil
}

// Functions lists the account's functions by name.
func (c *Client) Functions(ctx context.Context) (api.Functions, error) {
	return get[api.Functions](ctx, c, "/v1/functions")
}

// RemoveFunction removes a function, its store and its log.
func (c *Client) RemoveFunction(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, functionPath(name), nil, nil)
}

// Call has a host run a function once. A function that fails is an answer with a
// fault or a status, and no error.
func (c *Client) Call(ctx context.Context, name string, w api.CallWish) (out api.Called, err error) {
	q := url.Values{"arg": w.Args, "env": w.Env, "log": {"true"}, "verify": {strconv.Itoa(w.Verify)}}
	r, err := c.do(ctx, http.MethodPost, functionPath(name)+"/calls?"+q.Encode(), bytes.NewReader(w.Input), "Content-Type", "application/octet-stream")
	if err != nil {
		return out, err
	}
	defer r.Body.Close()
	all, err := io.ReadAll(io.LimitReader(r.Body, call.MaxOutput+answerMax))
	if err != nil {
		return out, fault.New(fault.Interrupted, "call %s: read output: %w", name, err)
	}
	return called(r.Header, all)
}

// called puts together what headers and body say of a call.
func called(h http.Header, all []byte) (out api.Called, err error) {
	number := func(name string) (n uint64) {
		if err == nil {
			if n, err = strconv.ParseUint(h.Get(name), 10, 64); err != nil {
				err = fault.New(fault.BadFrame, "read the answer of a call: %s: %w", name, err)
			}
		}
		return n
	}
	exit, took, log := number(api.HeaderExit), number(api.HeaderTook), number(api.HeaderLogBytes)
	out.Gas = number(api.HeaderGas)
	if err == nil && log > uint64(len(all)) {
		err = fault.New(fault.BadFrame, "read the answer of a call: a log of %d in %d bytes", log, len(all))
	}
	if err != nil {
		return api.Called{}, err
	}
	at := len(all) - int(log)
	out.Exit, out.Took, out.Output, out.Log = uint32(exit), int64(took), all[:at:at], all[at:]
	out.Fault, out.Host, out.Here = h.Get(api.HeaderFault), h.Get(api.HeaderHost), h.Get(api.HeaderHere) == "true"
	out.Witnesses = strings.FieldsFunc(h.Get(api.HeaderWitness), func(r rune) bool { return r == ',' })
	out.Cost = api.Money{Amount: h.Get(api.HeaderCost), Currency: api.CurrencyEmber}
	if reason, err := strconv.Unquote(h.Get(api.HeaderReason)); err == nil {
		out.Reason = reason
	}
	return out, nil
}

// Liars are the hosts that the node has found to sign wrong outcomes of calls.
func (c *Client) Liars(ctx context.Context) (api.Liars, error) {
	return get[api.Liars](ctx, c, "/v1/liars")
}

// FunctionLog writes what is kept of a function's log on the node's machine.
func (c *Client) FunctionLog(ctx context.Context, name string, w io.Writer) error {
	r, err := c.do(ctx, http.MethodGet, functionPath(name)+"/log", nil)
	if err != nil {
		return err
	}
	defer r.Body.Close()
	if _, err := io.Copy(w, r.Body); err != nil {
		return fault.New(fault.Interrupted, "read the log of %s: %w", name, err)
	}
	return nil
}

// FunctionDoor says whether and where functions answer HTTP requests.
func (c *Client) FunctionDoor(ctx context.Context) (api.FunctionDoor, error) {
	return get[api.FunctionDoor](ctx, c, "/v1/function-door")
}

// OpenFunctionDoor has functions answer HTTP requests.
func (c *Client) OpenFunctionDoor(ctx context.Context, at api.FunctionListen) (api.FunctionDoor, error) {
	var out api.FunctionDoor
	err := c.call(ctx, http.MethodPost, "/v1/function-door/open", at, &out)
	return out, err
}

// CloseFunctionDoor ends that.
func (c *Client) CloseFunctionDoor(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/function-door/close", nil, nil)
}
