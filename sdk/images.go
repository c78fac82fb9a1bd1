package sdk

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociclient"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"golang.org/x/sync/errgroup"

	"hearth/api"
	"hearth/compute/layout"
	"hearth/core/fault"
)

// Images lists the account's container images by name.
func (c *Client) Images(ctx context.Context) (api.Images, error) {
	return get[api.Images](ctx, c, "/v1/images")
}

// RemoveImage removes NAME, NAME:TAG or NAME@DIGEST, and what it alone is made of.
func (c *Client) RemoveImage(ctx context.Context, name string) error {
	return c.call(ctx, http.MethodDelete, "/v1/images?name="+url.QueryEscape(name), nil, nil)
}

// ImageDoor says whether and where the door for images is open.
func (c *Client) ImageDoor(ctx context.Context) (api.ImageDoor, error) {
	return get[api.ImageDoor](ctx, c, "/v1/images/door")
}

// ImageLogin is the door for images with its password.
func (c *Client) ImageLogin(ctx context.Context) (api.ImageDoor, error) {
	return get[api.ImageDoor](ctx, c, "/v1/images/login")
}

// pushAtOnce blobs are on their way together: one is read while another goes to hosts.
const pushAtOnce = 3

// PushImage stores an image under a name and a tag, which may be empty: then it has only
// its digest. What the node has already is neither opened nor sent. progress, which may
// be nil, is told of each part and the bytes of it that are sent, one call at a time; it
// is quick.
func (c *Client) PushImage(ctx context.Context, i *layout.Image, name, tag string, progress func(part layout.Part, sent int64)) error {
	if progress == nil {
		progress = func(layout.Part, int64) {}
	}
	if !ociref.IsValidRepository(name) || tag != "" && !ociref.IsValidTag(tag) {
		return fault.New(fault.BadName, "push image %s:%s: a name has parts of a-z, 0-9 and single . _ - between them, with / between parts; a tag has letters, digits and . _ -", name, tag)
	}
	r, err := ociclient.New(strings.TrimPrefix(strings.TrimPrefix(c.base, "http://"), "https://"), &ociclient.Options{
		Transport: bearer{c}, Insecure: !strings.HasPrefix(c.base, "https:"),
	})
	if err != nil {
		return fmt.Errorf("push image: %w", err)
	}
	var mu sync.Mutex
	tell := func(p layout.Part, sent int64) {
		mu.Lock()
		defer mu.Unlock()
		progress(p, sent)
	}
	group, under := errgroup.WithContext(ctx)
	group.SetLimit(pushAtOnce)
	for _, b := range i.Blobs {
		group.Go(func() error { return pushBlob(under, r, name, b, tell) })
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for n, m := range i.Manifests {
		body, err := whole(m)
		if err != nil {
			return err
		}
		as := ""
		if n == len(i.Manifests)-1 {
			as = tag
		}
		if _, err := r.PushManifest(ctx, name, as, body, m.MediaType); err != nil {
			return pushed(ctx, name, err)
		}
	}
	return nil
}

// pushBlob sends one that isn't there.
func pushBlob(ctx context.Context, r ociregistry.Interface, name string, b layout.Part, progress func(layout.Part, int64)) error {
	_, err := r.ResolveBlob(ctx, name, b.Digest)
	if err == nil {
		progress(b, b.Size)
		return nil
	}
	if !errors.Is(err, ociregistry.ErrBlobUnknown) && !notThere(err) {
		return pushed(ctx, name, err)
	}
	f, err := b.Open()
	if err != nil {
		return err
	}
	from := &telling{from: f, part: b, tell: progress}
	if _, err = r.PushBlob(ctx, name, b.Descriptor, from); err != nil {
		err = pushed(ctx, name, err)
	}
	if own := from.failed.Load(); own != nil { // the request failed because of it
		err = *own
	}
	return errors.Join(err, f.Close())
}

func whole(m layout.Part) ([]byte, error) {
	f, err := m.Open()
	if err != nil {
		return nil, err
	}
	b, err := io.ReadAll(io.LimitReader(f, answerMax))
	return b, errors.Join(err, f.Close())
}

// telling tells of what is read.
type telling struct {
	from   io.Reader
	part   layout.Part
	n      int64
	tell   func(layout.Part, int64)
	failed atomic.Pointer[error] // why no more could be read
}

func (t *telling) Read(p []byte) (int, error) {
	n, err := t.from.Read(p)
	if n > 0 { // else it is told already
		t.n += int64(n)
		t.tell(t.part, t.n)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		t.failed.Store(&err)
	}
	return n, err
}

// bearer sends requests as the client does.
type bearer struct{ c *Client }

// RoundTrip sends one.
func (b bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	if b.c.token != "" {
		r = r.Clone(r.Context())
		r.Header.Set("Authorization", "Bearer "+b.c.token)
	}
	return b.c.http.Transport.RoundTrip(r)
}

// notThere says that an answer without a body was that there is nothing.
func notThere(err error) bool {
	var status ociregistry.HTTPError
	return errors.As(err, &status) && status.StatusCode() == http.StatusNotFound
}

// pushed gives an error of the registry its code.
func pushed(ctx context.Context, name string, err error) error {
	var known ociregistry.Error
	var own struct{ Code fault.Code }
	var status ociregistry.HTTPError
	switch {
	case errors.As(err, &known):
		code := fault.BadImage
		if json.Unmarshal(known.Detail(), &own) == nil && own.Code != "" {
			code = own.Code
		}
		return fault.New(code, "push %s: %s", name, known)
	case errors.As(err, &status):
		return fmt.Errorf("push %s: %w", name, err)
	}
	return fmt.Errorf("push %s: %w", name, unreached(ctx, err))
}
