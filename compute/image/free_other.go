//go:build !linux

package image

import "math"

// freeAt says that all is free: containers run on Linux.
func freeAt(string) (free int64, few bool, err error) { return math.MaxInt64, false, nil }
