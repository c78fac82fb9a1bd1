package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"

	"hearth/compute/manifest"
	"hearth/core/fault"
	"hearth/internal/bounded"
)

// A reading is a blob on its way out. It is an ociregistry.BlobReader.
type reading struct {
	io.Reader
	end  func()
	desc ociregistry.Descriptor
}

func (r *reading) Close() error {
	r.end()
	return nil
}

// Descriptor says what is read.
func (r *reading) Descriptor() ociregistry.Descriptor { return r.desc }

// GetBlob reads a blob.
func (r *Registry) GetBlob(ctx context.Context, repo string, d digest.Digest) (ociregistry.BlobReader, error) {
	return r.GetBlobRange(ctx, repo, d, 0, -1)
}

// GetBlobRange reads a part of a blob: its descriptor is that of the whole.
func (r *Registry) GetBlobRange(ctx context.Context, _ string, d digest.Digest, from, to int64) (ociregistry.BlobReader, error) {
	o, err := r.find(ctx, d)
	if err != nil {
		return nil, err
	}
	if to < 0 || to > o.Size {
		to = o.Size
	}
	desc := ociregistry.Descriptor{MediaType: octets, Digest: d, Size: o.Size}
	if from >= to {
		if from > 0 {
			return nil, fmt.Errorf("the blob has %d bytes: %w", o.Size, ociregistry.ErrRangeInvalid)
		}
		return &reading{strings.NewReader(""), func() {}, desc}, nil
	}
	ctx, end := context.WithCancel(ctx)
	in, out := io.Pipe()
	go func() {
		err := r.c.Objects.Get(ctx, blobKey(d), from, to-from, out)
		if err != nil && ctx.Err() == nil {
			r.c.Log.Warn("read blob of an image", "blob", d, "err", err)
		}
		out.CloseWithError(err)
	}()
	return &reading{in, func() { end(); _ = in.Close() }, desc}, nil
}

// ResolveBlob says how large a blob is. Who asks may be about to push a manifest.
func (r *Registry) ResolveBlob(ctx context.Context, repo string, d digest.Digest) (ociregistry.Descriptor, error) {
	o, err := r.want(ctx, repo, d)
	return ociregistry.Descriptor{MediaType: octets, Digest: d, Size: o.Size}, err
}

// Blob reads a blob or a manifest of any image, and says how many bytes it has.
// fault.NotFound: there is none.
func (r *Registry) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, int64, error) {
	b, err := r.GetBlob(ctx, "", d)
	if err == nil {
		return b, b.Descriptor().Size, nil
	}
	if !errors.Is(err, ociregistry.ErrBlobUnknown) {
		return nil, 0, err
	}
	var key string
	err = r.each(ctx, images, func(o Object) error {
		if strings.HasSuffix(o.Key, manifests+d.Encoded()) {
			key = o.Key
		}
		return nil
	})
	if err != nil {
		return nil, 0, err
	}
	if key == "" {
		return nil, 0, fault.New(fault.NotFound, "there is neither blob nor manifest %s", d)
	}
	body, err := r.whole(ctx, key, d)
	return io.NopCloser(bytes.NewReader(body)), int64(len(body)), err
}

// whole reads a manifest's bytes, and makes sure that they are those of d.
func (r *Registry) whole(ctx context.Context, key string, d digest.Digest) ([]byte, error) {
	b := &bounded.Buffer{Most: manifest.Max}
	err := r.c.Objects.Get(ctx, key, 0, 0, b)
	if fault.CodeOf(err) == fault.NotFound {
		return nil, fmt.Errorf("%s: %w", d, ociregistry.ErrManifestUnknown)
	}
	if err != nil {
		return nil, fmt.Errorf("read manifest: %w", err)
	}
	if digest.FromBytes(b.Bytes()) != d {
		return nil, fault.New(fault.DamagedFile, "read manifest %s: it isn't what was pushed", d)
	}
	return b.Bytes(), nil
}

// GetManifest reads a manifest.
func (r *Registry) GetManifest(ctx context.Context, repo string, d digest.Digest) (ociregistry.BlobReader, error) {
	desc, err := r.ResolveManifest(ctx, repo, d)
	if err != nil {
		return nil, err
	}
	b, err := r.whole(ctx, manifestKey(repo, d), d)
	if err != nil {
		return nil, err
	}
	return &reading{bytes.NewReader(b), func() {}, desc}, nil
}

// GetTag reads the manifest that has a tag.
func (r *Registry) GetTag(ctx context.Context, repo, tag string) (ociregistry.BlobReader, error) {
	desc, err := r.ResolveTag(ctx, repo, tag)
	if err != nil {
		return nil, err
	}
	return r.GetManifest(ctx, repo, desc.Digest)
}

// ResolveManifest says what a manifest is.
func (r *Registry) ResolveManifest(ctx context.Context, repo string, d digest.Digest) (ociregistry.Descriptor, error) {
	desc := ociregistry.Descriptor{Digest: d}
	if err := errors.Join(checkName(repo), manifest.CheckDigest(d)); err != nil {
		return desc, err
	}
	o, err := r.c.Objects.Head(ctx, manifestKey(repo, d))
	if fault.CodeOf(err) == fault.NotFound {
		return desc, fmt.Errorf("%s@%s: %w", repo, d, ociregistry.ErrManifestUnknown)
	}
	desc.MediaType, desc.Size = o.Type, o.Size
	return desc, err
}

// ResolveTag finds the manifest that has a tag.
func (r *Registry) ResolveTag(ctx context.Context, repo, tag string) (ociregistry.Descriptor, error) {
	if err := checkName(repo); err != nil {
		return ociregistry.Descriptor{}, err
	}
	if tag == "" || !ociref.IsValidTag(tag) {
		return ociregistry.Descriptor{}, fmt.Errorf("tag %.200q: %w", tag, ociregistry.ErrManifestUnknown)
	}
	d, err := r.tagged(ctx, tagKey(repo, tag))
	if fault.CodeOf(err) == fault.NotFound {
		return ociregistry.Descriptor{}, fmt.Errorf("%s:%s: %w", repo, tag, ociregistry.ErrManifestUnknown)
	}
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	return r.ResolveManifest(ctx, repo, d)
}

// tagged is the digest that a tag stands for.
func (r *Registry) tagged(ctx context.Context, key string) (digest.Digest, error) {
	b := &bounded.Buffer{Most: 100}
	if err := r.c.Objects.Get(ctx, key, 0, 0, b); err != nil {
		return "", err
	}
	d := digest.Digest(b.String())
	if manifest.CheckDigest(d) != nil {
		return "", fault.New(fault.DamagedFile, "read tag %s: it is no digest", key)
	}
	return d, nil
}
