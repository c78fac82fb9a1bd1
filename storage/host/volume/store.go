// Package volume keeps shards in large append-only files with an index beside
// them (Pebble). Whoever waits for durability shares one sync of the data and,
// after it, one of the index: what has been acknowledged survives a power loss.
// It refuses to serve a byte that doesn't match its checksum, to take more than
// its capacity, and to lose anything when the disk is full. It knows nothing of
// leases beyond the number it writes beside a shard; callers keep their own keys
// in the same index, changed in the same transactions (Tx).
package volume

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"hearth/core/fault"
	"hearth/core/proof"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// A Config is what a Store needs. A zero field takes its stated default.
type Config struct {
	Dir        string                        // required: holds volumes, index, lock and ballast
	Capacity   int64                         // required: room for shards and their headers
	FS         vfs.FS                        // default: the operating system's
	VolumeSize int64                         // where a volume ends; default 4 GiB
	Step       int64                         // how much a volume grows at a time; default a 64th of Capacity, 4 to 256 MiB
	Ballast    int64                         // given to the index when the disk is full; default a 64th of Capacity, 8 to 32 MiB
	Synced     interface{ Observe(float64) } // told the seconds of every group sync; may be nil
	Damaged    func(root proof.Hash)         // told of each shard that is found to be damaged, once; may be nil
	Log        *slog.Logger                  // default: discard
}

func (c *Config) check() error {
	if c.Dir == "" || c.Capacity <= 0 {
		return errors.New("open volumes: Dir and Capacity are required")
	}
	if c.FS == nil {
		c.FS = vfs.Default
	}
	if c.VolumeSize == 0 {
		c.VolumeSize = 4 << 30
	}
	if least := page + footprint(proof.MaxShard); c.VolumeSize < least {
		return fmt.Errorf("open volumes: a volume of %d bytes can't hold a shard, %d are needed", c.VolumeSize, least)
	}
	if c.Step == 0 {
		c.Step = min(max(c.Capacity/64, 4<<20), 256<<20)
	}
	if c.Ballast == 0 {
		c.Ballast = max(min(c.Capacity/64, 32<<20), 8<<20)
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Store is an open set of volumes. Its methods are safe together.
type Store struct {
	c       Config
	lock    interface{ Close() error }
	index   *pebble.DB
	ballast *ballast
	buffers sync.Pool // of *[]byte, one block each

	mu      sync.Mutex // guards what follows and the volumes' counters
	volumes map[uint32]*volume
	active  *volume // takes the next record; nil: the next record opens a volume
	next    uint32  // number of the next volume
	used    int64   // footprints of indexed shards and of those being received
	stored  int64   // bytes of indexed shards
	shards  int64
	bad     int64 // damaged shards

	holes   bool       // the file system takes room back inside of files
	tidying sync.Mutex // one Compact at a time

	damaged atomic.Int64
	broken  atomic.Pointer[error] // the index can't be written any more

	ops       chan *op
	closing   chan struct{}  // closed first: nobody enters any more
	done      sync.WaitGroup // everyone who uses a file or the index
	quit      chan struct{}  // closed when they have left
	committer sync.WaitGroup
	closed    sync.Once
}

// Stats is a snapshot of what the store holds.
type Stats struct {
	Capacity int64
	Used     int64 // of Capacity, with headers, padding and shards being received
	Stored   int64 // bytes of shards
	Shards   int64
	Bad      int64 // shards known to be damaged
	Damaged  int64 // damaged blocks found by reads since the start
	Waste    int64 // of the disk: freed inside of volumes, where the file system doesn't take it back
	DiskFull bool  // the index lives on its ballast; nothing is taken
}

// Stats tells what the store holds now.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Stats{
		Capacity: s.c.Capacity, Used: s.used, Stored: s.stored, Shards: s.shards, Bad: s.bad, Waste: s.waste(),
		Damaged: s.damaged.Load(), DiskFull: s.ballast.gone.Load(),
	}
}

// Buffer lends a buffer of one block; give it back with Release.
func (s *Store) Buffer() *[]byte { return s.buffers.Get().(*[]byte) }

// Release takes back a buffer that Buffer lent.
func (s *Store) Release(b *[]byte) { s.buffers.Put(b) }

// Close waits for what is under way and releases files and lock.
func (s *Store) Close() error {
	var err error
	s.closed.Do(func() {
		s.mu.Lock()
		close(s.closing)
		s.mu.Unlock()
		s.done.Wait()
		close(s.quit)
		s.committer.Wait()
		for _, v := range s.volumes {
			err = errors.Join(err, v.close())
		}
		if s.broken.Load() == nil { // else Pebble would wait for itself
			err = errors.Join(err, s.index.Close())
		}
		err = errors.Join(err, s.lock.Close())
	})
	if err != nil {
		return fmt.Errorf("close volumes: %w", err)
	}
	return nil
}

// enter keeps Close from pulling files away; whoever enters must leave.
func (s *Store) enter() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closing:
		return errClosed
	default:
	}
	s.done.Add(1)
	return nil
}

func (s *Store) leave() { s.done.Done() }

var errClosed = fault.New(fault.NotRunning, "the store is closed")
