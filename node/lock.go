package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"hearth/core/fault"
)

// Lock takes a folder for this process and writes hearth.pid. The kernel lets go
// of it when the process ends, however it ends.
func Lock(dir string) (unlock func(), err error) {
	path := filepath.Join(dir, "hearth.pid")
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.NoIdentity, "open %s: there is no node in this folder", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.New(fault.AlreadyRunning, "lock %s: another process runs it", dir)
	}
	if there, err := os.Stat(path); err != nil || !sameFile(f, there) {
		f.Close() // the node before removed it a moment ago
		return Lock(dir)
	}
	err = f.Truncate(0)
	if err == nil {
		_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", dir, err)
	}
	return func() {
		os.Remove(path)
		f.Close()
	}, nil
}

func sameFile(f *os.File, there os.FileInfo) bool {
	here, err := f.Stat()
	return err == nil && os.SameFile(here, there)
}
