package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"hearth/api"
	"hearth/core/fault"
)

// PutOptions belong to one Put. The zero value is right for most.
type PutOptions struct {
	Type     string             // content type
	Class    string             // k/n of the code; "": the node's
	NoWait   bool               // a small object is stored once it is in the node's journal
	IfAbsent bool               // refuse with fault.Exists where the key is taken
	Progress func(api.Transfer) // told some times a second, by another goroutine; nil: nobody is
}

// Put stores size bytes of content (-1: until its end) under a key. It returns
// when they are durable; Object.Pending counts the shards that are still to be
// placed. The content is read once, and never held.
func (c *Client) Put(ctx context.Context, bucket, key string, content io.Reader, size int64, o PutOptions) (api.Object, error) {
	id := NewKey()
	path := api.ObjectPath("objects", bucket, key)
	if o.NoWait {
		path += "?wait=false"
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPut, c.base+path, io.NopCloser(content))
	if err != nil {
		return api.Object{}, fault.New(fault.BadRequest, "put hearth://%s/%s: %w", bucket, key, err)
	}
	r.ContentLength = size
	if size == 0 {
		r.Body = http.NoBody
	}
	r.Header.Set("Expect", "100-continue") // a refusal comes before the content is sent
	for name, value := range map[string]string{
		"Content-Type": o.Type, api.HeaderClass: o.Class, api.HeaderTransfer: id,
	} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if o.IfAbsent {
		r.Header.Set("If-None-Match", "*")
	}
	defer c.follow(ctx, id, o.Progress)()
	answer, err := c.send(r)
	if err != nil {
		return api.Object{}, c.reason(ctx, id, err)
	}
	defer answer.Body.Close()
	var stored api.Object
	if err := decode(answer.Body, &stored); err != nil {
		return api.Object{}, fmt.Errorf("put hearth://%s/%s: read answer: %w", bucket, key, err)
	}
	return stored, nil
}

// follow tells of a transfer until the returned function is called, which
// waits for the last word.
func (c *Client) follow(ctx context.Context, id string, tell func(api.Transfer)) (stop func()) {
	if tell == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		// Progress is a courtesy: without it the transfer goes on.
		_ = events(ctx, c, "/v1/transfers/"+url.PathEscape(id)+"/events", func(t api.Transfer) error {
			tell(t)
			return nil
		})
	})
	return func() {
		late := time.AfterFunc(time.Second, cancel)
		wg.Wait()
		late.Stop()
		cancel()
	}
}

// reason asks the node why a transfer broke off. Where it doesn't know better,
// err stays.
func (c *Client) reason(ctx context.Context, id string, err error) error {
	var b *broken
	if !errors.As(err, &b) || ctx.Err() != nil {
		return err
	}
	t, asked := get[api.Transfer](ctx, c, "/v1/transfers/"+url.PathEscape(id))
	if asked == nil && t.Problem != nil {
		return t.Problem.Fault()
	}
	return err
}

// A Download is an object, or a range of it, while it comes. Read it to its
// end and close it. It is not safe for concurrent use.
type Download struct {
	Object api.Object
	Offset int64 // where the bytes begin in the object
	Length int64 // how many come

	ctx    context.Context
	client *Client
	id     string
	body   io.ReadCloser
	read   int64
	stop   func()
}

// GetOptions belong to one Get. The zero value is the whole object.
type GetOptions struct {
	Range    *api.Range
	Progress func(api.Transfer) // as in PutOptions
}

// Get begins to read an object.
func (c *Client) Get(ctx context.Context, bucket, key string, o GetOptions) (*Download, error) {
	id, span := NewKey(), ""
	if o.Range != nil {
		span = rangeHeader(*o.Range)
	}
	r, err := c.do(ctx, http.MethodGet, api.ObjectPath("objects", bucket, key), nil, api.HeaderTransfer, id, "Range", span)
	if err != nil {
		return nil, c.reason(ctx, id, err)
	}
	d := &Download{ctx: ctx, client: c, id: id, body: r.Body, stop: c.follow(ctx, id, o.Progress), Length: r.ContentLength}
	if err := d.describe(r, bucket, key); err != nil {
		return nil, errors.Join(fmt.Errorf("get hearth://%s/%s: %w", bucket, key, err), d.Close())
	}
	return d, nil
}

// describe reads what the headers say of the object.
func (d *Download) describe(r *http.Response, bucket, key string) error {
	d.Object = api.Object{
		Bucket: bucket, Key: key, Size: r.ContentLength, Type: r.Header.Get("Content-Type"),
		Version: r.Header.Get(api.HeaderVersion), Class: r.Header.Get(api.HeaderClass), Sum: r.Header.Get(api.HeaderSum),
	}
	var err error
	if d.Object.Modified, err = time.Parse(time.RFC3339Nano, r.Header.Get(api.HeaderModified)); err != nil {
		return fmt.Errorf("read %s: %w", api.HeaderModified, err)
	}
	if d.Object.Pending, err = strconv.Atoi(r.Header.Get(api.HeaderPending)); err != nil {
		return fmt.Errorf("read %s: %w", api.HeaderPending, err)
	}
	if span := r.Header.Get("Content-Range"); span != "" {
		var last int64
		if _, err := fmt.Sscanf(span, "bytes %d-%d/%d", &d.Offset, &last, &d.Object.Size); err != nil {
			return fmt.Errorf("read Content-Range %q: %w", span, err)
		}
	}
	return nil
}

// Read gives verified bytes. One that the node had to break off ends with the
// node's reason, never with io.EOF.
func (d *Download) Read(b []byte) (int, error) {
	n, err := d.body.Read(b)
	d.read += int64(n)
	if err == nil || err == io.EOF && d.read == d.Length {
		return n, err
	}
	return n, d.client.reason(d.ctx, d.id, unreached(d.ctx, err))
}

// Close ends the download, wherever it is.
func (d *Download) Close() error {
	err := d.body.Close()
	d.stop()
	return err
}

func rangeHeader(r api.Range) string {
	var b strings.Builder
	b.WriteString("bytes=")
	if r.Offset < 0 {
		fmt.Fprintf(&b, "%d", r.Offset)
		return b.String()
	}
	fmt.Fprintf(&b, "%d-", r.Offset)
	if r.Length >= 0 {
		fmt.Fprintf(&b, "%d", r.Offset+r.Length-1)
	}
	return b.String()
}
