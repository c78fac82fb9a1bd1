package sdk

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"hearth/api"
	"hearth/core/fault"
	"hearth/core/money"
)

func get[T any](ctx context.Context, c *Client, path string) (T, error) {
	var out T
	err := c.call(ctx, http.MethodGet, path, nil, &out)
	return out, err
}

// Node says what is running.
func (c *Client) Node(ctx context.Context) (api.Node, error) {
	return get[api.Node](ctx, c, "/v1/node")
}

// Ledger says how far the node sees the ledger.
func (c *Client) Ledger(ctx context.Context) (api.Ledger, error) {
	return get[api.Ledger](ctx, c, "/v1/ledger")
}

// Wallet shows the account and its money.
func (c *Client) Wallet(ctx context.Context) (api.Wallet, error) {
	return get[api.Wallet](ctx, c, "/v1/wallet")
}

// Send pays an account. Calling again with the same key doesn't pay again.
func (c *Client) Send(ctx context.Context, key, to string, amount money.Amount) (api.Tx, error) {
	var tx api.Tx
	err := c.spend(ctx, "/v1/wallet/send", key, api.Payment{To: to, Amount: api.MoneyOf(amount)}, &tx)
	return tx, err
}

// Fund puts money from the account into the purse.
func (c *Client) Fund(ctx context.Context, key string, amount money.Amount) (api.Tx, error) {
	var tx api.Tx
	err := c.spend(ctx, "/v1/wallet/fund", key, api.Sum{Amount: api.MoneyOf(amount)}, &tx)
	return tx, err
}

// Withdraw takes money out of the purse; 0 takes all that is free.
func (c *Client) Withdraw(ctx context.Context, key string, amount money.Amount) (api.Tx, error) {
	var tx api.Tx
	err := c.spend(ctx, "/v1/wallet/withdraw", key, api.Sum{Amount: api.MoneyOf(amount)}, &tx)
	return tx, err
}

// Quotes asks the network's hosts for their prices of one kind of service.
func (c *Client) Quotes(ctx context.Context, kind string) (api.Quotes, error) {
	return get[api.Quotes](ctx, c, "/v1/market/quotes?kind="+url.QueryEscape(kind))
}

// Leases goes through every lease of the account, page by page.
func (c *Client) Leases(ctx context.Context) iter.Seq2[api.Lease, error] {
	return func(yield func(api.Lease, error) bool) {
		for cursor := ""; ; {
			page, err := get[api.Leases](ctx, c, "/v1/leases?after="+url.QueryEscape(cursor))
			if err != nil {
				yield(api.Lease{}, err)
				return
			}
			for _, l := range page.Leases {
				if !yield(l, nil) {
					return
				}
			}
			if cursor = page.Next; cursor == "" {
				return
			}
		}
	}
}

// Lease shows one lease.
func (c *Client) Lease(ctx context.Context, id uint64) (api.Lease, error) {
	return get[api.Lease](ctx, c, "/v1/leases/"+strconv.FormatUint(id, 10))
}

// Host shows the hosting side; the fault is NotAHost where there is none.
func (c *Client) Host(ctx context.Context) (api.Host, error) {
	return get[api.Host](ctx, c, "/v1/host")
}

// LeaveHosting gives notice.
func (c *Client) LeaveHosting(ctx context.Context, key string) (api.Host, error) {
	var h api.Host
	err := c.spend(ctx, "/v1/host/leave", key, nil, &h)
	return h, err
}

// Buckets lists every bucket.
func (c *Client) Buckets(ctx context.Context) ([]api.Bucket, error) {
	all, err := get[api.Buckets](ctx, c, "/v1/buckets")
	return all.Buckets, err
}

// MakeBucket makes a bucket; one that is there stays as it is.
func (c *Client) MakeBucket(ctx context.Context, name string) (api.Bucket, error) {
	var b api.Bucket
	err := c.call(ctx, http.MethodPut, "/v1/buckets/"+url.PathEscape(name), nil, &b)
	return b, err
}

// RemoveBucket removes an empty bucket.
func (c *Client) RemoveBucket(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/buckets/"+url.PathEscape(name), nil, nil)
}

// List gives one page of a bucket.
func (c *Client) List(ctx context.Context, bucket string, q api.ListQuery) (api.Objects, error) {
	v := url.Values{}
	for name, value := range map[string]string{"prefix": q.Prefix, "delimiter": q.Delimiter, "after": q.After} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if q.Limit > 0 {
		v.Set("limit", strconv.Itoa(q.Limit))
	}
	return get[api.Objects](ctx, c, "/v1/objects/"+url.PathEscape(bucket)+"?"+v.Encode())
}

// Walk goes through every object whose key begins with prefix.
func (c *Client) Walk(ctx context.Context, bucket, prefix string) iter.Seq2[api.Object, error] {
	return func(yield func(api.Object, error) bool) {
		for after := ""; ; {
			page, err := c.List(ctx, bucket, api.ListQuery{Prefix: prefix, After: after})
			if err != nil {
				yield(api.Object{}, err)
				return
			}
			for _, o := range page.Objects {
				if !yield(o, nil) {
					return
				}
			}
			if after = page.Next; after == "" {
				return
			}
		}
	}
}

// Stat says what the index knows of an object.
func (c *Client) Stat(ctx context.Context, bucket, key string) (api.Object, error) {
	return get[api.Object](ctx, c, api.ObjectPath("stat", bucket, key))
}

// Health asks the hosts of an object's shards.
func (c *Client) Health(ctx context.Context, bucket, key string) (api.Health, error) {
	return get[api.Health](ctx, c, api.ObjectPath("health", bucket, key))
}

// Remove removes an object.
func (c *Client) Remove(ctx context.Context, bucket, key string) error {
	return c.call(ctx, http.MethodDelete, api.ObjectPath("objects", bucket, key), nil, nil)
}

// Events calls tell for each event of the node from now on, until ctx ends,
// tell fails, or the node stops.
func (c *Client) Events(ctx context.Context, tell func(api.Event) error) error {
	return events(ctx, c, "/v1/events", tell)
}

const eventMax = 64 << 10

// events reads server-sent events whose data is a T.
func events[T any](ctx context.Context, c *Client, path string, tell func(T) error) error {
	r, err := c.do(ctx, http.MethodGet, path, nil, "Accept", "text/event-stream")
	if err != nil {
		return err
	}
	defer r.Body.Close()
	lines := bufio.NewScanner(r.Body)
	lines.Buffer(nil, eventMax)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		var event T
		if err := json.Unmarshal([]byte(data), &event); err != nil {
			return fmt.Errorf("read event: %w", err)
		}
		if err := tell(event); err != nil {
			return err
		}
	}
	if err := lines.Err(); err != nil && ctx.Err() == nil && !errors.Is(err, io.EOF) {
		return fault.New(fault.NotRunning, "read events: %w", err)
	}
	return ctx.Err()
}
