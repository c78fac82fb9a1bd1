package market

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"hearth/core/canon"
	"hearth/core/fault"
	"hearth/core/money"
	"hearth/core/statement"
)

// A Record is what one side keeps of one lease: the newest statement, and the
// cumulative figures from which the next one is made.
type Record struct {
	Newest statement.Signed // the zero statement (Seq 0) before the first
	Rent   money.Amount     // the part of Newest.Total that is for time
	In     uint64           // bytes the host has received
	Out    uint64           // bytes the host has sent
}

func (r Record) encode(lease uint64) []byte {
	return canon.New(1).Uint64(lease).Blob(r.Newest.Encode()).Uint64(uint64(r.Rent)).Uint64(r.In).Uint64(r.Out).Bytes()
}

func decodeRecord(b []byte) (lease uint64, r Record, err error) {
	c := canon.Read(b, 1)
	lease = c.Uint64()
	body := c.Blob(canon.MaxBytes)
	r = Record{Rent: money.Amount(c.Uint64()), In: c.Uint64(), Out: c.Uint64()}
	if err := c.Done(); err != nil {
		return 0, r, err
	}
	r.Newest, err = statement.Decode(body)
	return lease, r, err
}

// journal keeps the Records of all leases in one append-only file. Append
// returns once its record is on disk; all that wait share one fsync. A torn tail
// is cut off on open, since nobody has been told of it; damage before the tail
// is an error, and the file is kept.
type journal struct {
	path string
	mu   sync.Mutex // guards what follows
	f    *os.File
	all  map[uint64]Record
	size int64
	live int64 // bytes the newest records need
	err  error // first failed write: nothing is taken after it

	queue  []*entry
	wake   chan struct{}
	stop   chan struct{}
	closed chan struct{}
}

type entry struct {
	lease uint64
	rec   Record
	gone  bool
	done  chan error
}

const (
	journalMagic  = "hearth/bargains/1\n"
	maxRecord     = 4096
	journalSlack  = 4 << 20 // garbage that is worth rewriting the file
	frameOverhead = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// openJournal opens or makes the file at path.
func openJournal(path string) (*journal, error) {
	j := &journal{path: path, all: map[uint64]Record{}, wake: make(chan struct{}, 1), stop: make(chan struct{}), closed: make(chan struct{})}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("open bargains: %w", err)
	}
	b, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("open bargains: %w", err)
	}
	good, err := j.load(b)
	if err != nil {
		return nil, fault.New(fault.DamagedFile, "open bargains %s: %w", path, err)
	}
	if good < int64(len(b)) {
		if err := os.Truncate(path, good); err != nil {
			return nil, fmt.Errorf("open bargains: %w", err)
		}
	}
	if err := j.rewrite(); err != nil {
		return nil, fmt.Errorf("open bargains: %w", err)
	}
	go j.run()
	return j, nil
}

// load reads the records of b and says how many bytes are whole.
func (j *journal) load(b []byte) (good int64, err error) {
	if len(b) < len(journalMagic) {
		return 0, nil // made and not written yet, or torn at birth
	}
	if string(b[:len(journalMagic)]) != journalMagic {
		return 0, fault.New(fault.UnknownFormat, "it doesn't begin with %q", journalMagic)
	}
	at := len(journalMagic)
	for at < len(b) {
		rest := b[at:]
		if len(rest) < frameOverhead {
			return int64(at), nil
		}
		n, sum := int(binary.BigEndian.Uint32(rest)), binary.BigEndian.Uint32(rest[4:])
		whole := n <= maxRecord && frameOverhead+n <= len(rest)
		if !whole || crc32.Checksum(rest[frameOverhead:frameOverhead+n], castagnoli) != sum {
			if !whole && n <= maxRecord || j.lastFrame(rest) {
				return int64(at), nil
			}
			return 0, fmt.Errorf("the record at byte %d is damaged", at)
		}
		if err := j.apply(rest[frameOverhead : frameOverhead+n]); err != nil {
			return 0, fmt.Errorf("the record at byte %d: %w", at, err)
		}
		at += frameOverhead + n
	}
	return int64(at), nil
}

// lastFrame says whether no whole record follows the broken one at the start of
// rest: then it is a torn tail and not damage.
func (j *journal) lastFrame(rest []byte) bool {
	for at := 1; at+frameOverhead <= len(rest); at++ {
		n := int(binary.BigEndian.Uint32(rest[at:]))
		if n == 0 || n > maxRecord || at+frameOverhead+n > len(rest) {
			continue
		}
		if crc32.Checksum(rest[at+frameOverhead:at+frameOverhead+n], castagnoli) == binary.BigEndian.Uint32(rest[at+4:]) {
			return false
		}
	}
	return true
}

// apply takes one record: nine bytes are a lease that was forgotten.
func (j *journal) apply(b []byte) error {
	if len(b) == 9 {
		delete(j.all, binary.BigEndian.Uint64(b[1:]))
		return nil
	}
	lease, r, err := decodeRecord(b)
	if err == nil {
		j.all[lease] = r
	}
	return err
}

func frame(b []byte) []byte {
	out := binary.BigEndian.AppendUint32(nil, uint32(len(b)))
	out = binary.BigEndian.AppendUint32(out, crc32.Checksum(b, castagnoli))
	return append(out, b...)
}

// rewrite replaces the file by one with only the newest records. The caller
// holds mu, or is alone.
func (j *journal) rewrite() error {
	out := []byte(journalMagic)
	for lease, r := range j.all {
		out = append(out, frame(r.encode(lease))...)
	}
	tmp := j.path + ".new"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(out); err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(tmp, j.path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(j.path))
	}
	if err != nil {
		f.Close()
		os.Remove(tmp)
		return diskError(err)
	}
	if j.f != nil {
		j.f.Close()
	}
	j.f, j.size, j.live = f, int64(len(out)), int64(len(out))
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

func diskError(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fault.New(fault.DiskFull, "write bargains: %w", err)
	}
	return err
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

// append writes the newest record of a lease and returns when it is durable.
func (j *journal) append(lease uint64, r Record) error {
	return j.put(&entry{lease: lease, rec: r, done: make(chan error, 1)})
}

// forget drops a lease that is closed for good.
func (j *journal) forget(lease uint64) error {
	return j.put(&entry{lease: lease, gone: true, done: make(chan error, 1)})
}

func (j *journal) put(e *entry) error {
	j.mu.Lock()
	if j.err != nil {
		defer j.mu.Unlock()
		return j.err
	}
	j.queue = append(j.queue, e)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
	return <-e.done
}

// run gives one fsync to everything that waits.
func (j *journal) run() {
	defer close(j.closed)
	for {
		select {
		case <-j.wake:
		case <-j.stop:
			return
		}
		j.mu.Lock()
		batch, f, at := j.queue, j.f, j.size
		j.queue = nil
		j.mu.Unlock()
		if len(batch) == 0 {
			continue
		}
		var out []byte
		for _, e := range batch {
			if e.gone {
				out = append(out, frame(binary.BigEndian.AppendUint64([]byte{1}, e.lease))...)
			} else {
				out = append(out, frame(e.rec.encode(e.lease))...)
			}
		}
		_, err := f.WriteAt(out, at)
		if err == nil {
			err = syscall.Fdatasync(int(f.Fd()))
		}
		j.settle(batch, int64(len(out)), err)
	}
}

// settle makes a written batch visible and answers those who wait.
func (j *journal) settle(batch []*entry, n int64, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		// What lies behind size is overwritten by the next batch: nothing is lost
		// and the tail is cut on open, so a full disk is survived.
		err = diskError(fmt.Errorf("write bargains: %w", err))
	} else {
		j.size += n
		for _, e := range batch {
			if e.gone {
				delete(j.all, e.lease)
			} else {
				j.all[e.lease] = e.rec
			}
		}
		if j.size > 2*int64(len(j.all))*1024+journalSlack {
			if werr := j.rewrite(); werr != nil {
				j.err = werr
			}
		}
	}
	for _, e := range batch {
		e.done <- err
	}
}

// close waits for what is queued and closes the file.
func (j *journal) close() error {
	j.mu.Lock()
	if j.err == nil {
		j.err = fmt.Errorf("write bargains: %w", io.ErrClosedPipe)
	}
	j.mu.Unlock()
	close(j.stop)
	<-j.closed
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range j.queue {
		e.done <- j.err
	}
	j.queue = nil
	return j.f.Close()
}
