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

// DeleteTag removes a tag; what it stood for stays.
func (r *Registry) DeleteTag(ctx context.Context, repo, tag string) error {
	if _, err := r.ResolveTag(ctx, repo, tag); err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	return dropped(r.c.Objects.Drop(ctx, tagKey(repo, tag)))
}

// DeleteManifest removes a manifest with its tags, and the blobs that no other needs.
func (r *Registry) DeleteManifest(ctx context.Context, repo string, d digest.Digest) error {
	if _, err := r.ResolveManifest(ctx, repo, d); err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	return r.remove(ctx, repo, []digest.Digest{d}, false)
}

// DeleteBlob removes a blob that belongs to no image.
func (r *Registry) DeleteBlob(ctx context.Context, _ string, d digest.Digest) error {
	if err := checkDigest(d); err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	if _, err := r.c.Objects.Head(ctx, blobKey(d)); fault.CodeOf(err) == fault.NotFound {
		return fmt.Errorf("%s: %w", d, ociregistry.ErrBlobUnknown)
	}
	all, err := r.kept(ctx, images)
	if err != nil {
		return err
	}
	if needed(all)[d] {
		return refusal{http.StatusMethodNotAllowed, ociregistry.ErrUnsupported.Code(), fmt.Sprintf("blob %s belongs to an image: remove that", d), fault.Exists}
	}
	return dropped(r.c.Objects.Drop(ctx, blobKey(d)))
}

// Remove removes what NAME, NAME:TAG or NAME@DIGEST names, with all that belongs to
// it alone: a tag's image stays while it has another tag or belongs to an index.
func (r *Registry) Remove(ctx context.Context, name string) error {
	repo, tag, d, err := split(name)
	if err != nil {
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	all, there, err := r.tags(ctx, repo)
	if err != nil {
		return err
	}
	gone := fault.New(fault.NotFound, "there is no image %s", name)
	if !there {
		return gone
	}
	if tag == "" && d == "" {
		return r.removeAll(ctx, repo, all)
	}
	if tag != "" {
		was, err := r.tagged(ctx, tagKey(repo, tag))
		if fault.CodeOf(err) == fault.NotFound || err == nil && d != "" && d != was {
			return gone
		}
		if err != nil {
			return err
		}
		if err := dropped(r.c.Objects.Drop(ctx, tagKey(repo, tag))); err != nil {
			return err
		}
		for _, other := range all {
			if to, err := r.tagged(ctx, tagKey(repo, other)); other != tag && err == nil && to == was {
				return nil // it has another name
			}
		}
		d = was
		own, err := r.kept(ctx, images+repo+manifests)
		if err != nil {
			return err
		}
		if slices.ContainsFunc(own, func(k kept) bool { return has(k.Children, d) }) {
			return nil
		}
	} else if _, err := r.c.Objects.Head(ctx, manifestKey(repo, d)); err != nil {
		return errors.Join(gone, dropped(err))
	}
	return r.remove(ctx, repo, []digest.Digest{d}, true)
}

// removeAll removes an image with everything; the caller holds changing.
func (r *Registry) removeAll(ctx context.Context, repo string, all []string) error {
	for _, tag := range all {
		if err := dropped(r.c.Objects.Drop(ctx, tagKey(repo, tag))); err != nil {
			return err
		}
	}
	var list []digest.Digest
	err := r.each(ctx, images+repo+manifests, func(o Object) error {
		if d, ok := digestIn(o.Key); ok {
			list = append(list, d)
		}
		return nil
	})
	if err != nil {
		return err
	}
	return r.remove(ctx, repo, list, true)
}

func has(all []ociregistry.Descriptor, d digest.Digest) bool {
	return slices.ContainsFunc(all, func(c ociregistry.Descriptor) bool { return c.Digest == d })
}

// remove takes manifests away with their tags, and then the blobs that no other
// needs; deep also takes what belongs to them alone. While some manifest can't be
// read nobody can tell what that is: then it stays, and a sweep finds it later. The
// caller holds changing.
func (r *Registry) remove(ctx context.Context, repo string, list []digest.Digest, deep bool) error {
	all, unread := r.kept(ctx, images)
	if unread != nil {
		r.c.Log.Warn("what a removed image alone needs stays for now", "image", repo, "err", unread)
	}
	tagged := map[digest.Digest][]string{}
	names, _, err := r.tags(ctx, repo)
	if err != nil {
		return err
	}
	for _, tag := range names {
		d, err := r.tagged(ctx, tagKey(repo, tag))
		if err != nil {
			return err
		}
		tagged[d] = append(tagged[d], tag)
	}
	free := map[digest.Digest]bool{}
	for len(list) > 0 {
		d := list[0]
		list = list[1:]
		for _, tag := range tagged[d] {
			if err := dropped(r.c.Objects.Drop(ctx, tagKey(repo, tag))); err != nil {
				return err
			}
		}
		if err := dropped(r.c.Objects.Drop(ctx, manifestKey(repo, d))); err != nil {
			return err
		}
		i := slices.IndexFunc(all, func(k kept) bool { return k.repo == repo && k.digest == d })
		if i < 0 {
			continue
		}
		was := all[i]
		all = slices.Delete(all, i, i+1)
		for _, b := range was.Blobs {
			free[b.Digest] = true
		}
		if !deep || unread != nil {
			continue
		}
		for _, k := range all {
			mine := k.repo == repo && len(tagged[k.digest]) == 0
			if mine && k.Subject == d || mine && has(was.Children, k.digest) && !slices.ContainsFunc(all, func(o kept) bool { return o.repo == repo && has(o.Children, k.digest) }) {
				list = append(list, k.digest)
			}
		}
	}
	if unread != nil {
		return nil
	}
	need, soon := needed(all), r.awaited()
	for d := range free {
		if need[d] || soon[d] {
			continue
		}
		if err := dropped(r.c.Objects.Drop(ctx, blobKey(d))); err != nil {
			return err
		}
	}
	return nil
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
	if _, err := r.kept(ctx, images); err != nil { // from hosts, before others have to wait
		return err
	}
	r.changing.Lock()
	defer r.changing.Unlock()
	all, err := r.kept(ctx, images)
	if err != nil {
		return err
	}
	need, soon := needed(all), r.awaited()
	var list []Object
	err = r.each(ctx, blobs, func(o Object) error {
		if d, ok := digestIn(o.Key); ok && !need[d] && !soon[d] && r.c.Now().Sub(o.Created) > orphanFor {
			list = append(list, o)
		}
		return nil
	})
	for _, o := range list {
		if err := dropped(r.c.Objects.Drop(ctx, o.Key)); err != nil {
			return err
		}
		r.c.Log.Info("removed a blob without an image", "blob", o.Key, "bytes", o.Size)
	}
	return err
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
		return "", fault.New(fault.NotFound, "there is no image %s", name)
	}
	return desc.Digest, err
}

// split reads NAME[:TAG][@DIGEST].
func split(name string) (repo, tag string, d digest.Digest, err error) {
	repo, rest, withDigest := strings.Cut(name, "@")
	d = digest.Digest(rest)
	repo, tag, withTag := strings.Cut(repo, ":")
	if checkName(repo) != nil || withTag && (tag == "" || !ociref.IsValidTag(tag)) || withDigest && checkDigest(d) != nil {
		return "", "", "", fault.New(fault.BadRequest, "image %q: the form is NAME, NAME:TAG or NAME@sha256:...", name)
	}
	return repo, tag, d, nil
}
