package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/compute/manifest"
	"hearth/core/fault"
	"hearth/internal/bounded"
)

// failing is a sequence that has nothing but an error.
func failing[T any](err error) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		yield(none, err)
	}
}

// those is a sequence of what is behind a word.
func those(all []string, after string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		for _, s := range all {
			if s > after && !yield(s, nil) {
				return
			}
		}
	}
}

// Repositories lists the names of images.
func (r *Registry) Repositories(ctx context.Context, after string) iter.Seq2[string, error] {
	var all []string
	err := r.each(ctx, images, func(o Object) error {
		if repo, _, ok := strings.Cut(o.Key[len(images):], manifests); ok {
			all = append(all, repo)
		}
		return nil
	})
	if err != nil {
		return failing[string](err)
	}
	slices.Sort(all)
	return those(slices.Compact(all), after)
}

// Tags lists the tags of an image.
func (r *Registry) Tags(ctx context.Context, repo, after string) iter.Seq2[string, error] {
	if err := checkName(repo); err != nil {
		return failing[string](err)
	}
	all, there, err := r.tags(ctx, repo)
	switch {
	case err != nil:
		return failing[string](err)
	case !there:
		return failing[string](fmt.Errorf("%s: %w", repo, ociregistry.ErrNameUnknown))
	}
	return those(all, after)
}

// tags lists them in order, and says whether there is such an image at all.
func (r *Registry) tags(ctx context.Context, repo string) (all []string, there bool, err error) {
	prefix := images + repo + tags
	err = r.each(ctx, images+repo+"/_", func(o Object) error {
		there = true
		if tag, ok := strings.CutPrefix(o.Key, prefix); ok {
			all = append(all, tag)
		}
		return nil
	})
	return all, there, err
}

// kept is a manifest with where it is and what it says.
type kept struct {
	Object
	repo   string
	digest digest.Digest
	manifest.Manifest
}

// kept lists the manifests below a prefix of keys. Under the keys that can be spared,
// what can't be read is left out.
func (r *Registry) kept(ctx context.Context, prefix string, spare ...string) (all []kept, err error) {
	err = r.each(ctx, prefix, func(o Object) error {
		repo, _, ok := strings.Cut(o.Key[len(images):], manifests)
		d, good := digestIn(o.Key)
		if !ok || !good {
			return nil
		}
		m, err := r.read(ctx, o)
		if err != nil {
			if slices.Contains(spare, o.Key) && ctx.Err() == nil {
				return nil
			}
			return fmt.Errorf("image %s@%s: %w", repo, d, err)
		}
		all = append(all, kept{o, repo, d, m})
		return nil
	})
	return all, err
}

// Referrers lists the manifests of an image that say something of another.
func (r *Registry) Referrers(ctx context.Context, repo string, of digest.Digest, kind string) iter.Seq2[ociregistry.Descriptor, error] {
	if err := checkName(repo); err != nil {
		return failing[ociregistry.Descriptor](err)
	}
	if err := manifest.CheckDigest(of); err != nil {
		return failing[ociregistry.Descriptor](err)
	}
	all, err := r.kept(ctx, images+repo+manifests)
	if err != nil {
		return failing[ociregistry.Descriptor](err)
	}
	return func(yield func(ociregistry.Descriptor, error) bool) {
		for _, k := range all {
			if k.Subject != of || kind != "" && k.Manifest.Type != kind {
				continue
			}
			if !yield(ociregistry.Descriptor{MediaType: k.Object.Type, Digest: k.digest, Size: k.Size, ArtifactType: k.Manifest.Type, Annotations: k.Notes}, nil) {
				return
			}
		}
	}
}

// An Image is one that was pushed: an image for one platform, or an index of such.
type Image struct {
	Name      string
	Tags      []string
	Digest    digest.Digest
	Size      int64 // of all its parts
	Platforms []string
	Pushed    time.Time
}

// Images lists the images by name. What belongs to an index isn't listed by itself,
// unless it has a tag.
func (r *Registry) Images(ctx context.Context) ([]Image, error) {
	all, err := r.kept(ctx, images)
	if err != nil {
		return nil, err
	}
	type at struct {
		repo   string
		digest digest.Digest
	}
	found := map[at]kept{}
	part := map[at]bool{}
	for _, k := range all {
		found[at{k.repo, k.digest}] = k
		for _, c := range k.Children {
			part[at{k.repo, c.Digest}] = true
		}
	}
	names := map[at][]string{}
	err = r.each(ctx, images, func(o Object) error {
		repo, tag, ok := strings.Cut(o.Key[len(images):], tags)
		if !ok {
			return nil
		}
		d, err := r.tagged(ctx, o.Key)
		if fault.CodeOf(err) == fault.NotFound {
			return nil // removed meanwhile
		}
		names[at{repo, d}] = append(names[at{repo, d}], tag)
		return err
	})
	if err != nil {
		return nil, err
	}
	out := []Image{}
	for _, k := range all {
		here := at{k.repo, k.digest}
		if part[here] && len(names[here]) == 0 {
			continue
		}
		i := Image{Name: k.repo, Tags: names[here], Digest: k.digest, Pushed: k.Created}
		counted := map[digest.Digest]bool{}
		add := func(k kept) {
			i.Size += k.Size
			for _, b := range k.Blobs {
				if !counted[b.Digest] {
					counted[b.Digest] = true
					i.Size += b.Size
				}
			}
		}
		add(k)
		for _, c := range k.Children {
			add(found[at{k.repo, c.Digest}])
			if c.Platform != nil && c.Platform.OS != "unknown" {
				i.Platforms = append(i.Platforms, platform(*c.Platform))
			}
		}
		if len(k.Blobs) > 0 {
			if p := r.platform(ctx, k.Blobs[0]); p.OS != "" {
				i.Platforms = []string{platform(p)}
			}
		}
		out = append(out, i)
	}
	return out, nil
}

func platform(p oci.Platform) string {
	return strings.TrimRight(p.OS+"/"+p.Architecture+"/"+p.Variant, "/")
}

// platform is what an image's config names, where it can be read.
func (r *Registry) platform(ctx context.Context, config ociregistry.Descriptor) (p oci.Platform) {
	switch config.MediaType {
	case oci.MediaTypeImageConfig, "application/vnd.docker.container.image.v1+json":
	default:
		return p
	}
	b := &bounded.Buffer{Most: manifest.Max}
	if err := r.c.Objects.Get(ctx, blobKey(config.Digest), 0, 0, b); err == nil {
		_ = json.Unmarshal(b.Bytes(), &p) // what it doesn't say stays unknown
	}
	return p
}
