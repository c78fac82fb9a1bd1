package sdk

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	"hearth/api"
)

// Check asks the hosts of a page of a bucket's versions what they hold of them.
// Findings.Next is where the next page begins, empty at the end.
func (c *Client) Check(ctx context.Context, bucket string, q api.CheckQuery) (api.Findings, error) {
	v := url.Values{}
	for name, s := range map[string]string{"prefix": q.Prefix, "after": q.After, "after_version": q.AfterVersion} {
		if s != "" {
			v.Set(name, s)
		}
	}
	for name, n := range map[string]int{"limit": q.Limit, "samples": q.Samples} {
		if n > 0 {
			v.Set(name, strconv.Itoa(n))
		}
	}
	var out api.Findings
	err := c.call(ctx, http.MethodPost, "/v1/check/"+url.PathEscape(bucket)+"?"+v.Encode(), nil, &out)
	return out, err
}
