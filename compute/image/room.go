package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/opencontainers/go-digest"

	"hearth/core/fault"
)

const (
	perEntry   = 4096    // bytes that any file, folder or link takes of a disk, at least
	lookEvery  = 8 << 20 // bytes that are written between two looks at the disk
	freeOfMany = 20      // one of so many of a disk's files stays free
)

// A claim is the room that one unpacking takes.
type claim struct {
	x     *Cache
	n     int64 // of growing
	since int64 // bytes since the last look at the disk
}

// begin says before anything is fetched whether there is room for what has at least so
// many bytes.
func (c *claim) begin(least int64) error {
	x := c.x
	x.mu.Lock()
	full := least > x.c.Most-x.used-x.growing
	x.mu.Unlock()
	if full {
		return x.full()
	}
	return x.spared(least)
}

func (x *Cache) full() error {
	return fault.New(fault.HostFull, "unpack image: images in use and on their way may take %d bytes of this host", x.c.Most)
}

// take counts what is about to be written, and makes room for it among images that
// nobody uses. fault.HostFull: there is none.
func (c *claim) take(n int64) error {
	x := c.x
	x.mu.Lock()
	full := n > x.c.Most-x.used-x.growing
	if !full {
		x.growing += n
		c.n += n
	}
	crowded := x.kept+x.growing > x.c.Most
	x.mu.Unlock()
	if full {
		return x.full()
	}
	if crowded {
		x.tidy(0)
	}
	if c.since += n; c.since < lookEvery {
		return nil
	}
	c.since = 0
	return x.spared(0)
}

// end gives back what isn't an image's.
func (c *claim) end() {
	c.x.mu.Lock()
	defer c.x.mu.Unlock()
	c.x.growing -= c.n
	c.n = 0
}

// spared sees to it that some of the disk stays free, also with so many bytes more, at
// the cost of images that nobody uses.
func (x *Cache) spared(more int64) error {
	for again := false; ; again = true {
		free, few, err := freeAt(x.c.Dir)
		if err != nil {
			return onDisk(err)
		}
		if free-x.c.Spare >= more && !few {
			return nil
		}
		if again {
			return fault.New(fault.HostFull, "unpack image: little of this host's disk is free")
		}
		lacking := more + x.c.Spare - free
		if few {
			lacking = x.c.Most // how many files an image has isn't known
		}
		x.tidy(lacking)
	}
}

// list finds what lies here; what can't be read of it is removed.
func (x *Cache) list() error {
	all, err := os.ReadDir(filepath.Join(x.c.Dir, finished))
	if err != nil {
		return err
	}
	for _, e := range all {
		d := digest.NewDigestFromEncoded(digest.SHA256, e.Name())
		i, err := noted(x.dir(d))
		if err != nil || i.Digest != d || i.Size < 0 {
			x.c.Log.Warn("image is removed: what is noted of it can't be read", "image", e.Name(), "err", err)
			if err := removeAll(x.dir(d)); err != nil {
				return err
			}
			continue
		}
		l := &lying{digest: d, size: i.Size}
		if info, err := os.Stat(filepath.Join(x.dir(d), about)); err == nil {
			l.last = info.ModTime()
		}
		x.lies[d] = l
		x.kept += l.size
	}
	return nil
}

// away takes an image out of sight at once; the caller holds mu, and removes the folder
// that it gets when it doesn't.
func (x *Cache) away(l *lying) (string, error) {
	to, err := os.MkdirTemp(filepath.Join(x.c.Dir, working), "old")
	if err != nil {
		return "", onDisk(err)
	}
	if err := os.Rename(x.dir(l.digest), filepath.Join(to, rootfs)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", errors.Join(onDisk(err), os.Remove(to))
	}
	delete(x.lies, l.digest)
	l.gone = true
	x.kept -= l.size
	if l.users > 0 {
		x.used -= l.size
	}
	return to, nil
}

// tidy removes images that nobody uses, the longest unused first, until there are few
// enough, and so many bytes less than now.
func (x *Cache) tidy(less int64) {
	away, err := x.surplus(less)
	for _, dir := range away {
		err = errors.Join(err, removeAll(dir))
	}
	if err != nil {
		x.c.Log.Warn("make room among images", "err", err)
	}
}

// surplus takes out of sight what is to be removed.
func (x *Cache) surplus(less int64) (away []string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	most := min(x.c.Most-x.growing, x.kept-less)
	if x.kept <= most {
		return nil, nil
	}
	var idle []*lying
	for _, l := range x.lies {
		if l.users == 0 {
			idle = append(idle, l)
		}
	}
	slices.SortFunc(idle, func(a, b *lying) int { return a.last.Compare(b.last) })
	for _, l := range idle {
		if x.kept <= most {
			break
		}
		dir, err := x.away(l)
		if err != nil {
			return away, err
		}
		away = append(away, dir)
	}
	return away, x.unname()
}

// unname forgets indexes whose image is gone; the caller holds mu.
func (x *Cache) unname() error {
	list, err := os.ReadDir(filepath.Join(x.c.Dir, names))
	if err != nil {
		return err
	}
	for _, e := range list {
		file := filepath.Join(x.c.Dir, names, e.Name())
		b, err := os.ReadFile(file)
		if d := digest.Digest(b); err == nil && checkDigest(d) == nil {
			if x.lies[d] != nil || x.busy > 0 { // it may be on its way
				continue
			}
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

// removeAll removes a folder with all that is in it, also what its own mode protects.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil || !errors.Is(err, fs.ErrPermission) {
		return err
	}
	err := filepath.WalkDir(dir, func(file string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			return os.Chmod(file, 0o700)
		}
		return err
	})
	return errors.Join(err, os.RemoveAll(dir))
}
