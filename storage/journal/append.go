package journal

import (
	"errors"
	"fmt"

	"github.com/cockroachdb/pebble/v2/vfs"

	"hearth/core/fault"
)

const (
	maxGroup = 256     // records that share a sync
	maxBytes = 8 << 20 // of a group, about
)

var errClosed = errors.New("the journal is closed")

// A job is one record on its way.
type job struct {
	body []byte
	at   Place
	done chan error
}

// Append writes a record and returns when it is durable. Its segment is kept at
// least until Settle; after an error nothing was kept. ErrFull when there is no
// room within the bound, fault.DiskFull when the disk has none.
func (j *Journal) Append(body []byte) (Place, error) {
	if len(body) == 0 || len(body) > MaxBody {
		return Place{}, fault.New(fault.TooLarge, "append to journal: %d bytes, 1 to %d are allowed", len(body), MaxBody)
	}
	w := &job{body: body, done: make(chan error, 1)}
	j.gate.RLock()
	if j.closed {
		j.gate.RUnlock()
		return Place{}, errClosed
	}
	j.jobs <- w
	j.gate.RUnlock()
	if err := <-w.done; err != nil {
		return Place{}, fmt.Errorf("append to journal: %w", full(err))
	}
	return w.at, nil
}

// Settle says that the index knows by now whether a record counts.
func (j *Journal) Settle(p Place) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if s := j.segments[p.Segment]; s != nil && s.held > 0 {
		s.held--
	}
}

func (j *Journal) loop() {
	defer close(j.ended)
	var buf []byte
	for w := range j.jobs {
		group, size := append(make([]*job, 0, 16), w), len(w.body)
	gather:
		for len(group) < maxGroup && size < maxBytes {
			select {
			case w, ok := <-j.jobs:
				if !ok {
					break gather
				}
				group, size = append(group, w), size+len(w.body)
			default:
				break gather
			}
		}
		if buf = j.write(group, buf[:0]); cap(buf) > 2*maxBytes {
			buf = nil
		}
	}
}

// write brings a group to the disk with one write and one sync, and answers. It
// gives its buffer back.
func (j *Journal) write(group []*job, buf []byte) []byte {
	n, s, room, err := j.take()
	if err != nil {
		for _, w := range group {
			w.done <- err
		}
		return buf
	}
	var fit []*job
	for _, w := range group {
		if int64(len(buf)+frameBytes+len(w.body)) > room {
			w.done <- ErrFull
			continue
		}
		at := s.size + int64(len(buf))
		buf = appendRecord(buf, n, at, w.body)
		w.at = Place{n, at, int64(len(w.body))}
		fit = append(fit, w)
	}
	if len(fit) > 0 {
		if _, err = s.file.Write(buf); err == nil {
			err = s.file.SyncData()
		}
	}
	j.give(n, s, int64(len(buf)), len(fit), err)
	for _, w := range fit {
		w.done <- err
	}
	return buf
}

// give lets go of the segment after a write.
func (j *Journal) give(n uint64, s *segment, size int64, records int, err error) {
	j.mu.Lock()
	s.held--
	if err == nil {
		s.size += size
		j.size += size
		s.held += records
	} else if info, e := s.file.Stat(); e == nil {
		j.size += info.Size() - s.size
		s.size = info.Size()
	}
	empty := err != nil && s.held == 0 && !s.kept
	s.kept = s.kept || err == nil && records > 0
	// What a failed sync has kept isn't known: nothing is written behind it.
	if err != nil || s.size >= j.c.Segment {
		j.open = 0
	}
	size = s.size
	j.mu.Unlock()
	if err != nil {
		j.c.Log.Warn("journal not written", "segment", n, "records", records, "err", err)
	}
	if empty {
		if err := j.drop(n, size); err != nil {
			j.c.Log.Warn("segment of the journal not deleted", "segment", n, "err", err)
		}
	}
}

// take gives the segment that is written, or begins another, and the room that
// is left in the journal. It is held until give.
func (j *Journal) take() (n uint64, s *segment, room int64, err error) {
	j.mu.Lock()
	n, s, room = j.open, j.segments[j.open], j.c.Bound-j.size
	if s != nil {
		s.held++
	}
	j.mu.Unlock()
	if s != nil {
		return n, s, room, nil
	}
	if room < headBytes+frameBytes {
		return 0, nil, 0, ErrFull
	}
	n = j.next
	j.next++
	file, err := j.begin(n)
	if err != nil {
		return 0, nil, 0, err
	}
	s = &segment{file: file, size: headBytes, held: 1}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.segments[n], j.open, j.size = s, n, j.size+headBytes
	return n, s, room - headBytes, nil
}

// begin makes a segment. Its name and head are on the disk before any record.
func (j *Journal) begin(n uint64) (vfs.File, error) {
	file, err := j.c.FS.Create(j.path(n), vfs.WriteCategoryUnspecified)
	if err != nil {
		return nil, err
	}
	if _, err = file.Write(appendHead(nil, n)); err == nil {
		err = file.Sync()
	}
	if err == nil {
		err = j.syncDir(j.c.Dir)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close(), j.c.FS.Remove(j.path(n)))
	}
	return file, nil
}
