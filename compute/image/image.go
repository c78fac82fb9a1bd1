// Package image unpacks container images on a host, safely: what a tenant gives is
// believed in nothing. Every part is compared with its digest, layers write only into
// their own folder and only so much, and a folder that is there is whole. Images are
// kept by digest until the room is needed.
package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/manifest"
	"hearth/core/fault"
)

// A Source gives an image's parts by their digests. What it gives is verified.
type Source interface {
	// Blob reads a manifest, a config or a layer; fault.NotFound: it has none. It and
	// the reading end when ctx does.
	Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error)
}

// Limits are what one image may be. A zero field takes its stated default.
type Limits struct {
	Packed   int64 // bytes of all layers as they are fetched; default 8 GiB
	Unpacked int64 // bytes of all layers' archives, and of all files with 4096 for each entry; default 32 GiB
	Entries  int   // of all layers; default 500,000
	Layers   int   // default 128
	Ratio    int64 // of unpacked to packed bytes of a layer, from 64 MiB on; default 200
}

func (l Limits) filled() Limits {
	if l.Packed == 0 {
		l.Packed = 8 << 30
	}
	if l.Unpacked == 0 {
		l.Unpacked = 32 << 30
	}
	if l.Entries == 0 {
		l.Entries = 500_000
	}
	if l.Layers == 0 {
		l.Layers = 128
	}
	if l.Ratio == 0 {
		l.Ratio = 200
	}
	return l
}

const (
	maxDocument = 4 << 20 // manifests and configs
	ratioFrom   = 64 << 20
)

// plan is what there is to fetch.
type plan struct {
	manifest digest.Digest
	config   oci.Image
	layers   []oci.Descriptor
}

// A fetcher reads one image.
type fetcher struct {
	from     Source
	limits   Limits
	platform oci.Platform
}

func bad(format string, args ...any) error { return fault.New(fault.BadImage, format, args...) }

// document reads a small part as a whole.
func (f *fetcher) document(ctx context.Context, what string, d digest.Digest) ([]byte, error) {
	if err := checkDigest(d); err != nil {
		return nil, err
	}
	r, err := f.from.Blob(ctx, d)
	if err != nil {
		return nil, fmt.Errorf("fetch %s %s: %w", what, d, err)
	}
	b, err := io.ReadAll(io.LimitReader(r, maxDocument+1))
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("fetch %s %s: %w", what, d, err)
	}
	switch {
	case len(b) > maxDocument:
		return nil, fault.New(fault.TooLarge, "%s %s: more than %d bytes", what, d, maxDocument)
	case digest.FromBytes(b) != d:
		return nil, bad("%s %s: its bytes have another digest", what, d)
	}
	return b, nil
}

func checkDigest(d digest.Digest) error {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return bad("digest %.100q isn't sha256 of 64 hex digits", string(d))
	}
	return nil
}

// plan reads the manifest, of an index the one for this platform, and the config.
func (f *fetcher) plan(ctx context.Context, d digest.Digest) (p plan, err error) {
	var m struct {
		MediaType string           `json:"mediaType"`
		Config    *oci.Descriptor  `json:"config"`
		Layers    []oci.Descriptor `json:"layers"`
		Manifests []oci.Descriptor `json:"manifests"`
	}
	read := func(d digest.Digest) error {
		b, err := f.document(ctx, "manifest", d)
		if err != nil {
			return err
		}
		m.MediaType, m.Config, m.Layers, m.Manifests = "", nil, nil, nil
		if err := json.Unmarshal(b, &m); err != nil {
			return bad("manifest %s: %w", d, err)
		}
		return nil
	}
	if err := read(d); err != nil {
		return p, err
	}
	if m.MediaType == oci.MediaTypeImageIndex || m.MediaType == manifest.DockerIndex || m.Config == nil && m.Manifests != nil {
		if d, err = f.choose(m.Manifests); err != nil {
			return p, err
		}
		if err := read(d); err != nil {
			return p, err
		}
	}
	switch {
	case m.MediaType != "" && m.MediaType != oci.MediaTypeImageManifest && m.MediaType != manifest.DockerImage:
		return p, bad("manifest %s: it is %.100q, not an image", d, m.MediaType)
	case m.Config == nil || m.Manifests != nil:
		return p, bad("manifest %s: it names no config", d)
	case len(m.Layers) > f.limits.Layers:
		return p, fault.New(fault.TooLarge, "manifest %s: %d layers, at most %d are allowed", d, len(m.Layers), f.limits.Layers)
	}
	b, err := f.document(ctx, "config", m.Config.Digest)
	if err != nil {
		return p, err
	}
	if err := json.Unmarshal(b, &p.config); err != nil {
		return p, bad("config %s: %w", m.Config.Digest, err)
	}
	if p.config.OS != f.platform.OS || p.config.Architecture != f.platform.Architecture {
		return p, bad("it is for %.40s/%.40s, this machine is %s/%s", p.config.OS, p.config.Architecture, f.platform.OS, f.platform.Architecture)
	}
	if len(p.config.RootFS.DiffIDs) != len(m.Layers) {
		return p, bad("config %s: it names %d layers, the manifest %d", m.Config.Digest, len(p.config.RootFS.DiffIDs), len(m.Layers))
	}
	var total int64
	for _, l := range m.Layers {
		if err := checkDigest(l.Digest); err != nil {
			return p, err
		}
		if l.Size < 0 || l.Size > f.limits.Packed-total {
			return p, fault.New(fault.TooLarge, "manifest %s: more than %d bytes of layers", d, f.limits.Packed)
		}
		total += l.Size
	}
	p.manifest, p.layers = d, m.Layers
	return p, nil
}

// choose takes the image for this platform.
func (f *fetcher) choose(all []oci.Descriptor) (digest.Digest, error) {
	found := digest.Digest("")
	for _, d := range all {
		if d.Platform == nil || d.Platform.OS != f.platform.OS || d.Platform.Architecture != f.platform.Architecture {
			continue
		}
		if d.Platform.Variant == f.platform.Variant {
			return d.Digest, nil
		}
		if found == "" {
			found = d.Digest
		}
	}
	if found == "" {
		return "", bad("none of its %d images is for %s/%s", len(all), f.platform.OS, f.platform.Architecture)
	}
	return found, nil
}

// here is this machine's platform; containers are always of Linux.
func here() oci.Platform { return oci.Platform{OS: "linux", Architecture: runtime.GOARCH} }
