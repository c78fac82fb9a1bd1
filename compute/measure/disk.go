package measure

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
	"unsafe"
)

const (
	diskPiece = 2 << 20 // written at once, then synced
	diskSize  = 8 << 20
	diskTurns = 4 // times that the file is written at most
	diskAlign = 4096
)

// disk writes a small file again and again, each piece until it is on the disk, and
// reads it past the cache. It gives bytes a second.
func disk(ctx context.Context, dir string, each time.Duration) (write, read uint64, err error) {
	buffer := aligned(diskPiece)
	if _, err := rand.Read(buffer); err != nil { // nothing that could be made smaller
		return 0, 0, err
	}
	f, err := direct(filepath.Join(dir, "disk"))
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	write, err = pieces(ctx, each, diskTurns, func(at int64) error {
		if _, err := f.WriteAt(buffer, at); err != nil {
			return err
		}
		return f.Sync()
	})
	if err != nil {
		return 0, 0, fmt.Errorf("write: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	uncache(f)
	read, err = pieces(ctx, each, 1, func(at int64) error {
		if at >= info.Size() { // writing was slow, and ended before
			at = 0
			uncache(f)
		}
		_, err := f.ReadAt(buffer, at)
		return err
	})
	if err != nil {
		return 0, 0, fmt.Errorf("read: %w", err)
	}
	return write, read, nil
}

// pieces goes through the file piece by piece until the time is over, and at most so
// many times. The median of pieces is what counts.
func pieces(ctx context.Context, each time.Duration, turns int, do func(at int64) error) (uint64, error) {
	var rates []float64
	s := watch(each)
	for range turns {
		for at := int64(0); at < diskSize; at += diskPiece {
			if ctx.Err() != nil {
				return 0, stopped(ctx)
			}
			if s.over() && len(rates) > 0 {
				return median(rates), nil
			}
			began := s.now()
			if err := do(at); err != nil {
				return 0, err
			}
			rates = append(rates, diskPiece/max(s.now()-began, 1e-9))
		}
	}
	return median(rates), nil
}

// aligned is memory that begins where a disk wants it to.
func aligned(n int) []byte {
	b := make([]byte, n+diskAlign)
	skip := 0
	if rest := int(uintptr(unsafe.Pointer(&b[0])) % diskAlign); rest > 0 { //nolint:gosec // the address's remainder only
		skip = diskAlign - rest
	}
	return b[skip : skip+n : skip+n]
}

// plain opens a file whose bytes go through the cache.
func plain(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_TRUNC, 0o600)
}
