// Package manifest reads what the manifests of container images say (OCI image spec 1.1,
// and docker's schema 2, which is the same with other names). It refuses what names
// too many parts, or parts that no digest of SHA-256 tells.
package manifest

import (
	"encoding/json"
	"fmt"
	"slices"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// Limits, in bytes.
const (
	Max     = 4 << 20  // of a manifest
	MaxBlob = 64 << 30 // of a blob
)

// TooLarge is the error of a manifest of more than Max bytes.
func TooLarge() error {
	return fault.New(fault.TooLarge, "a manifest has at most %d bytes", Max)
}

// Media types of manifests as docker writes them.
const (
	DockerImage = "application/vnd.docker.distribution.manifest.v2+json"
	DockerIndex = "application/vnd.docker.distribution.manifest.list.v2+json"
)

// A Manifest is what a manifest's bytes say that matters here.
type Manifest struct {
	Blobs    []ociregistry.Descriptor // the config first
	Children []ociregistry.Descriptor // manifests of an index
	Subject  digest.Digest            // that it says something of
	Type     string                   // of the artifact
	Notes    map[string]string
}

// MaxParts bounds the layers of an image and the images of an index.
const MaxParts = 1024

// Check says why a manifest wouldn't be taken, whatever it is made of.
func Check(kind string, body []byte) error {
	if len(body) > Max {
		return TooLarge()
	}
	if _, err := Parse(kind, body); err != nil {
		return fault.New(fault.BadImage, "%w", err)
	}
	return nil
}

// Parse reads a manifest of one of the four kinds there are. Its errors are
// ociregistry.ErrManifestInvalid.
func Parse(kind string, body []byte) (m Manifest, err error) {
	bad := func(format string, args ...any) (Manifest, error) {
		return Manifest{}, fmt.Errorf(format+": %w", append(args, ociregistry.ErrManifestInvalid)...)
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
	case oci.MediaTypeImageManifest, DockerImage:
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
	case oci.MediaTypeImageIndex, DockerIndex:
		if all.Config != nil || len(all.Layers) > 0 {
			return bad("an index has neither config nor layers")
		}
		m.Children = all.Manifests
	default:
		return bad("%.100q is no type of manifest that is known here", kind)
	}
	if len(m.Blobs)+len(m.Children) > MaxParts {
		return bad("it has %d parts, at most %d are allowed", len(m.Blobs)+len(m.Children), MaxParts)
	}
	for _, d := range slices.Concat(m.Blobs, m.Children) {
		if CheckDigest(d.Digest) != nil || d.Size < 0 {
			return bad("a part of it is %.100q, of %d bytes", string(d.Digest), d.Size)
		}
	}
	if all.Subject != nil {
		if CheckDigest(all.Subject.Digest) != nil {
			return bad("its subject is %.100q", string(all.Subject.Digest))
		}
		m.Subject = all.Subject.Digest
	}
	return m, nil
}

// CheckDigest takes those that blobs are kept by; its error is ociregistry.ErrDigestInvalid.
func CheckDigest(d digest.Digest) error {
	if d.Validate() != nil || d.Algorithm() != digest.SHA256 {
		return fmt.Errorf("digest %.200q: it isn't sha256 of 64 hex digits: %w", string(d), ociregistry.ErrDigestInvalid)
	}
	return nil
}
