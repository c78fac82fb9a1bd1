package sdk

import (
	"context"
	"net/http"
	"net/url"

	"hearth/api"
)

// Stewards lists who looks after the account's data, and how whole that is.
func (c *Client) Stewards(ctx context.Context) (api.Stewards, error) {
	return get[api.Stewards](ctx, c, "/v1/stewards")
}

// HireSteward engages the steward at a host, or one that the node chooses where
// host is empty; of one that is hired it changes the limits.
func (c *Client) HireSteward(ctx context.Context, host string, q api.HireSteward) (api.Steward, error) {
	if host == "" {
		host = api.AnySteward
	}
	var out api.Steward
	err := c.call(ctx, http.MethodPut, "/v1/stewards/"+url.PathEscape(host), q, &out)
	return out, err
}

// DismissSteward ends a steward's mandate now.
func (c *Client) DismissSteward(ctx context.Context, host string) error {
	return c.call(ctx, http.MethodDelete, "/v1/stewards/"+url.PathEscape(host), nil, nil)
}
