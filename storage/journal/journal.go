// Package journal keeps bytes on this machine's disk until they are with hosts:
// small objects that were acknowledged and wait to be packed into a slab with
// others. Writers that come at the same time share one sync. It knows no names:
// the index says which records count, and a segment of which it names none is
// deleted. It refuses more than its bound, and gives back nothing that it hasn't
// verified (docs/formats/journal.md).
package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/fault"
)

// ErrFull says that the journal is at its bound.
var ErrFull = errors.New("the journal is full")

// ErrGone says that a segment isn't there: nothing was wanted of it any more.
var ErrGone = errors.New("the segment is gone")

// A Config is what a Journal needs. A zero field takes its stated default.
type Config struct {
	Dir     string // required; it is made
	FS      vfs.FS // default: the disk
	Bound   int64  // bytes of all segments; default 1 GiB
	Segment int64  // bytes after which another one is begun; default 64 MiB
	Log     *slog.Logger
}

func (c *Config) complete() error {
	if c.Dir == "" {
		return errors.New("open journal: no folder")
	}
	c.Bound = cmp.Or(c.Bound, 1<<30)
	c.Segment = min(cmp.Or(c.Segment, 64<<20), c.Bound/4)
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// A Place is where a record lies: its segment, the offset of its frame, and the
// length of its body.
type Place struct {
	Segment        uint64
	Offset, Length int64
}

// A segment is one file.
type segment struct {
	file vfs.File
	size int64
	held int  // records of which the index doesn't know yet whether they count, and the writer
	kept bool // some record was acknowledged
}

// A Journal is safe for concurrent use. Only one may be open on a folder.
type Journal struct {
	c     Config
	jobs  chan *job
	ended chan struct{}

	gate   sync.RWMutex // held for reading while sending to jobs
	closed bool

	mu       sync.RWMutex // never held while the loop is waited for
	segments map[uint64]*segment
	open     uint64 // the one that is written; 0: none
	next     uint64
	size     int64 // of all
}

// Open opens the journal in c.Dir or makes one. Old segments are never written
// again: what a crash has cut short at their end was acknowledged to nobody.
func Open(c Config) (*Journal, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	j := &Journal{c: c, jobs: make(chan *job, maxGroup), ended: make(chan struct{}), segments: map[uint64]*segment{}, next: 1}
	if err := j.load(); err != nil {
		return nil, errors.Join(fmt.Errorf("open journal %s: %w", c.Dir, err), j.closeFiles())
	}
	go j.loop()
	return j, nil
}

func (j *Journal) load() error {
	if err := j.c.FS.MkdirAll(j.c.Dir, 0o700); err != nil {
		return full(err)
	}
	if err := j.syncDir(j.c.FS.PathDir(j.c.Dir)); err != nil {
		return err
	}
	names, err := j.c.FS.List(j.c.Dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		n, ok := number(name)
		if !ok {
			continue
		}
		if err := j.loadSegment(n); err != nil {
			return fmt.Errorf("segment %s: %w", name, err)
		}
		j.next = max(j.next, n+1)
	}
	return nil
}

// loadSegment opens an old segment. One whose head never reached the disk held
// nothing.
func (j *Journal) loadSegment(n uint64) error {
	f, err := j.c.FS.Open(j.path(n))
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.segments[n] = &segment{file: f, size: info.Size()}
	j.size += info.Size()
	var head [headBytes]byte
	if _, err := f.ReadAt(head[:], 0); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if info.Size() <= headBytes && (info.Size() < headBytes || head == [headBytes]byte{}) {
		return nil
	}
	return checkHead(head[:], n)
}

func (j *Journal) path(n uint64) string { return j.c.FS.PathJoin(j.c.Dir, fmt.Sprintf("%016x.log", n)) }

func number(name string) (uint64, bool) {
	hex, ok := strings.CutSuffix(name, ".log")
	if !ok || len(hex) != 16 {
		return 0, false
	}
	n, err := strconv.ParseUint(hex, 16, 64)
	return n, err == nil && n > 0
}

func (j *Journal) syncDir(dir string) error {
	d, err := j.c.FS.OpenDir(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Size is how many bytes the segments have.
func (j *Journal) Size() int64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.size
}

// Read gives the body of a record; ErrGone when its segment is deleted.
func (j *Journal) Read(p Place) ([]byte, error) {
	if p.Length <= 0 || p.Length > MaxBody || p.Offset < headBytes {
		return nil, fault.New(fault.DamagedFile, "read journal: no record has %d bytes at %d", p.Length, p.Offset)
	}
	j.mu.RLock()
	defer j.mu.RUnlock()
	s := j.segments[p.Segment]
	if s == nil {
		return nil, fmt.Errorf("read journal: segment %d: %w", p.Segment, ErrGone)
	}
	b := make([]byte, frameBytes+p.Length)
	if n, err := s.file.ReadAt(b, p.Offset); err != nil {
		if !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read journal: segment %d: %w", p.Segment, err)
		}
		b = b[:n]
	}
	body, err := parse(b, p.Segment, p.Offset)
	if err != nil {
		return nil, fmt.Errorf("read journal: %s at %d: %w", j.path(p.Segment), p.Offset, err)
	}
	return body, nil
}

// worthFreeing is from which size on a segment isn't written to its end when it
// holds nothing that counts.
const worthFreeing = 1 << 20

// Free deletes the segments that are written no more and of which the index
// names no record. used is asked after it is sure that no record of them is on
// its way into the index.
func (j *Journal) Free(ctx context.Context, used func(context.Context) (map[uint64]bool, error)) error {
	j.mu.RLock()
	idle := map[uint64]int64{}
	for n, s := range j.segments {
		if s.held == 0 && (n != j.open || s.size >= worthFreeing) {
			idle[n] = s.size
		}
	}
	j.mu.RUnlock()
	if len(idle) == 0 {
		return nil
	}
	wanted, err := used(ctx)
	if err != nil {
		return fmt.Errorf("free journal: %w", err)
	}
	var errs []error
	for n, size := range idle {
		if !wanted[n] {
			errs = append(errs, j.drop(n, size))
		}
	}
	return errors.Join(errs...)
}

// drop deletes a segment, unless it was written to since it had this size.
func (j *Journal) drop(n uint64, size int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	s := j.segments[n]
	if s == nil || s.held > 0 || s.size != size {
		return nil
	}
	delete(j.segments, n)
	if j.open == n {
		j.open = 0
	}
	j.size -= s.size
	err := errors.Join(s.file.Close(), j.c.FS.Remove(j.path(n)))
	if err != nil {
		err = fmt.Errorf("free journal: segment %d: %w", n, err)
	}
	return err
}

// Close waits for the writes under way.
func (j *Journal) Close() error {
	j.gate.Lock()
	if j.closed {
		j.gate.Unlock()
		return nil
	}
	j.closed = true
	close(j.jobs)
	j.gate.Unlock()
	<-j.ended
	return j.closeFiles()
}

func (j *Journal) closeFiles() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var errs []error
	for _, s := range j.segments {
		errs = append(errs, s.file.Close())
	}
	clear(j.segments)
	return errors.Join(errs...)
}

// full gives an error of a full disk its code.
func full(err error) error {
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return fault.New(fault.DiskFull, "%w", err)
	}
	return err
}
