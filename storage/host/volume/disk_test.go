package volume

import (
	"os"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"
)

// smallDisk is a file system with room for so many bytes and no more.
type smallDisk struct {
	vfs.FS
	mu    sync.Mutex
	room  int64
	sizes map[string]int64
}

func newSmallDisk(fs vfs.FS, room int64) *smallDisk {
	return &smallDisk{FS: fs, room: room, sizes: map[string]int64{}}
}

func (d *smallDisk) setRoom(n int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.room = n
}

func (d *smallDisk) used() (n int64) {
	for _, size := range d.sizes {
		n += size
	}
	return n
}

func (d *smallDisk) GetDiskUsage(string) (vfs.DiskUsage, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return vfs.DiskUsage{AvailBytes: uint64(max(0, d.room-d.used())), TotalBytes: uint64(d.room), UsedBytes: uint64(d.used())}, nil
}

// grown asks for room up to the file's new end.
func (d *smallDisk) grown(name string, end int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if more := end - d.sizes[name]; more > 0 {
		if d.used()+more > d.room {
			return &os.PathError{Op: "write", Path: name, Err: syscall.ENOSPC}
		}
		d.sizes[name] = end
	}
	return nil
}

func (d *smallDisk) Create(name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	f, err := d.FS.Create(name, c)
	d.mu.Lock()
	d.sizes[name] = 0
	d.mu.Unlock()
	return &smallFile{File: f, d: d, name: name}, err
}

func (d *smallDisk) OpenReadWrite(name string, c vfs.DiskWriteCategory, o ...vfs.OpenOption) (vfs.File, error) {
	f, err := d.FS.OpenReadWrite(name, c, o...)
	return &smallFile{File: f, d: d, name: name}, err
}

func (d *smallDisk) ReuseForWrite(old, name string, c vfs.DiskWriteCategory) (vfs.File, error) {
	if err := d.Remove(old); err != nil {
		return nil, err
	}
	return d.Create(name, c)
}

func (d *smallDisk) Rename(old, name string) error {
	err := d.FS.Rename(old, name)
	if err == nil {
		d.mu.Lock()
		d.sizes[name] = d.sizes[old]
		delete(d.sizes, old)
		d.mu.Unlock()
	}
	return err
}

func (d *smallDisk) Remove(name string) error {
	err := d.FS.Remove(name)
	if err == nil {
		d.mu.Lock()
		delete(d.sizes, name)
		d.mu.Unlock()
	}
	return err
}

type smallFile struct {
	vfs.File
	d    *smallDisk
	name string
	at   int64
}

func (f *smallFile) Write(p []byte) (int, error) {
	if err := f.d.grown(f.name, f.at+int64(len(p))); err != nil {
		return 0, err
	}
	n, err := f.File.Write(p)
	f.at += int64(n)
	return n, err
}

func (f *smallFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.d.grown(f.name, off+int64(len(p))); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}
