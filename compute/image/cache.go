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
	Dir string // required: the cache's own; nobody else may enter it
	// Most bounds all images here: those in use, those on their way, and those that are
	// kept as long as there is room. Default 20 GiB.
	Most     int64
	Spare    int64         // bytes of the disk that unpacking leaves free; default 1 GiB
	Patience time.Duration // for fetching and unpacking one; default 15 min
	Wait     time.Duration // for another who fetches the same, before one does it oneself; default 2 min
	Limits   Limits        // of one image, which is never larger than Most
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
	Size   int64           // bytes that it is counted as: those of its files, and 4096 for each entry
}

// A Cache keeps unpacked images. It is safe for concurrent use.
type Cache struct {
	c Config

	mu      sync.Mutex
	turns   map[digest.Digest]chan struct{} // closed when who fetches it has ended
	busy    int                             // who fetch, with a turn or without
	lies    map[digest.Digest]*lying        // by manifest: all that is in finished
	kept    int64                           // bytes of lies
	used    int64                           // bytes of those of lies that are in use
	growing int64                           // bytes of what is being unpacked
}

// lying is an image that is here.
type lying struct {
	digest digest.Digest
	size   int64
	last   time.Time // when it was asked for
	users  int
	gone   bool // out of sight
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
	if c.Spare == 0 {
		c.Spare = 1 << 30
	}
	if c.Patience == 0 {
		c.Patience = 15 * time.Minute
	}
	if c.Wait == 0 {
		c.Wait = 2 * time.Minute
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
	c.Limits.Unpacked = min(c.Limits.Unpacked, c.Most)
	x := &Cache{c: c, turns: map[digest.Digest]chan struct{}{}, lies: map[digest.Digest]*lying{}}
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
	if err := x.list(); err != nil {
		return nil, fmt.Errorf("open images: %w", err)
	}
	x.tidy(0)
	return x, nil
}

// Get gives an image by the digest of its manifest, or of an index that has one for
// this platform. It stays until release is called, which may be called again. Of those
// who ask for the same at a time one works and the others wait for it, but not long,
// and what becomes of it is its own affair: whoever gets nothing by waiting asks its
// own source. from isn't used after Get has returned.
func (x *Cache) Get(ctx context.Context, d digest.Digest, from Source) (i Image, release func(), err error) {
	if err := checkDigest(d); err != nil {
		return Image{}, nil, err
	}
	i, l, ok := x.look(x.chosen(d))
	if !ok {
		leave, err := x.turn(ctx, d)
		if err != nil {
			return Image{}, nil, fmt.Errorf("get image %s: %w", d, err)
		}
		defer leave()
		work, cancel := context.WithTimeout(ctx, x.c.Patience)
		defer cancel()
		if i, l, err = x.find(work, d, from); err != nil {
			if ctx.Err() != nil {
				return Image{}, nil, fault.New(fault.Interrupted, "get image %s: %w: %w", d, ctx.Err(), err)
			}
			return Image{}, nil, fmt.Errorf("get image %s: %w", d, late(work, err))
		}
	}
	return i, sync.OnceFunc(func() { x.release(l) }), nil
}

// turn waits for who fetches the same, a while; leave ends one's own turn.
func (x *Cache) turn(ctx context.Context, d digest.Digest) (leave func(), err error) {
	enough := time.NewTimer(x.c.Wait)
	defer enough.Stop()
	for {
		x.mu.Lock()
		other, mine := x.turns[d], make(chan struct{})
		if other == nil {
			x.turns[d] = mine
			x.busy++
		}
		x.mu.Unlock()
		if other == nil {
			return func() {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.busy--
				delete(x.turns, d)
				close(mine)
			}, nil
		}
		select {
		case <-other:
		case <-enough.C:
			x.mu.Lock()
			defer x.mu.Unlock()
			x.busy++
			return func() {
				x.mu.Lock()
				defer x.mu.Unlock()
				x.busy--
			}, nil
		case <-ctx.Done():
			return nil, fault.New(fault.Interrupted, "%w", ctx.Err())
		}
	}
}

func (x *Cache) release(l *lying) {
	x.mu.Lock()
	x.uses(l, -1)
	x.mu.Unlock()
	x.tidy(0)
}

// uses counts whoever has an image; the caller holds mu.
func (x *Cache) uses(l *lying, n int) {
	before := l.users
	l.users += n
	switch {
	case l.gone:
	case before == 0:
		x.used += l.size
	case l.users == 0:
		x.used -= l.size
	}
}

func (x *Cache) dir(d digest.Digest) string { return filepath.Join(x.c.Dir, finished, d.Encoded()) }

// find takes what is there, else fetches it, and counts one use of it.
func (x *Cache) find(ctx context.Context, d digest.Digest, from Source) (Image, *lying, error) {
	if i, l, ok := x.look(x.chosen(d)); ok { // there since whoever was waited for has ended
		return i, l, nil
	}
	f := &fetcher{from: from, limits: x.c.Limits, platform: x.c.Platform}
	p, err := f.plan(ctx, d)
	if err != nil {
		return Image{}, nil, err
	}
	if p.manifest != d {
		if err := durable.Write(filepath.Join(x.c.Dir, names, d.Encoded()), []byte(p.manifest), 0o600); err != nil {
			return Image{}, nil, onDisk(err)
		}
		if i, l, ok := x.look(p.manifest); ok {
			return i, l, nil
		}
	}
	return x.unpack(ctx, f, p)
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

// look gives an image that lies here, with one use of it counted.
func (x *Cache) look(d digest.Digest) (Image, *lying, bool) {
	i, l, away, err := x.lookLocked(d)
	if away != "" {
		err = errors.Join(err, removeAll(away))
	}
	if err != nil {
		x.c.Log.Warn("look at an image here", "image", d, "err", err)
	}
	return i, l, l != nil
}

// lookLocked is look without the removal of what is to be fetched anew.
func (x *Cache) lookLocked(d digest.Digest) (i Image, l *lying, away string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if l = x.lies[d]; l == nil {
		return Image{}, nil, "", nil
	}
	dir := x.dir(d)
	i, err = noted(dir)
	if err == nil && i.Digest != d {
		err = errors.New("it is noted as another")
	}
	if err != nil {
		away, e := x.away(l)
		return Image{}, nil, away, errors.Join(fmt.Errorf("it is fetched anew: %w", err), e)
	}
	i.Rootfs = filepath.Join(dir, rootfs)
	x.uses(l, 1)
	l.last = x.c.Now()
	return i, l, "", mark(dir, l.last)
}

// noted reads what is noted of the image in a folder.
func noted(dir string) (i Image, err error) {
	b, err := os.ReadFile(filepath.Join(dir, about))
	if err == nil {
		err = json.Unmarshal(b, &i)
	}
	return i, err
}

// mark notes when an image was asked for.
func mark(dir string, at time.Time) error { return os.Chtimes(filepath.Join(dir, about), at, at) }

// unpack makes an image in a folder that gets its name when all is in it.
func (x *Cache) unpack(ctx context.Context, f *fetcher, p plan) (i Image, l *lying, err error) {
	c := &claim{x: x}
	defer c.end()
	var least int64
	for _, l := range p.layers {
		least += l.Size
	}
	if err := c.begin(least); err != nil {
		return Image{}, nil, err
	}
	work, err := os.MkdirTemp(filepath.Join(x.c.Dir, working), "")
	if err != nil {
		return Image{}, nil, onDisk(err)
	}
	defer func() { // before its claim ends
		if e := removeAll(work); e != nil {
			x.c.Log.Warn("remove what was unpacked", "err", e)
		}
	}()
	if i, err = x.build(ctx, f, p, work, c); err != nil {
		return Image{}, nil, err
	}
	l, err = x.place(work, &i, c)
	return i, l, err
}

// build unpacks an image into work.
func (x *Cache) build(ctx context.Context, f *fetcher, p plan, work string, c *claim) (i Image, err error) {
	if err := os.Mkdir(filepath.Join(work, rootfs), 0o700); err != nil {
		return Image{}, onDisk(err)
	}
	root, err := os.OpenRoot(filepath.Join(work, rootfs))
	if err != nil {
		return Image{}, onDisk(err)
	}
	a := newApplier(root, x.c.Limits, x.c.Owners, c.take)
	for n, l := range p.layers {
		if err = f.layer(ctx, l, p.config.RootFS.DiffIDs[n], a); err != nil {
			break
		}
	}
	if err == nil {
		err = a.finish(ctx)
	}
	if err := errors.Join(err, root.Close()); err != nil {
		return Image{}, err
	}
	i = Image{Digest: p.manifest, Config: p.config.Config}
	b, err := json.Marshal(i)
	if err != nil {
		return Image{}, err
	}
	if err := a.spend(3*perEntry + int64(len(b))); err != nil { // its folder, rootfs and what is noted of it
		return Image{}, err
	}
	i.Size = a.written
	if b, err = json.Marshal(i); err != nil {
		return Image{}, err
	}
	if err := durable.Write(filepath.Join(work, about), b, 0o600); err != nil {
		return Image{}, onDisk(err)
	}
	return i, onDisk(syncTree(work))
}

// place gives a whole image its name, and counts one use of it.
func (x *Cache) place(work string, i *Image, c *claim) (*lying, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	to := x.dir(i.Digest)
	i.Rootfs = filepath.Join(to, rootfs)
	l := x.lies[i.Digest]
	if l == nil { // else it was fetched by another meanwhile: work stays where it is
		l = &lying{digest: i.Digest, size: i.Size, last: x.c.Now()}
		if err := mark(work, l.last); err != nil {
			return nil, onDisk(err)
		}
		if err := os.Rename(work, to); err != nil {
			return nil, onDisk(err)
		}
		x.lies[i.Digest] = l
		x.kept += l.size
		x.growing -= c.n
		c.n = 0
		if err := durable.SyncDir(filepath.Dir(to)); err != nil {
			return nil, onDisk(err)
		}
	}
	x.uses(l, 1)
	return l, nil
}
