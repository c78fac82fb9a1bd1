package volume

import (
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// A ballast is a file that only takes room. When the disk is full it is thrown
// overboard, so that the index can still write what it must (deletions too);
// no shard is taken until there is room for it again.
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

// load takes the room again if it is gone; it reports whether the room is held.
func (b *ballast) load() bool {
	if !b.gone.Load() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.fill(); err != nil {
		_ = b.fs.Remove(b.path)
		return false
	}
	b.gone.Store(false)
	return true
}

func (b *ballast) fill() error {
	f, err := b.fs.Create(b.path, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	zeros := make([]byte, min(b.size, 64<<10))
	err = grow(f, 0, b.size)
	for n := int64(0); n < b.size && err == nil; n += int64(len(zeros)) {
		_, err = f.Write(zeros)
	}
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	return err
}
