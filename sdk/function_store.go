package sdk

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/store"
)

func valuePath(name, key string) string {
	return functionPath(name) + "/store/value?" + url.Values{"key": {key}}.Encode()
}

// FunctionStore lists keys of a function's store that begin with prefix, behind after:
// a page of them.
func (c *Client) FunctionStore(ctx context.Context, name, prefix, after string) (api.FunctionStore, error) {
	q := url.Values{}
	for k, v := range map[string]string{"prefix": prefix, "after": after} {
		if v != "" {
			q.Set(k, v)
		}
	}
	return get[api.FunctionStore](ctx, c, functionPath(name)+"/store?"+q.Encode())
}

// FunctionValue is what a key of a function's store has.
func (c *Client) FunctionValue(ctx context.Context, name, key string) ([]byte, error) {
	r, err := c.do(ctx, http.MethodGet, valuePath(name, key), nil)
	if err != nil {
		return nil, err
	}
	defer r.Body.Close()
	b, err := io.ReadAll(io.LimitReader(r.Body, store.MaxValue+1))
	switch {
	case err != nil:
		return nil, fault.New(fault.Interrupted, "read %s of %s: %w", key, name, err)
	case len(b) > store.MaxValue:
		return nil, fault.New(fault.BadFrame, "read %s of %s: more than %d bytes", key, name, store.MaxValue)
	}
	return b, nil
}

// SetFunctionValue gives a key of a function's store a value.
func (c *Client) SetFunctionValue(ctx context.Context, name, key string, value []byte) error {
	r, err := c.do(ctx, http.MethodPut, valuePath(name, key), bytes.NewReader(value), "Content-Type", "application/octet-stream")
	if err != nil {
		return err
	}
	if err := r.Body.Close(); err != nil {
		return fmt.Errorf("put %s of %s: read answer: %w", key, name, err)
	}
	return nil
}

// RemoveFunctionValue removes a key of a function's store.
func (c *Client) RemoveFunctionValue(ctx context.Context, name, key string) error {
	return c.call(ctx, http.MethodDelete, valuePath(name, key), nil, nil)
}
