//go:build !linux

package volume

import "github.com/cockroachdb/pebble/v2/vfs"

// punch gives a stretch of the file back where the system can; here it can't,
// and the room returns when the volume is emptied or rewritten.
func punch(vfs.File, int64, int64) bool { return false }

// grow reserves room where the system can; here files grow as they are written.
func grow(vfs.File, int64, int64) error { return nil }
