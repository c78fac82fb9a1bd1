// Package download brings objects back from hosts: any k shards of a slab, from
// the hosts that answer first, each block verified before a byte of it is used.
// Small ranges are read from the one host that has them. It writes nothing that
// isn't right, and in order; who asked may be left with a prefix and an error. It
// never holds more than the slabs of its pool in memory.
package download

import (
	"context"
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

// A Host serves shards to us. What it gives is verified by the callee.
type Host interface {
	// Get fills into with the blocks of a shard from the one numbered first on.
	Get(ctx context.Context, root proof.Hash, size int64, first int, into []byte, got func(n int)) error
	// Range reads the aligned subtree of span bytes around off; lo is its start.
	Range(ctx context.Context, root proof.Hash, size, off, span int64) (data []byte, lo int64, err error)
}

// A Config is what a Reader needs. A zero field takes its stated default.
type Config struct {
	// Resolve finds the host of a place.
	Resolve func(ctx context.Context, p index.Place) (Host, error)
	// Pool lends buffers of a class.
	Pool func(c erasure.Class) (*seal.Pool, error)
	Book *remote.Book // required

	Workers int           // goroutines that open one slab; default: one for each processor
	Slabs   int           // in flight; default 2
	Stall   time.Duration // without a byte, before another host is asked; default 500ms
	// Lost is told of shards that their host no longer has or has damaged, once
	// the slab was read without them.
	Lost func(slab index.SlabID, shard int, at index.Place, why error)
	Log  *slog.Logger // default: discard
}

// A Reader reads objects. It is safe for concurrent use.
type Reader struct{ c Config }

// New returns a Reader, or says which part of c is missing.
func New(c Config) (*Reader, error) {
	if c.Resolve == nil || c.Pool == nil || c.Book == nil {
		return nil, errors.New("download: Resolve, Pool and Book are needed")
	}
	if c.Workers == 0 {
		c.Workers = runtime.GOMAXPROCS(0)
	}
	if c.Slabs == 0 {
		c.Slabs = 2
	}
	if c.Stall == 0 {
		c.Stall = 500 * time.Millisecond
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return &Reader{c}, nil
}

func (c *Config) lost(slab index.SlabID, shard int, at index.Place, why error) {
	if c.Lost != nil {
		c.Lost(slab, shard, at, why)
	}
}

// A stretch is what is wanted of one slab.
type stretch struct {
	slab        *index.PlacedSlab
	off, length int64
	last        bool // of its read: nothing waits behind it with a buffer
}

// stretches cuts [off, off+length) of a file along its extents.
func stretches(f *index.File, off, length int64) []stretch {
	var out []stretch
	for _, e := range f.Manifest.Extents {
		if off >= e.Length {
			off -= e.Length
			continue
		}
		n := min(e.Length-off, length)
		if n <= 0 {
			break
		}
		out = append(out, stretch{slab: f.Slabs[e.Slab], off: e.Offset + off, length: n})
		off, length = 0, length-n
	}
	if len(out) > 0 {
		out[len(out)-1].last = true
	}
	return out
}

// Read writes length bytes of the file from off on to w, in order.
func (r *Reader) Read(ctx context.Context, f *index.File, off, length int64, w io.Writer) error {
	if off < 0 || length < 0 || off > f.Size || length > f.Size-off {
		return fault.New(fault.BadRequest, "read %s: bytes %d to %d of %d", f.Ref, off, off+length, f.Size)
	}
	if f.Manifest.Inline != nil {
		_, err := w.Write(f.Manifest.Inline[off : off+length])
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer wg.Wait() // nothing is left behind that uses a buffer
	slots := make(chan struct{}, r.c.Slabs)
	before := make(chan struct{}) // closed when everything before was written
	close(before)
	for _, s := range stretches(f, off, length) {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("read %s: %w", f.Ref, context.Cause(ctx))
		}
		// Buffers are taken in the order of the bytes: a read that waits for one never
		// keeps another that it can't write from yet, so that reads at a time don't
		// wait for each other.
		lent, err := r.lend(ctx, s)
		if err != nil {
			cancel(err)
			return fmt.Errorf("read %s: %w", f.Ref, context.Cause(ctx))
		}
		mine, done := before, make(chan struct{})
		before = done
		wg.Go(func() {
			defer func() { <-slots }()
			defer lent.back()
			turn := func() error { // waits for its turn to write
				select {
				case <-mine:
					return nil
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
			if err := r.stretch(ctx, s, lent.buf, turn, w); err != nil {
				cancel(err)
				return
			}
			close(done)
		})
	}
	select {
	case <-before:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("read %s: %w", f.Ref, context.Cause(ctx))
	}
}

// direct is how much of a slab is read from the hosts of its data shards alone;
// more than that is fetched with all the means of a race.
const direct = 2 * proof.MaxShard

// small says that a stretch is read from the hosts of its data shards alone. Where
// that fails it needs a buffer after all, so it may not keep others waiting.
func (s stretch) small() bool { return s.last && s.length < s.slab.Size && s.length <= direct }

// A lending is a buffer of a pool; a small stretch needs none.
type lending struct {
	pool *seal.Pool
	buf  *seal.Buffer
}

func (r *Reader) lend(ctx context.Context, s stretch) (lending, error) {
	if s.small() {
		return lending{}, nil
	}
	pool, err := r.c.Pool(s.slab.Class)
	if err != nil {
		return lending{}, err
	}
	buf, err := pool.Get(ctx)
	return lending{pool, buf}, err
}

func (l lending) back() {
	if l.buf != nil {
		l.pool.Put(l.buf)
	}
}

func (r *Reader) stretch(ctx context.Context, s stretch, buf *seal.Buffer, turn func() error, w io.Writer) error {
	if s.small() {
		return r.part(ctx, s, turn, w)
	}
	return r.whole(ctx, s, buf, turn, w)
}

// whole reads a slab into a buffer and writes what is wanted of it.
func (r *Reader) whole(ctx context.Context, s stretch, buf *seal.Buffer, turn func() error, w io.Writer) error {
	return r.fill(ctx, s.slab, buf, func(buf *seal.Buffer, have []int) error { return r.write(s, buf, have, turn, w) })
}

// write opens a slab that is fetched and writes what is wanted of it, in its turn.
func (r *Reader) write(s stretch, buf *seal.Buffer, have []int, turn func() error, w io.Writer) error {
	if err := seal.Open(buf, s.slab.Slab.Slab, have, r.c.Workers); err != nil {
		return err
	}
	if err := turn(); err != nil {
		return err
	}
	_, err := w.Write(buf.Data()[s.off : s.off+s.length])
	return err
}

// Slab fetches any k shards of a slab, verified, and lends them to use.
func (r *Reader) Slab(ctx context.Context, s *index.PlacedSlab, use func(buf *seal.Buffer, have []int) error) error {
	pool, err := r.c.Pool(s.Class)
	if err != nil {
		return err
	}
	buf, err := pool.Get(ctx)
	if err != nil {
		return err
	}
	defer pool.Put(buf)
	return r.fill(ctx, s, buf, use)
}

func (r *Reader) fill(ctx context.Context, s *index.PlacedSlab, buf *seal.Buffer, use func(buf *seal.Buffer, have []int) error) error {
	if err := buf.Fit(s.Slab.Slab); err != nil {
		return err
	}
	have, err := fetch(ctx, &r.c, s, spanOf(s.ShardSize, 0, s.ShardSize), buf.Shard)
	if err != nil {
		return err
	}
	return use(buf, have)
}
