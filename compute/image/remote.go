package image

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociclient"
	"github.com/opencontainers/go-digest"

	"hearth/core/fault"
)

// A Remote is an image's name at a registry. It is a Source.
type Remote struct {
	registry   ociregistry.Interface
	repository string
}

// At names a repository of a registry, like library/debian at registry:5000. The
// transport dials and logs in; nil is Go's own. plain speaks HTTP without TLS.
func At(registry, repository string, transport http.RoundTripper, plain bool) (*Remote, error) {
	r, err := ociclient.New(registry, &ociclient.Options{Transport: transport, Insecure: plain})
	if err != nil {
		return nil, fault.New(fault.BadRequest, "registry %q: %w", registry, err)
	}
	return &Remote{r, repository}, nil
}

// Blob reads a blob or a manifest. A registry keeps them apart, and which one d is
// isn't said.
func (r *Remote) Blob(ctx context.Context, d digest.Digest) (io.ReadCloser, error) {
	b, err := r.registry.GetManifest(ctx, r.repository, d)
	if gone(err) {
		b, err = r.registry.GetBlob(ctx, r.repository, d)
	}
	if gone(err) {
		return nil, fault.New(fault.NotFound, "%s has no %s: %w", r.repository, d, err)
	}
	if err != nil {
		return nil, fmt.Errorf("read %s@%s: %w", r.repository, d, err)
	}
	return b, nil
}

// gone says that there is nothing of the kind.
func gone(err error) bool {
	var status ociregistry.HTTPError
	return errors.Is(err, ociregistry.ErrManifestUnknown) || errors.Is(err, ociregistry.ErrBlobUnknown) || errors.Is(err, ociregistry.ErrNameUnknown) ||
		errors.As(err, &status) && status.StatusCode() == http.StatusNotFound
}
