package measure

import (
	"os"

	"golang.org/x/sys/unix"
)

// direct opens a file past the page cache, where its file system knows that.
func direct(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC|unix.O_DIRECT, 0o600)
	if err != nil {
		return plain(path)
	}
	if _, err := f.WriteAt(aligned(diskAlign), 0); err != nil { // it may say so only now
		f.Close()
		return plain(path)
	}
	return f, nil
}

// uncache has the kernel forget what it keeps of the file, which is on the disk.
func uncache(f *os.File) {
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) // a wish: not every file system grants it
}

// free is how many bytes may be written.
func free(dir string) (uint64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return s.Bavail * uint64(s.Bsize), nil
}
