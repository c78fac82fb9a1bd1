package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
)

// maxManifest bounds a manifest, as hosts do.
const maxManifest = 4 << 20

// parts are what a host may ask for to start one instance: what its image is made of,
// each part as often as it stands there. The account's other images are not the host's
// to see, and every byte is paid for. A manifest's parts are known once it is asked for.
type parts struct {
	images Images
	left   map[digest.Digest]int
	lists  map[digest.Digest]bool // of them the manifests, or the index
	choice []digest.Digest        // of an index's manifests a host takes one
}

func newParts(images Images, image [32]byte) *parts {
	d := digest.NewDigestFromBytes(digest.SHA256, image[:])
	return &parts{images: images, left: map[digest.Digest]int{d: 1}, lists: map[digest.Digest]bool{d: true}}
}

// noParts are for a host that has the image.
func noParts(images Images) *parts { return &parts{images: images} }

// take says whether a host may have a blob, and has it have it.
func (p *parts) take(d digest.Digest) bool {
	if p.left[d] == 0 {
		return false
	}
	if p.left[d]--; p.lists[d] {
		for _, other := range p.choice {
			delete(p.left, other)
		}
	}
	return true
}

// blob opens a blob that was taken.
func (p *parts) blob(ctx context.Context, d digest.Digest) (io.ReadCloser, int64, error) {
	r, size, err := p.images.Blob(ctx, d)
	if err != nil || !p.lists[d] || size > maxManifest {
		return r, size, err // what is too long for a manifest has no parts, and the host says so
	}
	b := make([]byte, size)
	_, err = io.ReadFull(r, b)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, 0, fault.New(fault.NotFound, "read manifest %s: %w", d, err)
	}
	p.learn(b)
	return io.NopCloser(bytes.NewReader(b)), size, nil
}

// learn adds what a manifest names. What isn't one names nothing.
func (p *parts) learn(manifest []byte) {
	var m struct {
		Config    *oci.Descriptor  `json:"config"`
		Layers    []oci.Descriptor `json:"layers"`
		Manifests []oci.Descriptor `json:"manifests"`
	}
	if json.Unmarshal(manifest, &m) != nil {
		return
	}
	if m.Config != nil {
		p.left[m.Config.Digest]++
	}
	for _, l := range m.Layers {
		p.left[l.Digest]++
	}
	if p.choice != nil { // an index in an index is none
		return
	}
	for _, one := range m.Manifests {
		p.left[one.Digest], p.lists[one.Digest] = 1, true
		p.choice = append(p.choice, one.Digest)
	}
}
