package image

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	oci "github.com/opencontainers/image-spec/specs-go/v1"

	"hearth/core/fault"
	"hearth/internal/durable"
)

// A Config is what a Cache needs. A zero field takes its stated default.
type Config struct {
	Dir      string        // required: the cache's own; nobody else may enter it
	Most     int64         // bytes of unpacked images that are kept; those in use may be more; default 20 GiB
	Patience time.Duration // for fetching and unpacking one; default 15 min
	Limits   Limits        // of one image
	// Owners sets files' owners as the layers say: only root may. Without it all belongs
	// to whoever runs this.
	Owners   bool
	Platform oci.Platform // default: this machine's, of Linux
	Now      func() time.Time
	Log      *slog.Logger // default: discard
}

// An Image is one that lies unpacked on this machine.
type Image struct {
	Digest digest.Digest   // of its manifest
	Rootfs string          // its folder; whoever uses it doesn't write there
	Config oci.ImageConfig // how it wants to be run
	Size   int64           // bytes of its files
}

// A Cache keeps unpacked images. It is safe for concurrent use.
type Cache struct {
	c Config

	mu   sync.Mutex
	held map[digest.Digest]*entry // by what was asked for
	used map[digest.Digest]int    // by manifest: whoever has it now
}

// An entry is one image that is being fetched for those who asked for it.
type entry struct {
	waiting int
	cancel  context.CancelFunc
	done    chan struct{}
	image   Image
	err     error
}

// Layout of the folder.
const (
	finished = "images" // HEX/rootfs and HEX/image.json, renamed here when whole
	working  = "work"
	names    = "indexes" // HEX of an index: the digest of the manifest chosen from it
	about    = "image.json"
	rootfs   = "rootfs"
)

// Open opens a cache and removes what was half done.
func Open(c Config) (*Cache, error) {
	if c.Dir == "" {
		return nil, errors.New("open images: Dir is required")
	}
	if c.Most == 0 {
		c.Most = 20 << 30
	}
	if c.Patience == 0 {
		c.Patience = 15 * time.Minute
	}
	if c.Platform.OS == "" {
		c.Platform = here()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	c.Limits = c.Limits.filled()
	x := &Cache{c: c, held: map[digest.Digest]*entry{}, used: map[digest.Digest]int{}}
	if err := removeAll(filepath.Join(c.Dir, working)); err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	for _, dir := range []string{"", finished, working, names} {
		if err := os.MkdirAll(filepath.Join(c.Dir, dir), 0o700); err != nil {
			return nil, fmt.Errorf("open images: %w", err)
		}
	}
	if err := os.Chmod(c.Dir, 0o700); err != nil { // programs in images may be setuid
		return nil, fmt.Errorf("open images: %w", err)
	}
	x.tidy()
	return x, nil
}

// Get gives an image by the digest of its manifest, or of an index that has one for
// this platform. It stays until release is called, which may be called again. Those
// who ask for the same at a time share the work, which ends when all of them have
// given up.
func (x *Cache) Get(ctx context.Context, d digest.Digest, from Source) (i Image, release func(), err error) {
	if err := checkDigest(d); err != nil {
		return Image{}, nil, err
	}
	x.mu.Lock()
	e := x.held[d]
	if e == nil {
		work, cancel := context.WithTimeout(context.WithoutCancel(ctx), x.c.Patience)
		e = &entry{cancel: cancel, done: make(chan struct{})}
		x.held[d] = e
		go x.fill(work, e, d, from)
	}
	e.waiting++
	x.mu.Unlock()
	select {
	case <-e.done:
		if e.err != nil {
			return Image{}, nil, e.err
		}
		// fill has counted one use for each who waited.
		return e.image, sync.OnceFunc(func() { x.release(e.image.Digest) }), nil
	case <-ctx.Done():
		x.giveUp(d, e)
		return Image{}, nil, fault.New(fault.Interrupted, "get image %s: %w", d, ctx.Err())
	}
}

// giveUp is called by who waits no more.
func (x *Cache) giveUp(d digest.Digest, e *entry) {
	x.mu.Lock()
	over := false
	select {
	case <-e.done:
		over = true
	default:
		if e.waiting--; e.waiting == 0 {
			e.cancel()
			if x.held[d] == e {
				delete(x.held, d) // who asks now begins anew
			}
		}
	}
	x.mu.Unlock()
	if over && e.err == nil {
		x.release(e.image.Digest)
	}
}

// fill finds or makes the image.
func (x *Cache) fill(ctx context.Context, e *entry, d digest.Digest, from Source) {
	defer e.cancel()
	i, fresh, err := x.find(ctx, d, from)
	x.mu.Lock()
	e.image, e.err = i, err
	if err == nil {
		x.uses(i.Digest, e.waiting-1) // find has counted one
	}
	if x.held[d] == e {
		delete(x.held, d)
	}
	close(e.done)
	x.mu.Unlock()
	if err == nil && fresh {
		x.tidy()
	}
}

func (x *Cache) release(d digest.Digest) {
	x.mu.Lock()
	x.uses(d, -1)
	last := x.used[d] == 0
	x.mu.Unlock()
	if last {
		x.tidy()
	}
}

// uses counts whoever has an image; the caller holds mu.
func (x *Cache) uses(d digest.Digest, n int) {
	if x.used[d] += n; x.used[d] <= 0 {
		delete(x.used, d)
	}
}

func (x *Cache) dir(d digest.Digest) string { return filepath.Join(x.c.Dir, finished, d.Encoded()) }

// find takes what is there, else fetches it, and counts one use of it; fresh says that
// it was fetched.
func (x *Cache) find(ctx context.Context, d digest.Digest, from Source) (i Image, fresh bool, err error) {
	if i, ok := x.kept(x.chosen(d)); ok {
		return i, false, nil
	}
	f := &fetcher{from: from, limits: x.c.Limits, platform: x.c.Platform}
	p, err := f.plan(ctx, d)
	if err != nil {
		return Image{}, false, fmt.Errorf("get image %s: %w", d, late(ctx, err))
	}
	if p.manifest != d {
		if err := durable.Write(filepath.Join(x.c.Dir, names, d.Encoded()), []byte(p.manifest), 0o600); err != nil {
			return Image{}, false, fmt.Errorf("get image %s: %w", d, err)
		}
		if i, ok := x.kept(p.manifest); ok {
			return i, false, nil
		}
	}
	if i, err = x.unpack(ctx, f, p); err != nil {
		return Image{}, false, fmt.Errorf("get image %s: %w", d, late(ctx, err))
	}
	return i, true, nil
}

// late says that time was up, where it was.
func late(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) && fault.CodeOf(err) != fault.BadImage {
		return fault.New(fault.Deadline, "it takes too long: %w", err)
	}
	return err
}

// chosen is the manifest that was taken from an index, else d itself.
func (x *Cache) chosen(d digest.Digest) digest.Digest {
	b, err := os.ReadFile(filepath.Join(x.c.Dir, names, d.Encoded()))
	if c := digest.Digest(b); err == nil && checkDigest(c) == nil {
		return c
	}
	return d
}

// kept is an image that lies here, with one use of it counted.
func (x *Cache) kept(d digest.Digest) (Image, bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	dir := x.dir(d)
	b, err := os.ReadFile(filepath.Join(dir, about))
	if err != nil {
		return Image{}, false
	}
	i := Image{}
	if err := json.Unmarshal(b, &i); err != nil || i.Digest != d {
		x.c.Log.Warn("image is fetched anew: what is noted of it can't be read", "image", d, "err", err)
		if err := x.remove(d); err != nil {
			x.c.Log.Warn("remove image", "image", d, "err", err)
		}
		return Image{}, false
	}
	i.Rootfs = filepath.Join(dir, rootfs)
	now := x.c.Now()
	if err := os.Chtimes(filepath.Join(dir, about), now, now); err != nil {
		x.c.Log.Debug("note use of an image", "image", d, "err", err)
	}
	x.uses(d, 1)
	return i, true
}

// unpack makes an image in a folder that gets its name when all is in it.
func (x *Cache) unpack(ctx context.Context, f *fetcher, p plan) (i Image, err error) {
	work, err := os.MkdirTemp(filepath.Join(x.c.Dir, working), "")
	if err != nil {
		return Image{}, onDisk(err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(work))
		}
	}()
	if err := os.Mkdir(filepath.Join(work, rootfs), 0o700); err != nil {
		return Image{}, onDisk(err)
	}
	root, err := os.OpenRoot(filepath.Join(work, rootfs))
	if err != nil {
		return Image{}, onDisk(err)
	}
	a := newApplier(root, x.c.Limits, x.c.Owners)
	for n, l := range p.layers {
		if err = f.layer(ctx, l, p.config.RootFS.DiffIDs[n], a); err != nil {
			break
		}
	}
	if err == nil {
		err = a.finish()
	}
	if err := errors.Join(err, root.Close()); err != nil {
		return Image{}, err
	}
	i = Image{Digest: p.manifest, Config: p.config.Config, Size: a.written}
	b, err := json.Marshal(i)
	if err != nil {
		return Image{}, err
	}
	if err := durable.Write(filepath.Join(work, about), b, 0o600); err != nil {
		return Image{}, err
	}
	if err := syncTree(work); err != nil {
		return Image{}, onDisk(err)
	}
	return i, x.place(work, &i)
}

// place gives a whole image its name, and counts one use of it.
func (x *Cache) place(work string, i *Image) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	to := x.dir(i.Digest)
	i.Rootfs = filepath.Join(to, rootfs)
	if _, err := os.Stat(filepath.Join(to, about)); err == nil { // asked for by another name meanwhile
		x.uses(i.Digest, 1)
		return removeAll(work)
	}
	if err := x.remove(i.Digest); err != nil {
		return err
	}
	if err := os.Rename(work, to); err != nil {
		return onDisk(err)
	}
	if err := durable.SyncDir(filepath.Dir(to)); err != nil {
		return onDisk(err)
	}
	x.uses(i.Digest, 1)
	return nil
}
