// Package registry keeps container images in the account's storage and speaks the
// OCI distribution protocol, as docker, podman and skopeo do. A blob is kept once,
// whoever's image it belongs to; every image has its manifests and tags. What is
// pushed waits in a folder of this machine until its digest is known to be right,
// and goes to storage then.
package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"cuelabs.dev/go/oci/ociregistry/ociref"
	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/opencontainers/go-digest"

	"hearth/compute/manifest"
	"hearth/core/fault"
)

// Objects keeps bytes under keys, for all devices of the account.
type Objects interface {
	// Put keeps what src gives, in the place of what was there. size may be -1.
	Put(ctx context.Context, key, kind string, size int64, src io.Reader) error
	// Get writes so many bytes from an offset on; n 0: to the end.
	Get(ctx context.Context, key string, off, n int64, w io.Writer) error
	Head(ctx context.Context, key string) (Object, error) // fault.NotFound where nothing is
	Drop(ctx context.Context, key string) error
	// List is a page of what begins so, behind a key, in order; next is empty at the end.
	List(ctx context.Context, prefix, after string) (page []Object, next string, err error)
}

// An Object is what is kept under a key.
type Object struct {
	Key     string
	Type    string // media type
	Size    int64
	Created time.Time
}

// A Config is what a Registry needs. A zero field takes its stated default.
type Config struct {
	Objects Objects // required
	Dir     string  // required: uploads wait here; what is in it at the start is left over and removed

	MaxBlob   int64         // of one blob; default manifest.MaxBlob
	MaxStaged int64         // of all uploads that wait; default 128 GiB
	Spare     int64         // free bytes of the disk that uploads leave; default 1 GiB
	Uploads   int           // that wait at a time; default 128
	Stall     time.Duration // a body may pause so long; default 1 min
	Patience  time.Duration // an upload that nobody writes to is given up after it; default 1h

	Free    func() (int64, error) // bytes that may still be written; default: those of the disk where Dir is
	Metrics *Metrics              // default: figures that nobody sees
	Now     func() time.Time      // default: time.Now
	Log     *slog.Logger          // default: discard
}

// Limits of what is kept.
const (
	maxName = 255

	orphanFor = 24 * time.Hour // a blob without an image is kept so long, also for other devices' pushes
	freshFor  = orphanFor      // and so long what a push has seen or brought, for its manifest
)

// Registry keeps images. It is safe for concurrent use.
type Registry struct {
	*ociregistry.Funcs // what isn't here is refused
	c                  Config
	handler            http.Handler

	changing sync.RWMutex // held for writing by whoever adds or removes manifests, or removes blobs
	changes  int          // counts those, under changing
	uploads  uploads
	storing  keyed // one at a time brings a blob to storage

	mu    sync.Mutex // guards what follows
	fresh map[touch]awaiting
	known map[digest.Digest]manifest.Manifest // by what a manifest's bytes say; nothing there grows stale
}

// A touch is a blob that pushes to an image count on.
type touch struct {
	repo string
	blob digest.Digest
}

// awaiting is how many times one was seen or brought, and when it was last: each
// manifest of the image that names it takes one away, since nobody knows whose was
// which. What is left is another push's, or of a client that looks twice.
type awaiting struct {
	times int
	last  time.Time
}

// New makes a Registry, and removes what an earlier one left in its folder.
func New(c Config) (*Registry, error) {
	if c.Objects == nil || c.Dir == "" {
		return nil, errors.New("images: Objects and Dir are required")
	}
	if c.MaxBlob == 0 {
		c.MaxBlob = manifest.MaxBlob
	}
	if c.MaxStaged == 0 {
		c.MaxStaged = 128 << 30
	}
	if c.Spare == 0 {
		c.Spare = 1 << 30
	}
	if c.Free == nil {
		c.Free = func() (int64, error) {
			u, err := vfs.Default.GetDiskUsage(c.Dir)
			return int64(min(u.AvailBytes, math.MaxInt64)), err
		}
	}
	if c.Uploads == 0 {
		c.Uploads = 128
	}
	if c.Stall == 0 {
		c.Stall = time.Minute
	}
	if c.Patience == 0 {
		c.Patience = time.Hour
	}
	if c.Metrics == nil {
		c.Metrics = NewMetrics()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if err := os.RemoveAll(c.Dir); err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	r := &Registry{
		c: c, uploads: uploads{c: c, open: map[string]*upload{}}, storing: keyed{held: map[string]*hold{}},
		fresh: map[touch]awaiting{}, known: map[digest.Digest]manifest.Manifest{},
	}
	r.handler = r.protocol()
	return r, nil
}

// Run tends what is kept until ctx ends: it gives up uploads and removes blobs that
// belong to no image. Then it removes what waits.
func (r *Registry) Run(ctx context.Context) {
	const every = 10 * time.Minute
	next := r.c.Now().Add(every)
	for {
		select {
		case <-ctx.Done():
			r.uploads.abandon(r.c.Now().Add(r.c.Patience + time.Second))
			return
		case <-time.After(every):
		}
		r.uploads.abandon(r.c.Now())
		if r.c.Now().Before(next) {
			continue
		}
		next = r.c.Now().Add(time.Hour)
		if err := r.Sweep(ctx); err != nil && ctx.Err() == nil {
			r.c.Log.Warn("look for blobs without an image", "err", err)
		}
	}
}

// Where things are kept. A part of an image's name never begins with an underscore.
const (
	blobs     = "blobs/sha256/"
	images    = "images/"
	manifests = "/_manifests/sha256/"
	tags      = "/_tags/"
)

func blobKey(d digest.Digest) string { return blobs + d.Encoded() }

func manifestKey(repo string, d digest.Digest) string { return images + repo + manifests + d.Encoded() }

func tagKey(repo, tag string) string { return images + repo + tags + tag }

// checkName takes names of images.
func checkName(repo string) error {
	if len(repo) > maxName || !ociref.IsValidRepository(repo) {
		return fmt.Errorf("image %.300q: %w", repo, ociregistry.ErrNameInvalid)
	}
	return nil
}

// each calls f for all that begins so, until f fails.
func (r *Registry) each(ctx context.Context, prefix string, f func(Object) error) error {
	for after := ""; ; {
		page, next, err := r.c.Objects.List(ctx, prefix, after)
		if err != nil {
			return err
		}
		for _, o := range page {
			if err := f(o); err != nil {
				return err
			}
		}
		if after = next; after == "" {
			return nil
		}
	}
}

// find finds a blob.
func (r *Registry) find(ctx context.Context, d digest.Digest) (Object, error) {
	if err := manifest.CheckDigest(d); err != nil {
		return Object{}, err
	}
	o, err := r.c.Objects.Head(ctx, blobKey(d))
	if fault.CodeOf(err) == fault.NotFound {
		return o, fmt.Errorf("%s: %w", d, ociregistry.ErrBlobUnknown)
	}
	return o, err
}

// want finds a blob, and keeps it for a push's manifest for a while.
func (r *Registry) want(ctx context.Context, repo string, d digest.Digest) (Object, error) {
	r.changing.RLock()
	defer r.changing.RUnlock()
	o, err := r.find(ctx, d)
	if err == nil {
		r.touched(repo, d)
	}
	return o, err
}

// maxFresh bounds what pushes count on; beyond it the oldest is forgotten when it is
// old enough, else the newest isn't taken note of.
const maxFresh = 100_000

// touched takes note of a blob that was seen or brought.
func (r *Registry) touched(repo string, d digest.Digest) { r.note(repo, d, 1) }

// stored has a blob's time begin again: bringing it to storage may have taken long.
func (r *Registry) stored(repo string, d digest.Digest) { r.note(repo, d, 0) }

func (r *Registry) note(repo string, d digest.Digest, more int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.c.Now()
	t := touch{repo, d}
	a, there := r.fresh[t]
	if there && now.Sub(a.last) > freshFor {
		a.times = 0
	}
	if !there && len(r.fresh) >= maxFresh {
		for t, a := range r.fresh {
			if now.Sub(a.last) > freshFor {
				delete(r.fresh, t)
			}
		}
		if len(r.fresh) >= maxFresh {
			return
		}
	}
	r.fresh[t] = awaiting{max(a.times+more, 1), now}
}

// arrived says that a push's manifest is here.
func (r *Registry) arrived(repo string, all []ociregistry.Descriptor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	done := map[digest.Digest]bool{}
	for _, b := range all {
		t := touch{repo, b.Digest}
		a, there := r.fresh[t]
		if !there || done[b.Digest] {
			continue
		}
		done[b.Digest] = true
		if a.times--; a.times <= 0 {
			delete(r.fresh, t)
			continue
		}
		r.fresh[t] = a
	}
}

// settled says that no push to an image counts on a blob.
func (r *Registry) settled(t touch) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.fresh, t)
}

// awaited are the blobs that a push counts on, but for those that needn't matter.
func (r *Registry) awaited(but ...touch) map[digest.Digest]bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := map[digest.Digest]bool{}
	for t, a := range r.fresh {
		if r.c.Now().Sub(a.last) > freshFor {
			delete(r.fresh, t)
			continue
		}
		out[t.blob] = out[t.blob] || !slices.Contains(but, t)
	}
	return out
}

// keyed lets one at a time work on what a word names.
type keyed struct {
	mu   sync.Mutex
	held map[string]*hold
}

type hold struct {
	turn chan struct{}
	want int
}

// take waits for its turn; the caller gives it back.
func (k *keyed) take(ctx context.Context, word string) (giveBack func(), err error) {
	k.mu.Lock()
	h := k.held[word]
	if h == nil {
		h = &hold{turn: make(chan struct{}, 1)}
		k.held[word] = h
	}
	h.want++
	k.mu.Unlock()
	leave := func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		if h.want--; h.want == 0 {
			delete(k.held, word)
		}
	}
	select {
	case h.turn <- struct{}{}:
		return func() { <-h.turn; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, ctx.Err()
	}
}

// digestIn is the digest that ends a key.
func digestIn(key string) (digest.Digest, bool) {
	d := digest.NewDigestFromEncoded(digest.SHA256, key[strings.LastIndexByte(key, '/')+1:])
	return d, d.Validate() == nil
}
