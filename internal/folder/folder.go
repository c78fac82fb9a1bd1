// Package folder is the layout of a node's folder (--dir): which file lies
// where, who may read it, and that one process at a time works in it.
package folder

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"hearth/core/fault"
	"hearth/internal/durable"
)

// A Dir is a node's folder.
type Dir string

// maxSocket is the longest path a unix socket may have.
const maxSocket = 100

// Config is the path of the configuration.
func (d Dir) Config() string { return filepath.Join(string(d), "config.toml") }

// Socket is the path of the API's unix socket. Where the folder's own path is
// too long for one it lies in the system's folder for temporary files, in a
// folder of the user's own.
func (d Dir) Socket() string {
	path := filepath.Join(string(d), "api.sock")
	if len(path) <= maxSocket {
		return path
	}
	abs, err := filepath.Abs(string(d))
	if err != nil {
		abs = string(d)
	}
	return filepath.Join(os.TempDir(), fmt.Sprintf("hearth-%d", os.Getuid()), shortName(abs)+".sock")
}

// Token is the path of the token for requests over TCP.
func (d Dir) Token() string { return filepath.Join(string(d), "api.token") }

// Spent is the path of the record of requests that spend.
func (d Dir) Spent() string { return filepath.Join(string(d), "api.spent") }

// Address is the path of the file that says where the API listens over TCP.
func (d Dir) Address() string { return filepath.Join(string(d), "api.address") }

// Keystore is the path of the encrypted keys.
func (d Dir) Keystore() string { return filepath.Join(string(d), "keystore") }

func (d Dir) lock() string { return filepath.Join(string(d), "lock") }

// Make makes the folder, for its owner alone.
func (d Dir) Make() error {
	if err := os.MkdirAll(string(d), 0o700); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	return nil
}

// Lock makes this process the only one that works in the folder, until unlock
// is called or the process ends; else the fault is AlreadyRunning.
func (d Dir) Lock() (unlock func() error, err error) {
	f, err := os.OpenFile(d.lock(), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock %s: %w", d, err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, fault.New(fault.AlreadyRunning, "lock %s: another process has it", d)
		}
		return nil, fmt.Errorf("lock %s: %w", d, err)
	}
	return f.Close, nil
}

// ReadToken reads the token, for a client.
func (d Dir) ReadToken() (string, error) {
	b, err := os.ReadFile(d.Token())
	if err != nil {
		return "", fault.New(fault.NotRunning, "read token: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// MakeToken returns the token, and makes it where there is none.
func (d Dir) MakeToken() (string, error) {
	b, err := os.ReadFile(d.Token())
	if err == nil && len(strings.TrimSpace(string(b))) == 64 {
		return strings.TrimSpace(string(b)), os.Chmod(d.Token(), 0o600)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("read token: %w", err)
	}
	fresh := make([]byte, 32)
	if _, err := rand.Read(fresh); err != nil {
		return "", fmt.Errorf("make token: %w", err)
	}
	token := hex.EncodeToString(fresh)
	return token, durable.Write(d.Token(), []byte(token+"\n"), 0o600)
}

// Listen opens the API's unix socket, for the owner alone. Call it with the
// lock held: a socket that is there was left by a process that is gone.
func (d Dir) Listen() (net.Listener, error) {
	path := d.Socket()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(filepath.Dir(path), 0o700); err != nil { // also tells whose folder it is
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("listen: remove old socket: %w", err)
	}
	// Between bind and chmod the folder's own mode keeps others out.
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("listen: %w", err), l.Close())
	}
	return l, nil
}
