// Package host is the storage street seen from the machine that rents out its
// disk: it takes shards from clients, keeps for each lease the tree that
// statements sign, serves what has been paid ahead and proves what it holds. It
// refuses bytes that don't match their root, more than its capacity, traffic
// that isn't paid, and peers without a grant of the lease's client. It doesn't
// sign anything: the market does, and tells it which change has taken effect.
package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/host/volume"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/prometheus/client_golang/prometheus"
)

// A Config is what a Host needs. A zero field takes its stated default.
type Config struct {
	Dir        string        // required: holds volumes and index
	Capacity   int64         // required: bytes of disk for shards
	FS         vfs.FS        // default: the operating system's
	VolumeSize int64         // default 4 GiB
	Ballast    int64         // kept for the index on a full disk; default a 64th of Capacity, 8 to 32 MiB
	PendingTTL time.Duration // how long a shard may wait for its statement; default 24 h
	MaxPending int64         // bytes of one lease that may wait; default 4 GiB, at most a quarter of Capacity
	Trash      time.Duration // how long what no lease needs stays, if there is room; default: not at all
	ScrubEvery time.Duration // in which every shard is read once and compared with its root; default 30 d
	Pace       int64         // bytes a second at most, of scrubbing and compacting; default 16 MiB
	// Damaged is told of each shard that is found damaged, once for each lease that
	// needs it. It must not wait. Default: nobody is told.
	Damaged  func(lease uint64, root proof.Hash)
	Trees    int                   // slots of lease trees kept in memory while nobody uses them; default 1 M
	Posted   bool                  // keep what the ledger's root needs until Posted says that it has gone on
	Registry prometheus.Registerer // metrics go there; nil: nowhere
	Now      func() time.Time      // default: time.Now
	Log      *slog.Logger          // default: discard
}

func (c *Config) check() {
	if c.PendingTTL == 0 {
		c.PendingTTL = 24 * time.Hour
	}
	if c.MaxPending == 0 {
		c.MaxPending = max(min(4<<30, c.Capacity/4), proof.MaxShard)
	}
	if c.Trees == 0 {
		c.Trees = 1 << 20
	}
	if c.ScrubEvery == 0 {
		c.ScrubEvery = 30 * 24 * time.Hour
	}
	if c.Pace == 0 {
		c.Pace = 16 << 20
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
}

// A Host keeps shards under leases. Its methods are safe together.
type Host struct {
	c     Config
	store *volume.Store
	m     *metrics

	mu      sync.Mutex // guards what follows
	shelves map[uint64]*shelf
	slots   int              // of all loaded trees
	clock   int64            // of uses of shelves
	pending map[uint64]int64 // bytes that wait for a statement, by lease
	doubt   map[uint64]bool  // leases whose staged changes await Reconcile
	ending  map[uint64]bool  // leases that are being dropped
	kept    int64            // bytes of shards removed since what is posted
	trash   int64            // bytes of shards that no lease needs
	scrub   scrubbing        // how far the reading of everything is

	served, received, reads, scrubbed atomic.Int64

	tidy     chan struct{} // room is short: compact now
	emptying sync.Mutex    // one EmptyTrash at a time

	cancel context.CancelFunc // of the work in the background
	stop   sync.Once
	done   sync.WaitGroup
}

// Stats is a snapshot of what a host holds and has done since its start.
type Stats struct {
	Capacity int64
	Used     int64 // of Capacity
	Stored   int64 // bytes of shards, pending ones included
	Pending  int64
	Kept     int64 // about the bytes that only roots on the ledger still need
	Shards   int64
	Served   int64
	Received int64
	Reads    int64     // requests for bytes that were answered
	Damaged  int64     // damaged blocks found
	Bad      int64     // damaged shards that are held
	Trash    int64     // bytes of shards that no lease needs, of Stored
	Waste    int64     // of the disk: freed, and not back yet; see volume.Stats
	Scrubbed int64     // bytes read in the background since the start
	Scrub    time.Time // when the last reading of everything ended; zero: none has
	DiskFull bool
}

// Open opens the host in c.Dir, or makes one, and goes on with what the last
// process has left unfinished. Changes that were staged then wait for Reconcile.
func Open(c Config) (*Host, error) {
	c.check()
	m := newMetrics()
	h := &Host{
		c: c, m: m, shelves: map[uint64]*shelf{}, pending: map[uint64]int64{},
		doubt: map[uint64]bool{}, ending: map[uint64]bool{}, tidy: make(chan struct{}, 1),
	}
	var err error
	h.store, err = volume.Open(volume.Config{
		Dir: c.Dir, Capacity: c.Capacity, FS: c.FS, VolumeSize: c.VolumeSize, Ballast: c.Ballast, Synced: m.fsync, Damaged: h.damaged, Log: c.Log,
	})
	if err != nil {
		return nil, err
	}
	if err := h.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("open host in %s: %w", c.Dir, err), h.store.Close())
	}
	if c.Registry != nil {
		if err := c.Registry.Register(h); err != nil {
			return nil, errors.Join(fmt.Errorf("open host: %w", err), h.store.Close())
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	h.cancel = cancel
	for _, work := range []func(context.Context){h.sweepNowAndThen, h.compactNowAndThen, h.scrubOnAndOn} {
		h.done.Go(func() { work(ctx) })
	}
	return h, nil
}

// resume takes over what the index says is under way.
func (h *Host) resume() error {
	if err := h.adopt(); err != nil {
		return err
	}
	err := h.store.Each([]byte{keyPending}, func(key, value []byte) error {
		lease, _, err := splitLeaseRoot(key)
		if err != nil {
			return err
		}
		p, err := parsePending(value)
		h.pending[lease] += p.size
		return err
	})
	if err != nil {
		return err
	}
	err = h.store.Each([]byte{keyStaged}, func(key, _ []byte) error {
		lease, _, err := splitLeaseRoot(key)
		h.doubt[lease] = true
		return err
	})
	if err != nil {
		return err
	}
	err = h.store.Each([]byte{keyPast}, func(_, value []byte) error {
		p, err := parsePast(value)
		h.kept += p.removed()
		return err
	})
	if err != nil {
		return err
	}
	err = h.store.Each([]byte{keyTrash}, func(_, value []byte) error {
		w, err := parsePending(value)
		h.trash += w.size
		return err
	})
	if err != nil {
		return err
	}
	if err := h.loadScrub(); err != nil {
		return err
	}
	var ending []uint64
	err = h.store.Each([]byte{keyEnding}, func(key, _ []byte) error {
		lease, err := splitLease(key)
		ending = append(ending, lease)
		return err
	})
	if err != nil {
		return err
	}
	for _, lease := range ending {
		if err := h.Drop(lease); err != nil {
			return err
		}
	}
	return nil
}

// Free is how many bytes more the host could take: trash gives way.
func (h *Host) Free() uint64 {
	s := h.store.Stats()
	if s.DiskFull {
		return 0
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return uint64(max(0, s.Capacity-s.Used-s.Waste+h.trash))
}

// Stats tells what the host holds and has done.
func (h *Host) Stats() Stats {
	s := h.store.Stats()
	h.mu.Lock()
	defer h.mu.Unlock()
	out := Stats{
		Capacity: s.Capacity, Used: s.Used, Stored: s.Stored, Shards: s.Shards, Damaged: s.Damaged, DiskFull: s.DiskFull,
		Served: h.served.Load(), Received: h.received.Load(), Reads: h.reads.Load(), Kept: h.kept, Bad: s.Bad, Trash: h.trash, Waste: s.Waste,
		Scrubbed: h.scrubbed.Load(), Scrub: h.scrub.ended,
	}
	for _, n := range h.pending {
		out.Pending += n
	}
	return out
}

// Check reads a shard and compares all of it with its root.
func (h *Host) Check(root proof.Hash) error { return h.store.Check(root) }

// Close ends the host's own work and closes its files. Who serves requests
// stops before.
func (h *Host) Close() error {
	var err error
	h.stop.Do(func() {
		h.cancel()
		h.done.Wait()
		if h.c.Registry != nil {
			h.c.Registry.Unregister(h)
		}
		err = h.store.Close()
	})
	return err
}

// now is the time in unix seconds.
func (h *Host) now() int64 { return h.c.Now().Unix() }

// bad says that the index holds what this program never writes.
func bad(what string, b []byte) error {
	return fault.New(fault.DamagedFile, "read index: malformed %s %x", what, b[:min(len(b), 48)])
}
