//go:build !unix

package image

import "fmt"

// onDisk says what was being done.
func onDisk(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("unpack image: %w", err)
}
