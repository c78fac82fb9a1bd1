package registry

import (
	"bytes"
	"context"
	"fmt"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"

	"hearth/compute/manifest"
)

// PushManifest keeps a manifest, and lets a tag stand for it. All that it is made of
// must be here.
func (r *Registry) PushManifest(ctx context.Context, repo, tag string, body []byte, kind string) (ociregistry.Descriptor, error) {
	d := digest.FromBytes(body)
	desc := ociregistry.Descriptor{MediaType: kind, Digest: d, Size: int64(len(body))}
	if err := checkName(repo); err != nil {
		return desc, err
	}
	if tag != "" && !ociref.IsValidTag(tag) {
		return desc, fmt.Errorf("tag %.200q isn't one: %w", tag, ociregistry.ErrManifestInvalid)
	}
	if len(body) > manifest.Max {
		return desc, manifest.TooLarge()
	}
	m, err := manifest.Parse(kind, body)
	if err != nil {
		return desc, err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	r.changes++
	for _, b := range m.Blobs {
		o, err := r.c.Objects.Head(ctx, blobKey(b.Digest))
		if err := missing(err, "blob", b.Digest); err != nil {
			return desc, err
		}
		if o.Size != b.Size {
			return desc, fmt.Errorf("blob %s has %d bytes, not %d: %w", b.Digest, o.Size, b.Size, ociregistry.ErrManifestInvalid)
		}
	}
	for _, c := range m.Children {
		_, err := r.c.Objects.Head(ctx, manifestKey(repo, c.Digest))
		if err := missing(err, "manifest", c.Digest); err != nil {
			return desc, err
		}
	}
	if err := r.c.Objects.Put(ctx, manifestKey(repo, d), kind, desc.Size, bytes.NewReader(body)); err != nil {
		return desc, fmt.Errorf("store manifest: %w", err)
	}
	if tag != "" {
		if err := r.c.Objects.Put(ctx, tagKey(repo, tag), "text/plain", int64(len(d)), bytes.NewReader([]byte(d))); err != nil {
			return desc, fmt.Errorf("store tag: %w", err)
		}
	}
	r.arrived(repo, m.Blobs)
	return desc, nil
}

// maxKnown bounds the manifests whose meaning is kept in memory.
const maxKnown = 4096

// read gives what a manifest says.
func (r *Registry) read(ctx context.Context, o Object) (manifest.Manifest, error) {
	d, ok := digestIn(o.Key)
	if !ok {
		return manifest.Manifest{}, fmt.Errorf("key %s: it is none of a manifest", o.Key)
	}
	r.mu.Lock()
	m, ok := r.known[d]
	r.mu.Unlock()
	if ok {
		return m, nil
	}
	body, err := r.whole(ctx, o.Key, d)
	if err != nil {
		return manifest.Manifest{}, err
	}
	if m, err = manifest.Parse(o.Type, body); err != nil {
		return manifest.Manifest{}, fmt.Errorf("manifest %s: %w", d, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for old := range r.known {
		if len(r.known) < maxKnown {
			break
		}
		delete(r.known, old) // any: who lists reads all of them
	}
	r.known[d] = m
	return m, nil
}
