package sdk

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"hearth/api"
)

// HostLimits shows how much of the line this host may use, and when.
func (c *Client) HostLimits(ctx context.Context) (api.HostLimits, error) {
	return get[api.HostLimits](ctx, c, "/v1/host/limits")
}

// SetHostLimits sets them; they hold at once.
func (c *Client) SetHostLimits(ctx context.Context, l api.HostLimits) (api.HostLimits, error) {
	var out api.HostLimits
	err := c.call(ctx, http.MethodPut, "/v1/host/limits", l, &out)
	return out, err
}

// MeasureHost measures this host's machine again, which takes about three seconds.
func (c *Client) MeasureHost(ctx context.Context) (api.Measured, error) {
	var out api.Measured
	err := c.call(ctx, http.MethodPost, "/v1/host/measure", nil, &out)
	return out, err
}

// Earnings lists what the ledger has paid this host, from since on.
func (c *Client) Earnings(ctx context.Context, since time.Time) (api.Earnings, error) {
	path := "/v1/host/earnings"
	if !since.IsZero() {
		path += "?since=" + url.QueryEscape(since.UTC().Format(time.RFC3339))
	}
	return get[api.Earnings](ctx, c, path)
}
