package carry

import (
	"os"

	"golang.org/x/sys/unix"
)

// forget has the kernel drop its copy of a file, so that what is read comes from the
// disk. It is a wish: nothing depends on it.
func forget(f *os.File) { _ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED) }
