package volume

import (
	"errors"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// punch gives a stretch of the file back to the file system; it reads as zeros
// afterwards. It reports false where that isn't possible.
func punch(f vfs.File, off, n int64) bool {
	fd := f.Fd()
	return fd != vfs.InvalidFd &&
		unix.Fallocate(int(fd), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, n) == nil
}

// grow reserves a stretch at the file's end, so that writing there changes no
// metadata and can't run out of space. On file systems without that it does nothing.
func grow(f vfs.File, off, n int64) error {
	fd := f.Fd()
	if fd == vfs.InvalidFd {
		return nil
	}
	err := unix.Fallocate(int(fd), 0, off, n)
	for err == unix.EINTR {
		err = unix.Fallocate(int(fd), 0, off, n)
	}
	if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return err
}
