package volume

import (
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"hearth/core/fault"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A ballast is a file that only takes room. When the disk is full it is thrown
// overboard, so that the index can still write what it must (deletions too);
// no shard is taken until there is room for it again. Its content looks like
// chance: zeros take no room in a file system that compresses, nor in a copy
// that leaves holes.
type ballast struct {
	fs   vfs.FS
	path string
	size int64
	mu   sync.Mutex
	gone atomic.Bool
}

// drop is called by the index's file system on ENOSPC.
func (b *ballast) drop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.gone.Store(true)
	_ = b.fs.Remove(b.path)
}

// load takes the room again if it is gone and there is twice as much, so that
// the index isn't starved by it; it reports whether the room is held.
func (b *ballast) load() bool {
	if !b.gone.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if free, ok := b.free(); ok && free < 2*b.size {
		return false
	}
	if err := b.fill(); err != nil {
		_ = b.fs.Remove(b.path)
		return false
	}
	b.gone.Store(false)
	return true
}

// free is how much room the disk has, where the file system can tell.
func (b *ballast) free() (n int64, ok bool) {
	u, err := b.fs.GetDiskUsage(b.fs.PathDir(b.path))
	return int64(u.AvailBytes), err == nil
}

// enough refuses a disk on which the index can't even be opened: it has to write
// what its log holds, and would try for ever.
func (b *ballast) enough() error {
	if free, ok := b.free(); ok && b.gone.Load() && free < b.size/2 {
		return fault.New(fault.DiskFull, "the disk has %d bytes left, the index needs %d", free, b.size/2)
	}
	return nil
}

// slowly is a file system on which Pebble, which repeats a failed flush at once,
// does so without burning a processor while the disk is full.
type slowly struct {
	vfs.FS
	b *ballast
}

func (s slowly) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if s.b.gone.Load() && strings.HasSuffix(name, ".sst") {
		time.Sleep(100 * time.Millisecond)
	}
	return s.FS.Create(name, c)
}

func (b *ballast) fill() error {
	f, err := b.fs.Create(b.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	chunk, chance := make([]byte, min(b.size, 64<<10)), rand.NewChaCha8([32]byte{})
	err = grow(f, 0, b.size)
	for n := int64(0); n < b.size && err == nil; n += int64(len(chunk)) {
		_, _ = chance.Read(chunk) // never fails
		_, err = f.Write(chunk)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
