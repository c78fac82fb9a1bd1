package sdk

import (
	"context"
	"net/http"
	"net/url"

	"hearth/api"
)

// S3 says whether and where the S3 door is open.
func (c *Client) S3(ctx context.Context) (api.S3Door, error) {
	return get[api.S3Door](ctx, c, "/v1/s3")
}

// OpenS3 opens the S3 door.
func (c *Client) OpenS3(ctx context.Context, at api.S3Listen) (api.S3Door, error) {
	var out api.S3Door
	err := c.call(ctx, http.MethodPost, "/v1/s3/open", at, &out)
	return out, err
}

// CloseS3 closes it.
func (c *Client) CloseS3(ctx context.Context) error {
	return c.call(ctx, http.MethodPost, "/v1/s3/close", nil, nil)
}

// S3Keys lists the door's keys, without their secrets.
func (c *Client) S3Keys(ctx context.Context) (api.S3Keys, error) {
	return get[api.S3Keys](ctx, c, "/v1/s3/keys")
}

// AddS3Key makes a key; the answer has its secret.
func (c *Client) AddS3Key(ctx context.Context, wish api.S3KeyWish) (api.S3Key, error) {
	var out api.S3Key
	err := c.call(ctx, http.MethodPost, "/v1/s3/keys", wish, &out)
	return out, err
}

// S3Secret is a key with its secret, by name or access key; the usual one without
// limits where which is empty.
func (c *Client) S3Secret(ctx context.Context, which string) (api.S3Key, error) {
	return get[api.S3Key](ctx, c, "/v1/s3/secret?key="+url.QueryEscape(which))
}

// RemoveS3Key revokes a key.
func (c *Client) RemoveS3Key(ctx context.Context, access string) error {
	return c.call(ctx, http.MethodDelete, "/v1/s3/keys/"+url.PathEscape(access), nil, nil)
}
