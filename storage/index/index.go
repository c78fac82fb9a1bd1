// Package index is a client's list of files: buckets, objects, where the shards
// of their slabs lie, and the work that is still to do at hosts. It is one SQLite
// file with one writer; what a call has acknowledged is on the disk. It stores no
// file contents but tiny ones, speaks to no host, and refuses to open a file that
// is damaged or of a format it doesn't know, leaving it as it is.
package index

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite" // also registers the driver "sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"hearth/core/fault"
)

// A Config is what an Index needs. A zero field takes its stated default.
type Config struct {
	Path    string // required: the file; it is made when it isn't there
	Device  uint64 // this device's number, part of every version
	Readers int    // connections that read at once; default 4

	// Grace is how long a slab that nobody uses any more stays with its hosts:
	// another device may be about to tell of an object that does. Default 0.
	Grace time.Duration
	// Tombstones is how long removals are remembered; default 90 days. A device
	// that was away for longer may bring back what was removed meanwhile.
	Tombstones time.Duration

	// Now gives the time; default time.Now.
	Now func() time.Time
	Log *slog.Logger // default: discard

	vfs string // SQLite's file system, for tests
	lax bool   // doesn't wait for the disk, for tests
}

// An Index is an open list of files. It is safe for concurrent use. Only one may
// be open on a file.
type Index struct {
	c    Config
	read *sql.DB
	db   *sql.DB
	w    *writer
	lock *os.File
	old  bool // the file is of schema version 1

	readers  chan *tx // nil where no connection has been made yet
	isClosed atomic.Bool
	grace    atomic.Int64 // seconds
	pruned   atomic.Int64 // unix second of the last look for old removals

	// Owned by the writer:
	clock, kept int64 // the hybrid clock, and what is written of it
	seq         int64 // newest change in the log
	watched     int64 // newest number given to a slab for watchers
	manifests   int64 // newest manifest

	mu     sync.Mutex
	newest int64          // upload begun
	begun  map[int64]bool // uploads that have not ended

	closing sync.Once
	closed  error
}

// Open opens the index or makes an empty one. A damaged file is reported as
// fault.DamagedIndex, one of another version as fault.UnknownFormat; both stay
// as they are.
func Open(c Config) (*Index, error) {
	if c.Path == "" {
		return nil, errors.New("open index: no path")
	}
	if c.Readers == 0 {
		c.Readers = 4
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	lock, err := lockFile(c.Path + ".lock")
	if err != nil {
		return nil, fault.New(fault.AlreadyRunning, "open index %s: another process has it open: %w", c.Path, err)
	}
	if c.Tombstones == 0 {
		c.Tombstones = 90 * 24 * time.Hour
	}
	x := &Index{c: c, lock: lock, begun: make(map[int64]bool), readers: make(chan *tx, c.Readers)}
	for range c.Readers {
		x.readers <- nil
	}
	x.SetGrace(c.Grace)
	if err := x.open(); err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return x, nil
}

func (x *Index) open() error {
	switch fresh, err := x.missing(); {
	case err != nil:
		return err
	case fresh:
		if err := x.create(); err != nil {
			return failed("make index "+x.c.Path, err)
		}
	}
	if err := x.inspect(); err != nil {
		return err
	}
	if x.old {
		if err := x.migrate(); err != nil {
			return err
		}
	}
	var err error
	if x.db, err = x.connect(x.c.Path, "rw"); err != nil {
		return err
	}
	x.db.SetMaxOpenConns(1)
	// Each process begins a log of its own: walDamage relies on that.
	if _, err := x.db.Exec(`PRAGMA wal_checkpoint(TRUNCATE)`); err != nil {
		return failed("open index "+x.c.Path, err)
	}
	t, err := x.newTx(context.Background(), x.db)
	if err != nil {
		return failed("open index "+x.c.Path, err)
	}
	if err := x.resume(t); err != nil {
		t.close()
		return failed("open index "+x.c.Path, err)
	}
	x.w = startWriter(t, func(t *tx) error { return t.keepClock() })
	if x.read, err = x.connect(x.c.Path, "ro"); err != nil {
		return err
	}
	x.read.SetMaxOpenConns(x.c.Readers)
	x.read.SetMaxIdleConns(x.c.Readers)
	return nil
}

// resume reads where the counters stood.
func (x *Index) resume(t *tx) error {
	_, err := t.row(`SELECT (SELECT value FROM meta WHERE name = 'clock'), (SELECT coalesce(max(id), 0) FROM uploads),
		max((SELECT value FROM meta WHERE name = 'flushed'), (SELECT coalesce(max(seq), 0) FROM changes)),
		max((SELECT coalesce(max(seq), 0) FROM slabs), (SELECT coalesce(max(seq), 0) FROM gone)),
		(SELECT coalesce(max(id), 0) FROM manifests)`, nil, &x.clock, &x.newest, &x.seq, &x.watched, &x.manifests)
	x.kept = x.clock
	return err
}

// SetGrace changes Config.Grace from now on.
func (x *Index) SetGrace(d time.Duration) { x.grace.Store(int64(d / time.Second)) }

// missing says whether there is no index yet. A log without its file is damage.
func (x *Index) missing() (bool, error) {
	_, err := os.Stat(x.c.Path)
	if err == nil {
		return false, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return false, fmt.Errorf("open index: %w", err)
	}
	if _, err := os.Stat(x.c.Path + "-wal"); err == nil {
		return false, x.damaged("the file is gone, its log %s-wal isn't", x.c.Path)
	}
	return true, nil
}

// connect opens connections that share one set of pragmas.
func (x *Index) connect(path, mode string) (*sql.DB, error) {
	dsn := "file:" + escape(path) + "?mode=" + mode + "&_pragma=busy_timeout(10000)"
	if mode != "ro" {
		// FULL: a commit returns when the log is synced, so it survives a loss of power.
		dsn += "&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=wal_autocheckpoint(4000)"
	}
	if x.c.lax {
		dsn += "&_pragma=synchronous(OFF)"
	}
	// KiB of pages that each connection keeps: the system has them all in its own
	// cache, so this saves calls only.
	cache := 8000
	if mode == "ro" {
		cache = 4000
	}
	dsn += fmt.Sprintf("&_pragma=cache_size(-%d)&_pragma=cell_size_check(1)", cache)
	if x.c.vfs != "" {
		dsn += "&vfs=" + x.c.vfs
	}
	db, err := sql.Open("sqlite", dsn)
	if err != nil {
		return nil, fmt.Errorf("open index %s: %w", path, err)
	}
	return db, nil
}

// escape makes a path safe inside SQLite's file: URI.
func escape(path string) string {
	var out []byte
	for _, c := range []byte(filepath.ToSlash(path)) {
		switch c {
		case '%', '?', '#':
			out = fmt.Appendf(out, "%%%02X", c)
		default:
			out = append(out, c)
		}
	}
	return string(out)
}

// Path is the file.
func (x *Index) Path() string { return x.c.Path }

// Close waits for the writes under way and closes the file. Calling it again
// does nothing.
func (x *Index) Close() error {
	x.closing.Do(func() {
		var errs []error
		if x.w != nil {
			x.w.stop()
		}
		x.closeReaders()
		if x.read != nil {
			errs = append(errs, x.read.Close())
		}
		if x.db != nil {
			errs = append(errs, x.db.Close())
		}
		errs = append(errs, x.lock.Close())
		x.closed = errors.Join(errs...)
	})
	return x.closed
}

// failed wraps err, giving it the code that SQLite's result calls for. The codes
// an error has already stay.
func failed(what string, err error) error {
	if err == nil {
		return nil
	}
	var coded *fault.Error
	if errors.As(err, &coded) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", what, err)
	}
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch code := e.Code(); {
		case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_SHMSIZE:
			return fault.New(fault.DiskFull, "%s: %w", what, err)
		case code&0xff == sqlite3.SQLITE_CORRUPT, code&0xff == sqlite3.SQLITE_NOTADB:
			return fault.New(fault.DamagedIndex, "%s: %w", what, err)
		}
	}
	return fmt.Errorf("%s: %w", what, err)
}

// hard says that err is the file's trouble, not the request's.
func hard(err error) bool {
	var e *sqlite.Error
	return errors.As(err, &e)
}
