package market

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"hearth/core/fault"
	"hearth/internal/durable"
)

// journal keeps the Records of all leases in one append-only file. Append
// returns once its record is on disk; all that wait share one frame and one
// fsync. A torn frame at the end is cut off on open, since nobody has been told
// of it; damage before the end is an error, and the file is kept. A failed write
// is told to those who wait for it, and undone: a full disk is survived.
type journal struct {
	path string

	// Only the writer touches these once it runs.
	f    disk
	salt []byte
	size int64
	torn bool // what lies behind size is unknown: the file is written anew first

	mu     sync.Mutex // guards what follows
	all    map[uint64]Record
	queue  []*entry
	ended  bool
	wake   chan struct{}
	closed chan struct{} // closed when the writer has stopped
}

// disk is what the journal asks of its file.
type disk interface {
	WriteAt(b []byte, at int64) (int, error)
	Truncate(size int64) error
	Sync() error
	Close() error
}

type entry struct {
	lease uint64
	rec   Record
	gone  bool
	done  chan error
}

func (e *entry) encode() []byte {
	if e.gone {
		return gone(e.lease)
	}
	return e.rec.encode(e.lease)
}

const (
	journalSlack = 4 << 20 // garbage that is worth writing the file anew
	usualRecord  = 1 << 10
	maxBatch     = 256 // records of one frame
)

var errJournalClosed = errors.New("write bargains: the node is stopping")

// openJournal opens or makes the file at path.
func openJournal(path string) (*journal, error) {
	j := &journal{path: path, wake: make(chan struct{}, 1), closed: make(chan struct{})}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open bargains: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open bargains: %w", err)
	}
	if j.all, err = readJournal(b); err != nil {
		return nil, fault.New(fault.DamagedFile, "open bargains %s: %w", path, err)
	}
	// Written anew it holds no garbage, and nothing behind a frame that was torn.
	if err := j.rewrite(); err != nil {
		return nil, fmt.Errorf("open bargains: %w", err)
	}
	go j.run()
	return j, nil
}

// rewrite replaces the file by one with only the newest records. Only the writer
// calls it, or who is alone.
func (j *journal) rewrite() error {
	j.mu.Lock()
	records := make([][]byte, 0, len(j.all))
	for lease, r := range j.all {
		records = append(records, r.encode(lease))
	}
	j.mu.Unlock()
	out, salt := newJournal(records)

	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return diskError(err)
	}
	if _, err = f.Write(out); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err != nil {
		f.Close()
		os.Remove(tmp)
		return diskError(err)
	}
	// From here on the old file has no name: whatever comes, the new one is written to.
	if j.f != nil {
		j.f.Close()
	}
	j.f, j.salt, j.size, j.torn = f, salt, int64(len(out)), true
	if err := durable.SyncDir(filepath.Dir(j.path)); err != nil {
		return diskError(err)
	}
	j.torn = false
	return nil
}

// diskError gives want of room its code.
func diskError(err error) error {
	for _, full := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG} {
		if errors.Is(err, full) {
			return fault.New(fault.DiskFull, "write bargains: %w", err)
		}
	}
	return fmt.Errorf("write bargains: %w", err)
}

// get is the newest record of a lease, the zero one where there is none.
func (j *journal) get(lease uint64) Record {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.all[lease]
}

// leases lists the leases that have a record.
func (j *journal) leases() []uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	out := make([]uint64, 0, len(j.all))
	for id := range j.all {
		out = append(out, id)
	}
	return out
}

// append writes the newest record of a lease and returns when it is durable. A
// record with an older statement than the one that is kept is refused.
func (j *journal) append(lease uint64, r Record) error {
	return j.put(&entry{lease: lease, rec: r, done: make(chan error, 1)})
}

// forget drops a lease that is closed for good.
func (j *journal) forget(lease uint64) error {
	j.mu.Lock()
	_, known := j.all[lease]
	j.mu.Unlock()
	if !known {
		return nil
	}
	return j.put(&entry{lease: lease, gone: true, done: make(chan error, 1)})
}

// put queues entries together and waits for all of them.
func (j *journal) put(entries ...*entry) error {
	j.mu.Lock()
	if j.ended {
		j.mu.Unlock()
		return errJournalClosed
	}
	j.queue = append(j.queue, entries...)
	j.mu.Unlock()
	j.nudge()
	var errs []error
	for _, e := range entries {
		if err := <-e.done; err != nil {
			errs = append(errs, err)
		}
	}
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}

func (j *journal) nudge() {
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

// run gives one frame and one fsync to everything that waits.
func (j *journal) run() {
	defer close(j.closed)
	for range j.wake {
		for {
			j.mu.Lock()
			n := min(len(j.queue), maxBatch)
			batch := j.queue[:n:n]
			j.queue = j.queue[n:]
			ended := j.ended
			j.mu.Unlock()
			if n > 0 {
				j.write(batch)
				continue
			}
			if ended {
				return
			}
			break
		}
	}
}

// write makes a batch durable, then visible, and answers those who wait.
func (j *journal) write(batch []*entry) {
	var payload [][]byte
	newest := map[uint64]uint64{}
	kept := batch[:0:0]
	for _, e := range batch {
		seq, seen := newest[e.lease]
		if !seen {
			seq = j.get(e.lease).Newest.Seq
		}
		if !e.gone && e.rec.Newest.Seq < seq {
			e.done <- fault.New(fault.Stale, "write bargains: statement %d of lease %d is older than number %d", e.rec.Newest.Seq, e.lease, seq)
			continue
		}
		newest[e.lease] = e.rec.Newest.Seq
		payload, kept = append(payload, e.encode()), append(kept, e)
	}
	if len(kept) == 0 {
		return
	}
	err := j.store(payload)
	if err == nil {
		j.mu.Lock()
		for _, e := range kept {
			if e.gone {
				delete(j.all, e.lease)
			} else {
				j.all[e.lease] = e.rec
			}
		}
		garbage := j.size - int64(len(j.all))*usualRecord
		j.mu.Unlock()
		if garbage > journalSlack+int64(len(j.all))*usualRecord {
			// What is written stands, in the old file or the new: a failure is tried
			// again with the next batch.
			j.torn = j.rewrite() != nil && j.torn
		}
	}
	for _, e := range kept {
		e.done <- err
	}
}

// store appends one frame. After an error the file ends where it did before, or
// is written anew by the next one.
func (j *journal) store(payload [][]byte) error {
	if j.torn {
		if err := j.rewrite(); err != nil {
			return err
		}
	}
	out := appendFrame(nil, j.salt, payload)
	if _, err := j.f.WriteAt(out, j.size); err != nil {
		j.torn = j.f.Truncate(j.size) != nil
		return diskError(err)
	}
	if err := j.f.Sync(); err != nil {
		j.torn = true // nobody knows what a failed fsync has left
		return diskError(err)
	}
	j.size += int64(len(out))
	return nil
}

// close waits for what is queued and closes the file.
func (j *journal) close() error {
	j.mu.Lock()
	again := j.ended
	j.ended = true
	j.mu.Unlock()
	j.nudge()
	<-j.closed
	if again {
		return nil
	}
	// Written anew nothing in it counts as torn any more. Without room it stays as it is.
	if err := j.rewrite(); err != nil && fault.CodeOf(err) != fault.DiskFull {
		return errors.Join(err, j.f.Close())
	}
	return j.f.Close()
}
