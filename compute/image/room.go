package image

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
)

// remove takes an image out of sight, and then away; the caller holds mu.
func (x *Cache) remove(d digest.Digest) error {
	away, err := x.away(d)
	if err != nil || away == "" {
		return err
	}
	return removeAll(away)
}

// away takes an image out of sight at once; the caller holds mu.
func (x *Cache) away(d digest.Digest) (string, error) {
	to, err := os.MkdirTemp(filepath.Join(x.c.Dir, working), "old")
	if err != nil {
		return "", onDisk(err)
	}
	switch err := os.Rename(x.dir(d), filepath.Join(to, rootfs)); {
	case errors.Is(err, fs.ErrNotExist):
		return "", os.Remove(to)
	case err != nil:
		return "", errors.Join(onDisk(err), os.Remove(to))
	}
	return to, nil
}

// tidy removes images that nobody uses, the longest unused first, until there are few
// enough.
func (x *Cache) tidy() {
	away, err := x.surplus()
	for _, dir := range away {
		err = errors.Join(err, removeAll(dir))
	}
	if err != nil {
		x.c.Log.Warn("make room among images", "err", err)
	}
}

// surplus takes out of sight what is to be removed.
func (x *Cache) surplus() (away []string, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	list, err := os.ReadDir(filepath.Join(x.c.Dir, finished))
	if err != nil {
		return nil, err
	}
	type lying struct {
		digest digest.Digest
		size   int64
		used   time.Time
	}
	var all []lying
	var total int64
	for _, e := range list {
		l := lying{digest: digest.NewDigestFromEncoded(digest.SHA256, e.Name())}
		file := filepath.Join(x.c.Dir, finished, e.Name(), about)
		var i Image
		if b, err := os.ReadFile(file); err == nil && json.Unmarshal(b, &i) == nil {
			l.size = i.Size
		}
		if info, err := os.Stat(file); err == nil {
			l.used = info.ModTime()
		}
		total += l.size
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b lying) int { return a.used.Compare(b.used) })
	for _, l := range all {
		if total <= x.c.Most {
			break
		}
		if x.used[l.digest] > 0 {
			continue
		}
		dir, e := x.away(l.digest)
		if e != nil {
			return away, e
		}
		total -= l.size
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
			if _, err := os.Stat(x.dir(d)); err == nil || len(x.held) > 0 { // it may be on its way
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
