package client

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// keptLog is how large a function's log may become before the older half goes.
const keptLog = 1 << 20

// logs keeps what functions wrote on standard error, on this machine: for each a
// file, and the one before it.
type logs struct {
	dir string
	mu  sync.Mutex
}

func (l *logs) file(name string) string { return filepath.Join(l.dir, "logs", name+".log") }

// add writes down how a call went. A log that can't be written costs nobody a result.
func (l *logs) add(name string, at time.Time, r Result) {
	end := fmt.Sprintf("exit %d", r.Exit)
	if r.Fault != "" {
		end = fmt.Sprintf("%s: %s", r.Fault, r.Reason)
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, "--- %s %s, %d gas, %s at %s\n", at.UTC().Format(time.RFC3339Nano), end, r.Gas, r.Took.Round(time.Microsecond), r.Host)
	b.Write(r.Log)
	if n := len(r.Log); n > 0 && r.Log[n-1] != '\n' {
		b.WriteByte('\n')
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.write(name, b.Bytes())
}

func (l *logs) write(name string, b []byte) error {
	file := l.file(name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	if info, err := os.Stat(file); err == nil && info.Size()+int64(len(b)) > keptLog/2 {
		if err := os.Rename(file, file+".1"); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Close())
}

// read writes what is kept of a function's log.
func (l *logs) read(name string, w io.Writer) error {
	l.mu.Lock()
	var kept bytes.Buffer
	for _, file := range []string{l.file(name) + ".1", l.file(name)} {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			l.mu.Unlock()
			return fmt.Errorf("read log of %s: %w", name, err)
		}
		kept.Write(b)
	}
	l.mu.Unlock()
	_, err := kept.WriteTo(w)
	return err
}

func (l *logs) drop(name string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for _, file := range []string{l.file(name) + ".1", l.file(name)} {
		if err := os.Remove(file); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
