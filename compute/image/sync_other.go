//go:build !linux

package image

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// syncTree returns when all files below dir are on the disk.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(name string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if errors.Is(err, fs.ErrPermission) {
			return nil // what can't be written can't be synced here
		}
		if err != nil {
			return err
		}
		return errors.Join(f.Sync(), f.Close())
	})
}
