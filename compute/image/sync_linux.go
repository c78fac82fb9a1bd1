package image

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// syncTree returns when all that was written below dir is on the disk.
func syncTree(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(unix.Syncfs(int(f.Fd())), f.Close())
}
