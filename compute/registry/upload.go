package registry

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"cuelabs.dev/go/oci/ociregistry"
	"github.com/opencontainers/go-digest"

	"hearth/compute/manifest"
	"hearth/core/fault"
)

// uploads are blobs on their way, in files.
type uploads struct {
	c Config

	mu     sync.Mutex
	open   map[string]*upload
	staged int64 // bytes of all
}

// An upload is one of them. It belongs to one request at a time.
type upload struct {
	all  *uploads
	id   string
	repo string
	file *os.File
	sum  hash.Hash

	size int64     // changed by the request that has it, under all.mu
	used time.Time // guarded by all.mu, like what follows
	busy bool
	over bool
}

func (u *uploads) begin(repo string) (*upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.open) >= u.c.Uploads {
		return nil, fmt.Errorf("%d uploads are open: %w", len(u.open), ociregistry.ErrTooManyRequests)
	}
	x := &upload{all: u, id: rand.Text(), repo: repo, sum: sha256.New(), used: u.c.Now(), busy: true}
	var err error
	if x.file, err = os.OpenFile(filepath.Join(u.c.Dir, x.id), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600); err != nil {
		return nil, onDisk(err)
	}
	u.open[x.id] = x
	return x, nil
}

// resume gives an upload to a request.
func (u *uploads) resume(repo, id string) (*upload, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	x := u.open[id]
	switch {
	case x == nil || x.repo != repo:
		return nil, ociregistry.ErrBlobUploadUnknown
	case x.busy:
		return nil, fmt.Errorf("another request writes to this upload: %w", ociregistry.ErrTooManyRequests)
	}
	x.busy = true
	return x, nil
}

// cancel ends an upload, also one that a request writes to: that is told so.
func (u *uploads) cancel(repo, id string) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	x := u.open[id]
	if x == nil || x.repo != repo {
		return ociregistry.ErrBlobUploadUnknown
	}
	x.end()
	return nil
}

// abandon ends uploads that nobody has written to for long.
func (u *uploads) abandon(now time.Time) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, x := range u.open {
		if !x.busy && now.Sub(x.used) > u.c.Patience {
			x.end()
		}
	}
}

// end removes the upload; the caller holds mu.
func (x *upload) end() {
	if x.over {
		return
	}
	x.over = true
	delete(x.all.open, x.id)
	x.all.staged -= x.size
	if err := errors.Join(x.file.Close(), os.Remove(x.file.Name())); err != nil {
		x.all.c.Log.Warn("remove an upload", "err", err)
	}
}

// room reserves n bytes more.
func (x *upload) room(n int64) error {
	u := x.all
	u.mu.Lock()
	defer u.mu.Unlock()
	switch {
	case x.over:
		return ociregistry.ErrBlobUploadUnknown
	case x.size+n > u.c.MaxBlob:
		return fault.New(fault.TooLarge, "upload blob: more than %d bytes", u.c.MaxBlob)
	case u.staged+n > u.c.MaxStaged:
		return fault.New(fault.DiskFull, "upload blob: uploads that aren't done have %d bytes, at most %d may wait", u.staged, u.c.MaxStaged)
	}
	if free, err := u.c.Free(); err == nil && free-n < u.c.Spare { // else the disk itself says when it is full
		return fault.New(fault.DiskFull, "upload blob: the disk has %d bytes left, %d of them are for the node's other work", max(free, 0), u.c.Spare)
	}
	u.staged += n
	x.size += n
	x.used = u.c.Now()
	return nil
}

// onDisk says what an error of the upload's file means.
func (x *upload) onDisk(err error) error {
	x.all.mu.Lock()
	defer x.all.mu.Unlock()
	if x.over {
		return fmt.Errorf("it was given up meanwhile: %w", ociregistry.ErrBlobUploadUnknown)
	}
	return onDisk(err)
}

func onDisk(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.New(fault.DiskFull, "upload blob: %w", err)
	}
	return fmt.Errorf("upload blob: %w", err)
}

// A writer is a request's hold on an upload. It is an ociregistry.BlobWriter.
type writer struct {
	r      *Registry
	ctx    context.Context
	x      *upload
	closed bool
}

// Write adds to the upload.
func (w *writer) Write(p []byte) (int, error) {
	if err := w.x.room(int64(len(p))); err != nil {
		return 0, troubleOf(w.ctx).note(err)
	}
	n, err := w.x.file.Write(p)
	w.x.sum.Write(p[:n])
	w.r.c.Metrics.In.Add(float64(n))
	if err != nil {
		err = w.x.onDisk(err)
		_ = w.Cancel() // its file and what is counted of it differ
		return n, troubleOf(w.ctx).note(err)
	}
	return n, nil
}

// Close lets the upload go, for another request.
func (w *writer) Close() error {
	w.x.all.mu.Lock()
	defer w.x.all.mu.Unlock()
	if !w.closed {
		w.closed = true
		w.x.busy = false
	}
	return nil
}

// Cancel ends the upload.
func (w *writer) Cancel() error {
	w.x.all.mu.Lock()
	defer w.x.all.mu.Unlock()
	w.closed = true
	w.x.end()
	return nil
}

// Size is how much of the blob is here.
func (w *writer) Size() int64 {
	w.x.all.mu.Lock()
	defer w.x.all.mu.Unlock()
	return w.x.size
}

// ChunkSize is the least that a part should have.
func (w *writer) ChunkSize() int { return 0 }

// ID names the upload.
func (w *writer) ID() string { return w.x.id }

// Commit brings the blob to storage if it is what d says.
func (w *writer) Commit(d digest.Digest) (ociregistry.Descriptor, error) {
	defer func() { _ = w.Cancel() }() // it can't fail
	if err := manifest.CheckDigest(d); err != nil {
		return ociregistry.Descriptor{}, err
	}
	if got := digest.NewDigest(digest.SHA256, w.x.sum); got != d {
		return ociregistry.Descriptor{}, fmt.Errorf("what was sent is %s: %w", got, ociregistry.ErrDigestInvalid)
	}
	desc := ociregistry.Descriptor{MediaType: octets, Digest: d, Size: w.Size()}
	giveBack, err := w.r.storing.take(w.ctx, d.Encoded())
	if err != nil {
		return desc, err
	}
	defer giveBack()
	if _, err := w.r.want(w.ctx, w.x.repo, d); err == nil {
		return desc, nil // it is there already
	} else if !errors.Is(err, ociregistry.ErrBlobUnknown) {
		return desc, err
	}
	if _, err := w.x.file.Seek(0, io.SeekStart); err != nil {
		return desc, w.x.onDisk(err)
	}
	w.r.touched(w.x.repo, d)
	if err := w.r.c.Objects.Put(w.ctx, blobKey(d), octets, desc.Size, w.x.file); err != nil {
		if errors.Is(err, os.ErrClosed) {
			err = w.x.onDisk(err)
		}
		return desc, fmt.Errorf("store blob: %w", err)
	}
	w.r.stored(w.x.repo, d)
	return desc, nil
}

const octets = "application/octet-stream"

// rangedKey marks the context of a request that says where its bytes belong.
type rangedKey struct{}

// PushBlobChunked begins an upload.
func (r *Registry) PushBlobChunked(ctx context.Context, repo string, _ int) (ociregistry.BlobWriter, error) {
	if err := checkName(repo); err != nil {
		return nil, err
	}
	x, err := r.uploads.begin(repo)
	if err != nil {
		return nil, err
	}
	return &writer{r: r, ctx: ctx, x: x}, nil
}

// PushBlobChunkedResume goes on with one. A request that doesn't say where its bytes
// belong adds them to what is there.
func (r *Registry) PushBlobChunkedResume(ctx context.Context, repo, id string, offset int64, _ int) (ociregistry.BlobWriter, error) {
	x, err := r.uploads.resume(repo, id)
	if err != nil {
		return nil, err
	}
	w := &writer{r: r, ctx: ctx, x: x}
	ranged := ctx.Value(rangedKey{}) != nil
	if size := w.Size(); ranged && offset >= 0 && offset != size {
		_ = w.Close()
		return nil, fmt.Errorf("the upload has %d bytes, these begin at %d: %w", size, offset, ociregistry.ErrRangeInvalid)
	}
	return w, nil
}

// PushBlob takes a whole blob.
func (r *Registry) PushBlob(ctx context.Context, repo string, desc ociregistry.Descriptor, from io.Reader) (ociregistry.Descriptor, error) {
	w, err := r.PushBlobChunked(ctx, repo, 0)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	defer func() { _ = w.Cancel() }() // it is over, or nobody knows of it
	n, err := io.Copy(w, from)
	if err != nil {
		return ociregistry.Descriptor{}, err
	}
	if desc.Size >= 0 && n != desc.Size {
		return ociregistry.Descriptor{}, fmt.Errorf("%d bytes, %d were said: %w", n, desc.Size, ociregistry.ErrSizeInvalid)
	}
	return w.Commit(desc.Digest)
}

// MountBlob has an image use a blob that is here.
func (r *Registry) MountBlob(ctx context.Context, _, to string, d digest.Digest) (ociregistry.Descriptor, error) {
	if err := checkName(to); err != nil {
		return ociregistry.Descriptor{}, err
	}
	o, err := r.want(ctx, to, d)
	return ociregistry.Descriptor{MediaType: octets, Digest: d, Size: o.Size}, err
}
