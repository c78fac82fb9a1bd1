// Package upload brings a stream of bytes to hosts: it cuts it into slabs, seals
// them, places every shard on a host of its own, has slow hosts replaced by
// spares, and has each host sign for what it holds. It lists nothing: that is for
// its caller, once it knows what was placed. It never holds more than the slabs
// of its pool in memory.
package upload

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/core/proof"
	"hearth/storage/index"
	"hearth/storage/remote"
	"hearth/storage/seal"
)

// A Host takes shards for us.
type Host interface {
	Name() string
	Lease() uint64
	// Put sends a shard and returns when it is durable there.
	Put(ctx context.Context, root proof.Hash, body []byte) error
	// Change makes shards that were put part of the lease and takes others out.
	Change(ctx context.Context, add []proof.Shard, remove func() ([]proof.Hash, error)) error
}

// A Config is what an upload needs. A zero field takes its stated default.
type Config struct {
	Class erasure.Class // required
	Pool  *seal.Pool    // required: buffers of that class
	Book  *remote.Book  // required
	// Hosts take the shards, each at most one of a slab; more than n are spares.
	Hosts []Host
	// Intend notes durably what is about to be covered.
	Intend func(ctx context.Context, shards []index.Shard) error

	Slab     int64         // bytes of the stream in one slab; default and most: what one of the class holds
	Slabs    int           // in flight; default 2
	Workers  int           // goroutines that seal one slab; default: one for each processor
	Batch    int64         // bytes of the stream that are covered together; default 64 MiB
	Patience time.Duration // with hosts that fail, while no others are left; default 30s
	Slow     time.Duration // no shard counts as slow before that; default 2s
	Retry    time.Duration // pause before a failed host is tried again; default 1s

	Read   func(bytes int64)             // called after bytes of the stream were taken in
	Placed func(shards int, bytes int64) // called after shards became durable at hosts
	Log    *slog.Logger                  // default: discard
}

func (c *Config) complete() error {
	if c.Pool == nil || c.Book == nil || c.Intend == nil {
		return errors.New("upload: Pool, Book and Intend are needed")
	}
	if err := c.Class.Validate(); err != nil {
		return err
	}
	or := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	or(&c.Patience, 30*time.Second)
	or(&c.Slow, 2*time.Second)
	or(&c.Retry, time.Second)
	if c.Slab <= 0 || c.Slab > c.Class.SlabSize() {
		c.Slab = c.Class.SlabSize()
	}
	if c.Slabs == 0 {
		c.Slabs = 2
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Batch == 0 {
		c.Batch = 64 << 20
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

func (c *Config) placed(bytes int64) {
	if c.Placed != nil {
		c.Placed(1, bytes)
	}
}

// An upload is one stream on its way.
type upload struct {
	c     Config
	slots chan struct{}

	mu    sync.Mutex
	slabs []*sealed // in the order of the stream
	ready []*sealed // placed, not covered
	size  int64     // bytes of ready
}

// Put uploads everything that src gives, after head. The slabs come in the order
// of the stream, each with the places that have signed for its shards: all n
// where nothing failed, and maybe too few. After an error nothing is to be kept;
// what was covered was intended first.
func Put(ctx context.Context, c Config, head []byte, src io.Reader) ([]index.PlacedSlab, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	u := &upload{c: c, slots: make(chan struct{}, c.Slabs)}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	err := u.read(ctx, head, src, func(buf *seal.Buffer, n int64, s *sealed) {
		wg.Go(func() {
			err := u.send(ctx, buf, n, s)
			<-u.slots // the next slab is on its way while this one is being covered
			if err == nil {
				err = u.done(ctx, n, s)
			}
			if err != nil {
				cancel(err)
			}
		})
	})
	if err != nil {
		cancel(err)
	}
	wg.Wait()
	if err := context.Cause(ctx); err != nil {
		return nil, err
	}
	if err := cover(ctx, &u.c, u.take(0)); err != nil {
		return nil, err
	}
	out := make([]index.PlacedSlab, len(u.slabs))
	for i, s := range u.slabs {
		out[i] = s.PlacedSlab
	}
	return out, nil
}

// read cuts the stream into slabs and starts each in a buffer of its own.
func (u *upload) read(ctx context.Context, head []byte, src io.Reader, start func(*seal.Buffer, int64, *sealed)) error {
	for {
		select {
		case u.slots <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		buf, err := u.c.Pool.Get(ctx)
		if err != nil {
			return err
		}
		room := buf.Data()[:u.c.Slab]
		n := copy(room, head)
		head = head[n:]
		m, err := u.fill(ctx, src, room[n:])
		if n += m; n == 0 || err != nil && !errors.Is(err, io.EOF) {
			u.c.Pool.Put(buf)
			if n == 0 && errors.Is(err, io.EOF) {
				return nil
			}
			return fmt.Errorf("read what is to be stored: %w", err)
		}
		s := &sealed{}
		rand.Read(s.ID[:]) // never fails
		u.mu.Lock()
		u.slabs = append(u.slabs, s)
		u.mu.Unlock()
		start(buf, int64(n), s)
		if err != nil {
			return nil // the end
		}
	}
}

// fill reads until p is full or the stream ends, which is io.EOF. A stream that
// says it was cut short (io.ErrUnexpectedEOF) hasn't ended.
func (u *upload) fill(ctx context.Context, src io.Reader, p []byte) (n int, err error) {
	const step = 1 << 20
	for n < len(p) && err == nil {
		if ctx.Err() != nil {
			return n, context.Cause(ctx)
		}
		var m int
		m, err = src.Read(p[n:min(n+step, len(p))])
		n += m
		if m > 0 && u.c.Read != nil {
			u.c.Read(int64(m))
		}
	}
	return n, err
}

// done takes a slab that is placed, and covers a batch when there is one.
func (u *upload) done(ctx context.Context, n int64, s *sealed) error {
	u.mu.Lock()
	u.ready = append(u.ready, s)
	u.size += n
	u.mu.Unlock()
	return cover(ctx, &u.c, u.take(u.c.Batch))
}

// send seals and places one slab, and gives its buffer back.
func (u *upload) send(ctx context.Context, buf *seal.Buffer, n int64, s *sealed) error {
	defer u.c.Pool.Put(buf)
	var err error
	if s.Slab.Slab, err = seal.Seal(buf, n, seal.NewKeys(), u.c.Workers); err != nil {
		return err
	}
	s.At = make([]index.Place, u.c.Class.N)
	// Each slab begins elsewhere in the list, so that data shards, which are read
	// most, are spread.
	turn := int(s.ID[0]) % max(1, min(len(u.c.Hosts), u.c.Class.N))
	var failed error
	s.hosts, failed = place(ctx, &u.c, turned(u.c.Hosts, u.c.Class.N, turn), s.Roots, u.c.Class.Enough(), buf.Shard)
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if failed != nil {
		u.c.Log.Info("slab not complete", "slab", s.ID, "err", failed)
	}
	return enough(s, failed)
}

// enough refuses a slab that so few hosts hold that it doesn't count as stored.
func enough(s *sealed, why error) error {
	got := 0
	for _, h := range s.hosts {
		if h != nil {
			got++
		}
	}
	if need := s.Class.Enough(); got < need {
		if why == nil {
			why = errors.New("no others are left")
		}
		code := fault.NotEnoughHosts
		if remote.Classify(why) == remote.Own {
			code = fault.DiskFull
		}
		return fault.New(code, "place slab: %d hosts took a shard, %d are needed: %w", got, need, why)
	}
	return nil
}

// turned is the first n of the list, begun at turn, then the spares.
func turned(hosts []Host, n, turn int) []Host {
	n = min(n, len(hosts))
	out := make([]Host, 0, len(hosts))
	out = append(out, hosts[turn:n]...)
	out = append(out, hosts[:turn]...)
	return append(out, hosts[n:]...)
}

// take gives the slabs that wait to be covered, if they are at least so many bytes.
func (u *upload) take(least int64) []*sealed {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.size < least {
		return nil
	}
	list := u.ready
	u.ready, u.size = nil, 0
	return list
}
