package seal

import "golang.org/x/sys/unix"

// pages maps n zero bytes; nil where the system doesn't give them.
func pages(n int64) []byte {
	b, err := unix.Mmap(-1, 0, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

func unmap(b []byte) { _ = unix.Munmap(b) } // it was mapped by pages, so this can't fail

// vacate gives the memory of mapped pages back and keeps the room, which then
// holds zeros.
func vacate(b []byte) { _ = unix.Madvise(b, unix.MADV_DONTNEED) }
