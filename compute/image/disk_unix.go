//go:build unix

package image

import (
	"errors"
	"fmt"
	"syscall"

	"hearth/core/fault"
)

// onDisk gives an error of the disk its code.
func onDisk(err error) error {
	var coded *fault.Error
	switch {
	case err == nil || errors.As(err, &coded):
		return err
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		return fault.New(fault.DiskFull, "unpack image: %w", err)
	case errors.Is(err, syscall.ENAMETOOLONG), errors.Is(err, syscall.ELOOP), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.EMLINK), errors.Is(err, syscall.EINVAL):
		return form{err} // the layer asks for what no disk has
	}
	return fmt.Errorf("unpack image: %w", err)
}
