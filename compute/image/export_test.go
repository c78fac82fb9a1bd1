package image

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"

	"github.com/opencontainers/go-digest"
)

// Apply puts layers on each other in a folder, without comparing digests.
func Apply(ctx context.Context, dir string, l Limits, layers ...[]byte) (err error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()
	a := newApplier(root, l.filled(), false, func(int64) error { return nil })
	for _, b := range layers {
		r, err := unpack(bytes.NewReader(b))
		if err != nil {
			return err
		}
		err = a.apply(ctx, io.LimitReader(r, a.limits.Unpacked))
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return a.finish(ctx)
}

// Malformed says that an error is one of a layer's form.
func Malformed(err error) bool { return isForm(err) }

// Plan reads a manifest and a config.
func Plan(ctx context.Context, from Source, d digest.Digest) error {
	f := &fetcher{from: from, limits: Limits{}.filled(), platform: here()}
	_, err := f.plan(ctx, d)
	return err
}
