package registry

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/opencontainers/go-digest"

	"hearth/compute/manifest"
	"hearth/core/fault"
)

// missing says of a part of a manifest that it isn't here.
func missing(err error, what string, d digest.Digest) error {
	if fault.CodeOf(err) == fault.NotFound {
		return fmt.Errorf("%s %s: %w", what, d, ociregistry.ErrManifestBlobUnknown)
	}
	return err
}

// dropped passes over what is gone already.
func dropped(err error) error {
	if fault.CodeOf(err) == fault.NotFound {
		return nil
	}
	return err
}

// A removal is what goes, in this order.
type removal struct {
	keys  []string // of tags, and then manifests
	blobs []string // keys of those that no manifest needs
	mine  touch    // what doesn't keep a blob, since its own image asks
}

// remove takes away what decide finds. It decides before others have to wait, since
// that may read from hosts, and again when manifests or tags were added or removed
// meanwhile. Blobs that a push counts on stay, for a sweep.
func (r *Registry) remove(ctx context.Context, decide func() (removal, error)) error {
	const tries = 3 // then others wait
	for range tries {
		r.changing.RLock()
		before := r.changes
		r.changing.RUnlock()
		what, err := decide()
		r.changing.Lock()
		if r.changes == before {
			defer r.changing.Unlock()
			if err != nil {
				return err
			}
			return r.drop(ctx, what)
		}
		r.changing.Unlock()
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	what, err := decide()
	if err != nil {
		return err
	}
	return r.drop(ctx, what)
}

// drop takes a removal away; the caller holds changing.
func (r *Registry) drop(ctx context.Context, what removal) error {
	r.changes++
	r.settled(what.mine)
	soon, free := r.awaited(), 0
	for _, key := range what.blobs {
		if d, ok := digestIn(key); ok && !soon[d] {
			what.keys = append(what.keys, key)
			free++
		}
	}
	for _, key := range what.keys {
		if err := dropped(r.c.Objects.Drop(ctx, key)); err != nil {
			return err
		}
	}
	if free > 0 {
		r.c.Log.Info("removed what no image needs", "blobs", free)
	}
	return nil
}

// DeleteTag removes a tag; what it stood for stays.
func (r *Registry) DeleteTag(ctx context.Context, repo, tag string) error {
	if _, err := r.ResolveTag(ctx, repo, tag); err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	return r.drop(ctx, removal{keys: []string{tagKey(repo, tag)}})
}

// DeleteManifest removes a manifest with its tags, and the blobs that no other needs.
func (r *Registry) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	if _, err := r.ResolveManifest(ctx, repo, d); err != nil {
		return err
	}
	return r.remove(ctx, func() (removal, error) {
		named, err := r.named(ctx, repo)
		if err != nil {
			return removal{}, err
		}
		return r.without(ctx, repo, []digest.Digest{d}, named, false)
	})
}

// DeleteBlob removes a blob that belongs to no image, and that no push to another
// image counts on. One to this image that does is told so when its manifest comes.
func (r *Registry) DeleteBlob(ctx context.Context, repo string, d digest.Digest) error {
	if err := manifest.CheckDigest(d); err != nil {
		return err
	}
	stays := func(why string) error {
		return refusal{http.StatusMethodNotAllowed, ociregistry.ErrUnsupported.Code(), fmt.Sprintf("blob %s %s", d, why), fault.Exists}
	}
	return r.remove(ctx, func() (removal, error) {
		if _, err := r.find(ctx, d); err != nil {
			return removal{}, err
		}
		all, err := r.kept(ctx, images)
		if err != nil {
			return removal{}, err
		}
		if needed(all)[d] {
			return removal{}, stays("belongs to an image: remove that")
		}
		mine := touch{repo, d}
		if r.awaited(mine)[d] {
			return removal{}, stays("is one that a push counts on: it goes by itself if that isn't ended")
		}
		return removal{blobs: []string{blobKey(d)}, mine: mine}, nil
	})
}

// Remove removes what NAME, NAME:TAG or NAME@DIGEST names, with all that belongs to
// it alone: a tag's image stays while it has another tag or belongs to an index.
func (r *Registry) Remove(ctx context.Context, name string) error {
	repo, tag, d, err := split(name)
	if err != nil {
		return err
	}
	return r.remove(ctx, func() (removal, error) { return r.removal(ctx, name, repo, tag, d) })
}

func (r *Registry) removal(ctx context.Context, name, repo, tag string, d digest.Digest) (removal, error) {
	gone := fault.New(fault.NotFound, "there is no image %s", name)
	names, there, err := r.tags(ctx, repo)
	if err != nil {
		return removal{}, err
	}
	if !there {
		return removal{}, gone
	}
	if tag == "" && d == "" {
		return r.everything(ctx, repo, names)
	}
	named, err := r.named(ctx, repo)
	if err != nil {
		return removal{}, err
	}
	if tag == "" {
		if _, err := r.c.Objects.Head(ctx, manifestKey(repo, d)); err != nil {
			return removal{}, errors.Join(gone, dropped(err))
		}
		return r.without(ctx, repo, []digest.Digest{d}, named, true)
	}
	was, tagged := named[tag]
	if !tagged || d != "" && d != was {
		return removal{}, gone
	}
	alone := removal{keys: []string{tagKey(repo, tag)}}
	for other, to := range named {
		if other != tag && to == was {
			return alone, nil // it has another name
		}
	}
	own, err := r.kept(ctx, images+repo+manifests, manifestKey(repo, was))
	if err != nil || slices.ContainsFunc(own, func(k kept) bool { return has(k.Children, was) }) {
		return alone, err
	}
	return r.without(ctx, repo, []digest.Digest{was}, named, true)
}

// everything is the removal of all of a name, whether its tags can be read or not.
func (r *Registry) everything(ctx context.Context, repo string, names []string) (removal, error) {
	var list []digest.Digest
	err := r.each(ctx, images+repo+manifests, func(o Object) error {
		if d, ok := digestIn(o.Key); ok {
			list = append(list, d)
		}
		return nil
	})
	if err != nil {
		return removal{}, err
	}
	out, err := r.without(ctx, repo, list, nil, true)
	for _, tag := range names {
		out.keys = append([]string{tagKey(repo, tag)}, out.keys...)
	}
	return out, err
}

// named is what an image's tags stand for.
func (r *Registry) named(ctx context.Context, repo string) (map[string]digest.Digest, error) {
	names, _, err := r.tags(ctx, repo)
	if err != nil {
		return nil, err
	}
	out := map[string]digest.Digest{}
	for _, tag := range names {
		if out[tag], err = r.tagged(ctx, tagKey(repo, tag)); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func has(all []ociregistry.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(all, func(c ociregistry.Descriptor) bool { return c.Digest == d })
}

// without is the removal of manifests with their tags, and of the blobs that no other
// needs; deep also takes what belongs to them alone. It takes manifests that can't be
// read, whose blobs a sweep finds later. While another can't be read, nobody can tell
// what is needed.
func (r *Registry) without(ctx context.Context, repo string, list []digest.Digest, named map[string]digest.Digest, deep bool) (out removal, err error) {
	var spare []string
	for _, d := range list {
		spare = append(spare, manifestKey(repo, d))
	}
	all, err := r.kept(ctx, images, spare...)
	if err != nil {
		return removal{}, err
	}
	tagged := map[digest.Digest]bool{}
	for _, to := range named {
		tagged[to] = true
	}
	var bodies []string
	goes, free := map[digest.Digest]bool{}, map[digest.Digest]bool{}
	for len(list) > 0 {
		d := list[0]
		list = list[1:]
		goes[d] = true
		bodies = append(bodies, manifestKey(repo, d))
		i := slices.IndexFunc(all, func(k kept) bool { return k.repo == repo && k.digest == d })
		if i < 0 {
			continue
		}
		was := all[i]
		all = slices.Delete(all, i, i+1)
		for _, b := range was.Blobs {
			free[b.Digest] = true
		}
		if !deep {
			continue
		}
		for _, k := range all {
			mine := k.repo == repo && !tagged[k.digest]
			if mine && k.Subject == d || mine && has(was.Children, k.digest) && !slices.ContainsFunc(all, func(o kept) bool { return o.repo == repo && has(o.Children, k.digest) }) {
				list = append(list, k.digest)
			}
		}
	}
	for tag, to := range named {
		if goes[to] {
			out.keys = append(out.keys, tagKey(repo, tag))
		}
	}
	out.keys = append(out.keys, bodies...)
	need := needed(all)
	for d := range free {
		if !need[d] {
			out.blobs = append(out.blobs, blobKey(d))
		}
	}
	return out, nil
}

// needed are the blobs that manifests name.
func needed(all []kept) map[digest.Digest]bool {
	out := map[digest.Digest]bool{}
	for _, k := range all {
		for _, b := range k.Blobs {
			out[b.Digest] = true
		}
	}
	return out
}

// Sweep removes blobs that have belonged to no image for a day: their push broke
// off, or they were awaited when their image was removed.
func (r *Registry) Sweep(ctx context.Context) error {
	return r.remove(ctx, func() (removal, error) {
		all, err := r.kept(ctx, images)
		if err != nil {
			return removal{}, err
		}
		var out removal
		need := needed(all)
		err = r.each(ctx, blobs, func(o Object) error {
			if d, ok := digestIn(o.Key); ok && !need[d] && r.c.Now().Sub(o.Created) > orphanFor {
				out.blobs = append(out.blobs, o.Key)
			}
			return nil
		})
		return out, err
	})
}

// Resolve finds the digest of what NAME, NAME:TAG or NAME@DIGEST names; without
// either it is the tag latest.
func (r *Registry) Resolve(ctx context.Context, name string) (digest.Digest, error) {
	repo, tag, d, err := split(name)
	if err != nil {
		return "", err
	}
	desc := ociregistry.Descriptor{}
	switch {
	case tag == "" && d == "":
		desc, err = r.ResolveTag(ctx, repo, "latest")
	case tag != "":
		desc, err = r.ResolveTag(ctx, repo, tag)
	default:
		desc, err = r.ResolveManifest(ctx, repo, d)
	}
	if errors.Is(err, ociregistry.ErrManifestUnknown) || err == nil && d != "" && d != desc.Digest {
		return "", fault.New(fault.NotFound, "there is no image %[1]s in this account; `hearth image pull %[1]s` would bring one from docker.io", name)
	}
	return desc.Digest, err
}

// split reads NAME[:TAG][@DIGEST].
func split(name string) (repo, tag string, d digest.Digest, err error) {
	repo, rest, withDigest := strings.Cut(name, "@")
	d = digest.Digest(rest)
	repo, tag, withTag := strings.Cut(repo, ":")
	if checkName(repo) != nil || withTag && (tag == "" || !ociref.IsValidTag(tag)) || withDigest && manifest.CheckDigest(d) != nil {
		return "", "", "", fault.New(fault.BadRequest, "image %q: the form is NAME, NAME:TAG or NAME@sha256:...", name)
	}
	return repo, tag, d, nil
}
