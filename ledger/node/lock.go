package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"hearth/core/fault"
)

// lock makes this process the only one that works in the home, until unlock is
// called or the process ends.
func (h Home) lock() (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(string(h), "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fault.New(fault.NoIdentity, "lock %s: %w", h, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.AlreadyRunning, "lock %s: another process has it", h)
		}
		return nil, fmt.Errorf("lock %s: %w", h, err)
	}
	return f.Close, nil
}
