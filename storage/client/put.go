package client

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"sync"

	"hearth/core/erasure"
	"hearth/core/fault"
	"hearth/storage/index"
	"hearth/storage/upload"
)

// PutOptions say how an object is stored. The zero value will do.
type PutOptions struct {
	Size  int64         // bytes to come, if known: hosts are chosen and paid accordingly
	Class erasure.Class // default: the client's
	Type  string        // media type
	Extra map[string]string
	Attrs index.Attrs // what may change later without a new version
	If    index.Condition
	// Wait returns a small object when hosts have it, not when the journal has.
	Wait bool
	// ETag is asked when all bytes were read; default: made from the shards' roots.
	ETag func() string
	// Progress is called from several goroutines, one at a time.
	Progress func(Progress)

	commit func(ctx context.Context, work int64, d index.Draft) (index.Object, error) // default: the index's own
}

// Progress is how far a transfer is.
type Progress struct {
	Bytes  int64 // of the object: read from the source, or written to the sink
	Shards int   // durable at hosts
	Sent   int64 // bytes of these shards
	Hosts  int   // that take part
}

// A Result is what became of a put.
type Result struct {
	index.Object
	Slabs   int
	Hosts   int // that hold some of it
	Pending int // shards that are still to be placed: it is stored, and being completed
}

// unknownSize is what is assumed of a stream that doesn't say its length.
const unknownSize = 64 << 20

// Put stores what src gives. When it returns without an error the object is
// listed and durable: all shards of it are with hosts that have signed for them,
// or at least Class.Enough() of each slab, with the others pending. An object of
// at most Config.Small bytes is in this machine's journal first, unless Wait is
// set, and all its shards are pending. After an error nothing is listed, and what
// was placed is removed in the background.
func (x *Client) Put(ctx context.Context, ref index.Ref, src io.Reader, o PutOptions) (Result, error) {
	if o.Class == (erasure.Class{}) {
		o.Class = x.c.Class
	}
	if err := o.Class.Validate(); err != nil {
		return Result{}, err
	}
	head := make([]byte, index.MaxInline)
	n, err := io.ReadFull(src, head)
	if head = head[:n]; errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) && short(src) {
		return x.putInline(ctx, ref, head, o)
	}
	if err != nil {
		return Result{}, fmt.Errorf("put %s: read what is to be stored: %w", ref, err)
	}
	if x.packer != nil && o.Class == x.c.Class && o.Size <= x.c.Small && !index.Hidden(ref.Bucket) {
		var whole bool
		if head, whole, err = x.readSmall(head, src, o.Size); err != nil {
			return Result{}, fmt.Errorf("put %s: read what is to be stored: %w", ref, err)
		}
		if whole {
			return x.putSmall(ctx, ref, head, o)
		}
	}
	id, err := x.c.Index.Begin(ctx, ref)
	if err != nil {
		return Result{}, err
	}
	res, err := x.put(ctx, id, ref, head, src, o)
	if err != nil {
		defer x.wake()
		if e := x.c.Index.Abort(context.WithoutCancel(ctx), id); e != nil {
			x.c.Log.Error("upload not ended", "name", ref, "err", e) // Reclaim does it at the next start
		}
		if ctx.Err() != nil && fault.CodeOf(err) == fault.Internal {
			err = fault.New(fault.Interrupted, "%w", err)
		}
		return Result{}, fmt.Errorf("put %s: %w", ref, err)
	}
	if res.Pending > 0 {
		x.wake()
	}
	return res, nil
}

// readSmall reads on, up to the size of a small object; whole says that this was
// all of it.
func (x *Client) readSmall(head []byte, src io.Reader, size int64) (body []byte, whole bool, err error) {
	room := x.c.Small + 1
	if size > 0 {
		room = min(room, max(size, int64(len(head)))+1)
	}
	body = append(make([]byte, 0, room), head...)
	for int64(len(body)) < x.c.Small+1 {
		n, err := src.Read(body[len(body):cap(body)])
		body = body[:len(body)+n]
		if errors.Is(err, io.EOF) {
			return body, int64(len(body)) <= x.c.Small, nil
		}
		if err != nil {
			return nil, false, err
		}
		if len(body) == cap(body) { // more than was said
			body = append(body, 0)[:len(body)]
		}
	}
	return body, false, nil
}

// putSmall keeps an object in the journal until it is packed with others, or,
// where it is waited for or there is no room, has it packed now.
func (x *Client) putSmall(ctx context.Context, ref index.Ref, body []byte, o PutOptions) (Result, error) {
	d := index.Draft{Ref: ref, Type: o.Type, Extra: o.Extra, Attrs: o.Attrs, If: o.If}
	if o.ETag != nil {
		d.ETag = o.ETag()
	} else {
		sum := sha256.Sum256(body)
		d.ETag = hex.EncodeToString(sum[:16])
	}
	var res Result
	wait, err := o.Wait || x.c.Journal == nil, error(nil)
	if !wait {
		res, wait, err = x.keep(ctx, d, body)
	}
	if err == nil && wait {
		res, err = x.packer.await(ctx, &d, body)
	}
	if err != nil {
		return Result{}, fmt.Errorf("put %s: %w", ref, err)
	}
	if o.Progress != nil {
		p := Progress{Bytes: int64(len(body)), Hosts: res.Hosts}
		if res.Slabs > 0 {
			p.Shards = res.Slabs*x.c.Class.N - res.Pending
		}
		o.Progress(p)
	}
	return res, nil
}

// short tells the end of a stream from one that says it was cut short: the one
// has ended, the other says so again.
func short(src io.Reader) bool {
	var b [1]byte
	_, err := src.Read(b[:])
	return errors.Is(err, io.EOF)
}

// putInline keeps a tiny object in the index.
func (x *Client) putInline(ctx context.Context, ref index.Ref, b []byte, o PutOptions) (Result, error) {
	d := index.Draft{Ref: ref, Type: o.Type, Extra: o.Extra, Attrs: o.Attrs, If: o.If}
	if len(b) > 0 {
		d.Manifest.Inline = b
	}
	sum := sha256.Sum256(b)
	d.ETag = hex.EncodeToString(sum[:16])
	if o.ETag != nil {
		d.ETag = o.ETag()
	}
	obj, err := x.c.Index.Commit(ctx, 0, d)
	if err == nil && o.Progress != nil {
		o.Progress(Progress{Bytes: int64(len(b))})
	}
	return Result{Object: obj}, err
}

func (x *Client) put(ctx context.Context, id int64, ref index.Ref, head []byte, src io.Reader, o PutOptions) (Result, error) {
	size := o.Size
	if size <= 0 {
		size = unknownSize
	}
	hosts, err := x.choose(ctx, o.Class, size)
	if err != nil {
		return Result{}, err
	}
	c, err := x.upload(id, o.Class, hosts)
	if err != nil {
		return Result{}, err
	}
	c.Slab = x.slab(o.Class, size)
	track(&c, o.Progress, int64(len(head)), len(hosts))
	slabs, err := upload.Put(ctx, c, head, src)
	if err != nil {
		return Result{}, err
	}
	pending, err := x.complement(ctx, id, slabs)
	if err != nil {
		return Result{}, err
	}
	d := index.Draft{Ref: ref, Type: o.Type, Extra: o.Extra, Attrs: o.Attrs, If: o.If, Slabs: slabs, ETag: etag(slabs)}
	if o.ETag != nil {
		d.ETag = o.ETag()
	}
	for _, s := range slabs {
		d.Manifest.Extents = append(d.Manifest.Extents, index.Extent{Slab: s.ID, Length: s.Size})
	}
	commit := x.c.Index.Commit
	if o.commit != nil {
		commit = o.commit
	}
	obj, err := commit(ctx, id, d)
	if err != nil {
		return Result{}, err
	}
	return Result{Object: obj, Slabs: len(slabs), Hosts: holders(slabs), Pending: pending}, nil
}

// complement places what is missing of new slabs, and refuses one that fewer
// hosts signed for than are enough. It counts what is still pending.
func (x *Client) complement(ctx context.Context, id int64, slabs []index.PlacedSlab) (pending int, err error) {
	for i := range slabs {
		s := &slabs[i]
		if s.Placed() < s.Class.N {
			// Hosts were waited for already; this is for those that took a shard and
			// then didn't sign.
			if err := x.fill(ctx, id, s, x.c.Patience/6); err != nil {
				x.c.Log.Debug("slab not completed", "slab", s.ID, "err", err)
			}
		}
		got := s.Placed()
		if got < s.Class.Enough() {
			return 0, fault.New(fault.NotEnoughHosts, "%d hosts signed for a shard of slab %d, %d are needed", got, i, s.Class.Enough())
		}
		pending += s.Class.N - got
	}
	return pending, nil
}

// choose finds n hosts and a few spares, or as many as there are if they are enough.
func (x *Client) choose(ctx context.Context, c erasure.Class, size int64) ([]upload.Host, error) {
	shard := c.ShardSize(min(size, c.SlabSize()))
	return x.find(ctx, Need{
		Class: c, Want: c.N, Least: c.Enough(), Spares: max(2, c.N/4), Shard: shard, Bytes: uint64(c.Slabs(size) * shard),
	})
}

// find asks the market, without the hosts to avoid, those that failed lately and
// those that were left, unless they are needed.
func (x *Client) find(ctx context.Context, n Need) ([]upload.Host, error) {
	avoid := x.book.Avoided()
	maps.Copy(avoid, x.shunned())
	maps.Copy(avoid, n.Avoid)
	n.Avoid = avoid
	pairs, err := x.c.Market.Hosts(ctx, n)
	if len(n.Avoid) > 0 && (fault.CodeOf(err) == fault.NotEnoughHosts || err == nil && len(pairs) < n.Want) {
		n.Avoid = nil
		pairs, err = x.c.Market.Hosts(ctx, n)
	}
	if err != nil {
		return nil, err
	}
	if len(pairs) < n.Least {
		return nil, fault.New(fault.NotEnoughHosts, "%d hosts found, %d are needed", len(pairs), n.Least)
	}
	hosts := make([]upload.Host, len(pairs))
	for i, p := range pairs {
		h, err := x.host(p)
		if err != nil {
			return nil, err
		}
		hosts[i] = h
	}
	return hosts, nil
}

// slab is how much of a stream of this size goes into one slab: less than fits
// where memory is short, until the slabs' own cost in the index counts.
func (x *Client) slab(c erasure.Class, size int64) int64 {
	if size >= x.c.Full {
		return c.SlabSize()
	}
	return c.SlabSize() / 2
}

// upload is the configuration of an upload under an intent.
func (x *Client) upload(id int64, c erasure.Class, hosts []upload.Host) (upload.Config, error) {
	pool, err := x.pool(c)
	return upload.Config{
		Class: c, Pool: pool, Book: x.book, Hosts: hosts, Workers: x.c.Workers,
		Intend:   func(ctx context.Context, s []index.Shard) error { return x.c.Index.Intend(ctx, id, s) },
		Patience: x.c.Patience, Slow: x.c.Slow, Retry: x.c.Retry, Log: x.c.Log,
	}, err
}

// track reports the upload's progress.
func track(c *upload.Config, report func(Progress), head int64, hosts int) {
	if report == nil {
		return
	}
	var mu sync.Mutex
	p := Progress{Bytes: head, Hosts: hosts}
	step := func(f func()) {
		mu.Lock()
		defer mu.Unlock()
		f()
		report(p)
	}
	c.Read = func(n int64) { step(func() { p.Bytes += n }) }
	c.Placed = func(n int, b int64) { step(func() { p.Shards += n; p.Sent += b }) }
}

// etag changes with the contents, and with every put of them.
func etag(slabs []index.PlacedSlab) string {
	var b bytes.Buffer
	for _, s := range slabs {
		for _, r := range s.Roots {
			b.Write(r[:])
		}
	}
	sum := sha256.Sum256(b.Bytes())
	return hex.EncodeToString(sum[:16])
}

func holders(slabs []index.PlacedSlab) int {
	seen := make(map[string]bool)
	for _, s := range slabs {
		for _, p := range s.At {
			if p != (index.Place{}) {
				seen[p.Host] = true
			}
		}
	}
	return len(seen)
}
