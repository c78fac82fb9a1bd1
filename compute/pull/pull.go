// Package pull reads container images from registries of the public net. A registry is
// believed in nothing: manifests come whole and as their digests say, blobs end early or
// late only to be refused, each answer and each read has its time, and a login goes to
// nobody but the registry it is for. What is cut off goes on where it was.
package pull

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"cuelabs.dev/go/oci/ociregistry/ociauth"

	"hearth/compute/layout"
	"hearth/compute/manifest"
	"hearth/core/fault"
)

// A Config is what Open needs. A zero field takes its stated default.
type Config struct {
	Name     Name    // required
	All      bool    // of an index every platform; default: those that hosts run
	Insecure bool    // the registry speaks without TLS though it isn't on this machine
	Logins   *Logins // default: none

	Stall     time.Duration     // an answer and each read of it may take so long; default 20 s
	Patience  time.Duration     // so long it is tried again without a byte that is new; default 50 s
	Transport http.RoundTripper // default: one that heeds HTTP_PROXY and its like
}

// hostsRun are the platforms of Hearth's hosts.
var hostsRun = []string{"linux/amd64", "linux/arm64"}

// Open finds an image and all that it is made of. Its blobs are read where they are
// opened, until ctx ends.
func Open(ctx context.Context, c Config) (*layout.Image, error) {
	if c.Name.Image == "" {
		return nil, errors.New("pull: Name is required")
	}
	if c.Stall == 0 {
		c.Stall = 20 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 50 * time.Second // less than the minute that the node's own door waits for the next byte
	}
	if c.Transport == nil {
		c.Transport = &http.Transport{
			Proxy: http.ProxyFromEnvironment, DisableCompression: true, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 256 << 10, MaxIdleConnsPerHost: 2, IdleConnTimeout: 30 * time.Second,
		}
	}
	r := &remote{c: c, ctx: ctx, base: "https://" + c.Name.host()}
	if c.Insecure || loopback(c.Name.host()) {
		r.base = "http://" + c.Name.host()
	}
	login, err := c.Logins.of(ctx, c.Name)
	if err != nil {
		return nil, err
	}
	r.client = &http.Client{CheckRedirect: follow, Transport: ociauth.NewStdTransport(ociauth.StdTransportParams{
		Config: only{c.Name.host(), login}, Transport: &careful{next: c.Transport, clear: c.Insecure, stall: c.Stall},
	})}
	top, err := r.top()
	if err != nil {
		return nil, r.wrong(err)
	}
	want := func(p oci.Platform) bool { return slices.Contains(hostsRun, p.OS+"/"+p.Architecture) }
	if c.All {
		want = nil
	}
	i, err := layout.Gather(top, r, want)
	if err == nil {
		err = check(i)
	}
	if err != nil {
		return nil, r.wrong(err)
	}
	if i.Name = c.Name.Short(); c.Name.Tag != "" {
		i.Name += ":" + c.Name.Tag
	}
	return i, nil
}

// check refuses manifests that storage wouldn't take, before anything else is fetched.
func check(i *layout.Image) error {
	for _, m := range i.Manifests {
		f, err := m.Open()
		if err != nil {
			return err
		}
		body, err := io.ReadAll(f)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
		if err := manifest.Check(m.MediaType, body); err != nil {
			return fmt.Errorf("manifest %s: %w", m.Digest, err)
		}
	}
	return nil
}

// remote is an image where it lies. It is a layout.Source.
type remote struct {
	c      Config
	ctx    context.Context // of the whole pull
	base   string
	client *http.Client

	reached bool   // it has answered once
	head    []byte // the first manifest
}

// wrong says which image an error is of, and gives it a code.
func (r *remote) wrong(err error) error {
	code := fault.CodeOf(err)
	if r.ctx.Err() != nil {
		code = fault.Interrupted
	}
	if code == fault.Internal {
		code = fault.BadImage
	}
	return fault.New(code, "pull %s: %w", r.c.Name, err)
}

// kinds are the manifests that are asked for.
var kinds = []string{
	oci.MediaTypeImageIndex, oci.MediaTypeImageManifest,
	manifest.DockerIndex, manifest.DockerImage,
}

// top finds the manifest that the name stands for.
func (r *remote) top() (oci.Descriptor, error) {
	word := r.c.Name.Digest.String()
	if word == "" {
		word = r.c.Name.Tag
	}
	body, header, err := r.document(word)
	if err != nil {
		return oci.Descriptor{}, err
	}
	d := oci.Descriptor{Digest: digest.FromBytes(body), Size: int64(len(body))}
	d.MediaType, _, _ = mime.ParseMediaType(header.Get("Content-Type")) // what is no type of a manifest isn't taken later
	said := digest.Digest(header.Get("Docker-Content-Digest"))
	if r.c.Name.Digest != "" {
		said = r.c.Name.Digest
	}
	if said != "" && (said.Validate() != nil || said.Algorithm() == digest.SHA256 && said != d.Digest) {
		return d, fault.New(fault.BadImage, "manifest %.80q: its bytes are %s", string(said), d.Digest)
	}
	r.head = body
	return d, nil
}

// Manifest reads one.
func (r *remote) Manifest(d oci.Descriptor) ([]byte, error) {
	if r.head != nil && digest.FromBytes(r.head) == d.Digest {
		return r.head, nil
	}
	if d.Size < 0 || d.Size > manifest.Max {
		return nil, manifest.TooLarge()
	}
	body, _, err := r.document(d.Digest.String())
	if err == nil && int64(len(body)) != d.Size {
		err = fault.New(fault.BadImage, "it has %d bytes, its index says %d", len(body), d.Size)
	}
	return body, err
}

// documentPatience is for a manifest from its beginning to its end.
const documentPatience = 2 * time.Minute

// document reads a manifest by its tag or digest.
func (r *remote) document(word string) (body []byte, header http.Header, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, documentPatience)
	defer cancel()
	for p := r.patience(); ; {
		body, header, err = r.once(ctx, word)
		if err == nil || !p.again(ctx, err) {
			return body, header, err
		}
	}
}

func (r *remote) once(ctx context.Context, word string) ([]byte, http.Header, error) {
	a, err := r.ask(ctx, "/manifests/"+word, http.Header{"Accept": kinds})
	if err != nil {
		return nil, nil, err
	}
	defer a.Body.Close()
	body, err := io.ReadAll(io.LimitReader(a.Body, manifest.Max+1))
	if err != nil {
		return nil, nil, passing{fault.New(fault.RegistryDown, "read manifest: %w", err)}
	}
	if len(body) > manifest.Max {
		return nil, nil, manifest.TooLarge()
	}
	return body, a.Header, nil
}

// Blob says how one is read.
func (r *remote) Blob(d oci.Descriptor) (func() (io.ReadCloser, error), error) {
	if d.Digest.Algorithm() != digest.SHA256 {
		return nil, fault.New(fault.BadImage, "its digest isn't sha256")
	}
	if d.Size < 0 || d.Size > manifest.MaxBlob {
		return nil, fault.New(fault.TooLarge, "it has %d bytes, at most %d are allowed", d.Size, int64(manifest.MaxBlob))
	}
	return func() (io.ReadCloser, error) { return r.reading(d), nil }, nil
}
