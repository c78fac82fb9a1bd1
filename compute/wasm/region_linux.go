package wasm

import "golang.org/x/sys/unix"

// reserve takes addresses; memory comes when they are written to.
func reserve(size int) ([]byte, error) {
	return unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
}

// giveBack makes all of b zero, and its memory the system's.
func giveBack(b []byte) {
	if unix.Madvise(b, unix.MADV_DONTNEED) != nil {
		clear(b)
	}
}
