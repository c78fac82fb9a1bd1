package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// Media types of manifests as docker writes them.
const (
	dockerManifest = "application/vnd.docker.distribution.manifest.v2+json"
	dockerList     = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// A manifest is what a manifest's bytes say that matters here.
type manifest struct {
	Blobs    []ociregistry.Descriptor // the config first
	Children []ociregistry.Descriptor // manifests of an index
	Subject  digest.Digest            // that it says something of
	Type     string                   // of the artifact
	Notes    map[string]string
}

// maxParts bounds the layers of an image and the images of an index.
const maxParts = 1024

// CheckManifest says why a manifest wouldn't be taken, whatever it is made of.
func CheckManifest(kind string, body []byte) error {
	if len(body) > MaxManifest {
		return tooLarge()
	}
	if _, err := parse(kind, body); err != nil {
		return fault.New(fault.BadImage, "%w", err)
	}
	return nil
}

// parse reads a manifest of one of the four kinds there are.
func parse(kind string, body []byte) (m manifest, err error) {
	bad := func(format string, args ...any) (manifest, error) {
		return manifest{}, fmt.Errorf(format+": %w", append(args, ociregistry.ErrManifestInvalid)...)
	}
	var all struct {
		Version   int                      `json:"schemaVersion"`
		MediaType string                   `json:"mediaType"`
		Artifact  string                   `json:"artifactType"`
		Config    *ociregistry.Descriptor  `json:"config"`
		Layers    []ociregistry.Descriptor `json:"layers"`
		Manifests []ociregistry.Descriptor `json:"manifests"`
		Subject   *ociregistry.Descriptor  `json:"subject"`
		Notes     map[string]string        `json:"annotations"`
	}
	if err := json.Unmarshal(body, &all); err != nil {
		return bad("it isn't JSON of a manifest")
	}
	if all.Version != 2 || all.MediaType != "" && all.MediaType != kind {
		return bad("it is said to be %.100q, and says version %d, type %.100q", kind, all.Version, all.MediaType)
	}
	m.Type, m.Notes = all.Artifact, all.Notes
	switch kind {
	case oci.MediaTypeImageManifest, dockerManifest:
		if all.Config == nil || len(all.Manifests) > 0 {
			return bad("an image has a config and no manifests")
		}
		if m.Blobs = append(m.Blobs, *all.Config); m.Type == "" {
			m.Type = all.Config.MediaType
		}
		for _, l := range all.Layers {
			if len(l.URLs) == 0 { // else it lies elsewhere
				m.Blobs = append(m.Blobs, l)
			}
		}
	case oci.MediaTypeImageIndex, dockerList:
		if all.Config != nil || len(all.Layers) > 0 {
			return bad("an index has neither config nor layers")
		}
		m.Children = all.Manifests
	default:
		return bad("%.100q is no type of manifest that is known here", kind)
	}
	if len(m.Blobs)+len(m.Children) > maxParts {
		return bad("it has %d parts, at most %d are allowed", len(m.Blobs)+len(m.Children), maxParts)
	}
	for _, d := range slices.Concat(m.Blobs, m.Children) {
		if checkDigest(d.Digest) != nil || d.Size < 0 {
			return bad("a part of it is %.100q, of %d bytes", string(d.Digest), d.Size)
		}
	}
	if all.Subject != nil {
		if checkDigest(all.Subject.Digest) != nil {
			return bad("its subject is %.100q", string(all.Subject.Digest))
		}
		m.Subject = all.Subject.Digest
	}
	return m, nil
}

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
	if len(body) > MaxManifest {
		return desc, tooLarge()
	}
	m, err := parse(kind, body)
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
func (r *Registry) read(ctx context.Context, o Object) (manifest, error) {
	d, ok := digestIn(o.Key)
	if !ok {
		return manifest{}, fmt.Errorf("key %s: it is none of a manifest", o.Key)
	}
	r.mu.Lock()
	m, ok := r.known[d]
	r.mu.Unlock()
	if ok {
		return m, nil
	}
	body, err := r.whole(ctx, o.Key, d)
	if err != nil {
		return manifest{}, err
	}
	if m, err = parse(o.Type, body); err != nil {
		return manifest{}, fmt.Errorf("manifest %s: %w", d, err)
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
