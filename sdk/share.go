package sdk

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"hearth/api"
)

// Share gives out a link to an object, or to all whose keys begin so, as they are
// now. Link is shown once.
func (c *Client) Share(ctx context.Context, w api.ShareWish) (out api.Share, err error) {
	return out, c.long(ctx, "/v1/shares", w, &out)
}

// Shares lists the links of the account that hold.
func (c *Client) Shares(ctx context.Context) (api.Shares, error) {
	return get[api.Shares](ctx, c, "/v1/shares")
}

// RevokeShare ends a link. What was read stays read.
func (c *Client) RevokeShare(ctx context.Context, serial string) (out api.Revoked, err error) {
	return out, c.call(ctx, http.MethodDelete, "/v1/shares/"+url.PathEscape(serial), nil, &out)
}

// OpenLink says what somebody's link opens. What hosts serve for it is paid on the
// node's own leases.
func (c *Client) OpenLink(ctx context.Context, link string) (out api.Linked, err error) {
	return out, c.long(ctx, "/v1/links", api.LinkWish{Link: link}, &out)
}

// ReadLink writes an object of a link to w. After an error w may have got a part.
func (c *Client) ReadLink(ctx context.Context, link, key string, w io.Writer) error {
	answer, err := c.post(ctx, "/v1/links/read", api.LinkWish{Link: link, Key: key})
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(w, answer.Body); err != nil {
		return fmt.Errorf("read %q of a link: %w", key, err)
	}
	return nil
}

// long is a call that takes as long as hosts and the ledger need.
func (c *Client) long(ctx context.Context, path string, in, out any) error {
	answer, err := c.post(ctx, path, in)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if err := decode(answer.Body, out); err != nil {
		return fmt.Errorf("POST %s: read answer: %w", path, err)
	}
	return nil
}

func (c *Client) post(ctx context.Context, path string, in any) (*http.Response, error) {
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("POST %s: %w", path, err)
	}
	return c.do(ctx, http.MethodPost, path, bytes.NewReader(b), "Content-Type", "application/json")
}
