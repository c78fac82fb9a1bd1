package sdk

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"hearth/api"
	"hearth/core/money"
)

// Price says what storing so many bytes would cost; class "" is the node's. No money
// moves.
func (c *Client) Price(ctx context.Context, bytes int64, class string) (api.Price, error) {
	v := url.Values{"bytes": {strconv.FormatInt(bytes, 10)}}
	if class != "" {
		v.Set("code", class)
	}
	return get[api.Price](ctx, c, "/v1/price?"+v.Encode())
}

// Agree has the node remember up to what a month its owner agrees to.
func (c *Client) Agree(ctx context.Context, month money.Amount) error {
	return c.call(ctx, http.MethodPut, "/v1/price/agreed", api.Sum{Amount: api.MoneyOf(month)}, nil)
}

// SetCap sets what this device may put into leases in 30 days.
func (c *Client) SetCap(ctx context.Context, amount money.Amount) (api.Wallet, error) {
	var w api.Wallet
	err := c.call(ctx, http.MethodPut, "/v1/wallet/cap", api.Sum{Amount: api.MoneyOf(amount)}, &w)
	return w, err
}
